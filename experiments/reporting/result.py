"""What a measured configuration says: one type, in summary.json and in every table and page."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from vlatency.agent.policies.protocol import PolicyKind
from vlatency.agent.realtime.cost.latency import NoLatency
from vlatency.agent.realtime.cost.schema import CONTENTION
from vlatency.agent.realtime.servers import Shared
from vlatency.experiments.analysis.late_or_wrong import Split
from vlatency.experiments.analysis.paired import Interval, Paired, wilson
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting import pace
from vlatency.experiments.sweeps.plan import Place, Plan
from vlatency.experiments.sweeps.verdicts import Rows, letters, splits, used, verdicts


@dataclass(frozen=True)
class Policy:
    """Which policy was evaluated.

    Attributes:
        name: its folder, or the source of a policy of others.
        kind: a script, the small stand-in for Qwen2.5-VL-3B, a third party's, or the true VLA.
        parameters: how many it has; None where that is not known.
    """

    name: str
    kind: PolicyKind
    parameters: int | None

    @property
    def stand_in(self) -> bool:
        """Whether it is the tiny model in place of Qwen2.5-VL-3B."""
        return self.kind == "stand-in"


@dataclass(frozen=True)
class Origin:
    """Where a result comes from.

    Attributes:
        command: that measured it.
        latency: what the clock charged, and whether that was measured, scaled or modelled.
        policy: that was evaluated.
    """

    command: str
    latency: str
    policy: Policy


@dataclass(frozen=True)
class Result:
    """What one configuration achieved; n = 0 if it is still to be measured.

    Attributes:
        place: the options that hold for all arms compared with it, such as the task.
        arm: its name.
        setting: what was measured.
        k: successes.
        n: episodes.
        success: rate with its interval; None if n is 0.
        against: compared with the reference arm on shared seeds; None for the reference itself, and where that has no
            episodes.
        letters: arms of a place that share one do not differ significantly; None where they were not computed.
        split: how the change against the reference divides into late and wrong, if the sweep asked.
        feature_age_ms_p50: median over episodes of the median age of the features at the control ticks [ms], so that a
            long failure weighs no more than a quick success.
        feature_age_ms_p95: the same of the 95th percentile [ms].
        used_feature_age_ms_p50: the same as `feature_age_ms_p50`, of the age of the features when the head used them.
        used_feature_age_ms_p95: the same of the 95th percentile [ms].
        gone: failures that ended with the target out of the workspace, as true state says.
        gone_early: of these, how many had it in the workspace at one look at most.
        ticks: control ticks of all episodes.
        missed: of these, ticks with no new command.
        overruns: head runs longer than a control period.
        late: of the ticks, those that got their command late or not at all, see `pace.late_ticks`.
        encodes: of all episodes.
        time_to_success_s: median over the successes, in simulated time [s].
        origin: None if n is 0.
        rows: the n episodes; not in JSON.
    """

    place: Place
    arm: str
    setting: Setting
    k: int
    n: int
    success: Interval | None
    against: Paired | None
    letters: str | None
    split: Split | None
    feature_age_ms_p50: float | None
    feature_age_ms_p95: float | None
    used_feature_age_ms_p50: float | None
    used_feature_age_ms_p95: float | None
    gone: int
    gone_early: int
    ticks: int
    missed: int
    overruns: int
    late: int
    encodes: int
    time_to_success_s: float | None
    origin: Origin | None
    rows: tuple[Row, ...] = field(default=(), repr=False, compare=False)

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.setting.task

    @property
    def mode(self) -> str:
        """Pause, sync or async."""
        return self.setting.mode

    @property
    def vl_ms(self) -> float:
        """Nominal latency of an encode [ms]; 0 where the world waits."""
        return 0.0 if self.mode == "pause" else self.setting.timing.latency.vl_ms

    @property
    def fitted(self) -> bool:
        """Whether that latency was not measured in this very configuration, but scaled from others, or modelled."""
        return self.mode != "pause" and self.setting.timing.latency.basis in ("scaled", "modelled")

    @property
    def loop_ms(self) -> float | None:
        """What a control tick waits for, at nominal latencies [ms]; None where the world waits, or nobody knows."""
        timing = self.setting.timing
        if timing.latency.basis == "live":
            return None
        return pace.loop_ms(timing, timing.latency.vl_ms, timing.latency.head_ms)

    @property
    def rate_hz(self) -> float | None:
        """Control ticks per second at nominal latencies [Hz]; None where nothing limits them."""
        return pace.rate_hz(self.loop_ms)

    @property
    def keeps_up(self) -> bool | None:
        """Whether it serves the control ticks in time; None where the world waits for it.

        The nominal latencies have to allow it, and the clock must not have recorded otherwise. A policy of one stage
        has no ticks of its own to serve: whether its chunks outlast its inferences is seen in its success.
        """
        if self.setting.timing.stages == 1 and self.mode != "pause":
            return True
        return self._promised and not self.overruled

    @property
    def overruled(self) -> bool:
        """Whether the latencies promise to keep up, and the clock recorded that they did not."""
        return bool(self._promised) and self.late > pace.MOST_LATE * self.ticks

    @property
    def _promised(self) -> bool | None:
        if self.loop_ms is None or self.setting.timing.stages == 1:
            return None
        return self.loop_ms * self.setting.timing.control_hz <= 1000

    @property
    def verdict(self) -> str:
        """Better, worse or cannot tell, against the reference; empty for the reference itself."""
        return self.against.verdict if self.against else ""

    @property
    def configuration(self) -> Setting:
        """The setting without its seed and without how long things take: equal for results that differ in those alone.

        How much encoder and head slow each other down on one GPU is part of how long things take.
        """
        timing = self.setting.timing
        shared = isinstance(timing.servers, Shared) and timing.servers.contention > 1
        servers = Shared(CONTENTION) if shared else timing.servers
        return replace(self.setting, seed=0, timing=replace(timing, latency=NoLatency(), servers=servers))

    @property
    def outcomes(self) -> dict[int, bool]:
        """Success by seed."""
        return {row["seed"]: bool(row["success"]) for row in self.rows}

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, the rows left out."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        values |= {name: asdict(value) for name in PARTS if (value := values[name]) is not None}
        return values | {"place": dict(self.place), "setting": self.setting.as_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Result":
        """The result that `as_json` gave. KeyError, TypeError or ValueError if it is none."""
        read = {name: TypeAdapter(kind).validate_python(values[name]) for name, kind in PARTS.items()}
        read |= {"place": tuple(values["place"].items()), "setting": Setting.from_json(values["setting"])}
        return cls(**{**values, **read})


PARTS: dict[str, Any] = {
    "success": Interval | None, "against": Paired | None, "split": Split | None, "origin": Origin | None
}  # fmt: skip
"""The fields of a `Result` that are objects of their own in JSON."""


def results(plan: Plan, rows: Rows, config: Callable[[Setting], dict[str, Any] | None]) -> tuple[Result, ...]:
    """One result per arm and place, in the order of the plan.

    Args:
        plan: what was to be measured.
        rows: the episodes there are, by setting.
        config: gives the config.json of a setting's folder, or None where there is none yet.
    """
    against, divided = verdicts(plan, rows), splits(plan, rows)
    found = []
    for place in plan.places:
        marks = letters(plan, rows, place)
        for arm in plan.arms:
            cell, key = plan.cell(place, arm), (place, arm)
            assert cell is not None
            mine = rows.get(cell.setting, ())[: len(used(plan, rows, place, arm))]
            result = summarize(cell.setting, mine, config(cell.setting) if mine else None)
            compared = replace(result, against=against.get(key), letters=marks.get(arm), split=divided.get(key))
            found.append(replace(compared, place=place, arm=arm))
    return tuple(found)


def summarize(setting: Setting, rows: Sequence[Row], config: Mapping[str, Any] | None) -> Result:
    """A result that is compared with no other.

    Args:
        setting: what was measured.
        rows: its episodes, by seed.
        config: config.json of their folder; None if there are no episodes.

    Raises:
        KeyError, TypeError: config.json lacks something.
    """
    k, n = sum(bool(row["success"]) for row in rows), len(rows)
    origin = None
    if config:
        latency = "none" if setting.mode == "pause" else config["latency"]
        origin = Origin(config["command"], latency, Policy(**config["policy"]))
    gone = [row for row in rows if not row["success"] and row.get("target_gone")]
    counts = {name: sum(row.get(name, 0) for row in rows) for name in ("ticks", "missed", "overruns", "encodes")}
    return Result(
        place=(),
        arm=setting.mode,
        setting=setting,
        k=k,
        n=n,
        success=wilson(k, n) if n else None,
        against=None,
        letters=None,
        split=None,
        feature_age_ms_p50=_median(rows, "feature_age_ms_p50"),
        feature_age_ms_p95=_median(rows, "feature_age_ms_p95"),
        used_feature_age_ms_p50=_median(rows, "used_feature_age_ms_p50"),
        used_feature_age_ms_p95=_median(rows, "used_feature_age_ms_p95"),
        gone=len(gone),
        gone_early=sum(row["looks_in_reach"] <= 1 for row in gone),
        **counts,
        late=pace.late_ticks(rows),
        time_to_success_s=_median(rows, "time_to_success_s"),
        origin=origin,
        rows=tuple(rows),
    )


def _median(rows: Sequence[Row], key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return statistics.median(values) if values else None
