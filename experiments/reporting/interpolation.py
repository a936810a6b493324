"""What measured cells say of a configuration at a latency that none of them may have had."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vlatency.agent.realtime.cost.latency import Charged, LatencyModel
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.timing import Timing
from vlatency.experiments.analysis.break_even import BreakEven, break_even
from vlatency.experiments.analysis.choosing import exact
from vlatency.experiments.analysis.paired import Interval
from vlatency.experiments.evaluation.run_folder import CONFIG, OtherSchema, RunFolder
from vlatency.experiments.evaluation.setting import RecordedLatency, Setting
from vlatency.experiments.reporting.charges import charges, no_slower, slowdown
from vlatency.experiments.reporting.result import Result, summarize
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class MeasuredCells:
    """The cells below a folder.

    Attributes:
        results: one per cell, of the software that was used last, where known with all that its clock could charge.
        other_software: how many cells other software measured.
        unknown: how many of these have a latency of which only some figures are known: its profile is not here, or has
            changed since.
        older: how many cells an older version of this program wrote, which this one cannot read.
    """

    results: tuple[Result, ...] = ()
    other_software: int = 0
    unknown: int = 0
    older: int = 0


@dataclass(frozen=True)
class Interpolated:
    """Success at a latency.

    Attributes:
        success: with an interval; between two cells its low end is that of the later one, its high end that of the
            sooner one. On a device faster than all cells it is a bound: that of the soonest cell, and anything above.
        results: the one or two cells that it rests on, by latency.
        how: at those very latencies, between two cells, or at least what a slower one reaches.
    """

    success: Interval
    results: tuple[Result, ...]
    how: Literal["at", "between", "at least"]

    @property
    def n(self) -> int:
        """Episodes of the smaller of the cells."""
        return min(result.n for result in self.results)

    def describe(self) -> str:
        """Which cells those are."""
        shown = " and ".join(f"{each.k}/{each.n} at {_charged(each).vl_p95_ms:.0f} ms" for each in self.results)
        return shown if self.how == "at" else f"{self.how} {shown}"


def read_cells(root: Path, asked: Callable[[Setting], bool] = lambda setting: True) -> MeasuredCells:
    """The cells below a folder.

    Args:
        root: the folder.
        asked: which cells count at all; those of other environments come from other software.

    Raises:
        UsageError: one of them is damaged.
    """
    cells, older = [], 0
    for path in sorted(root.glob(f"*/{CONFIG}")):
        try:
            cells.append(RunFolder(path.parent))
        except OtherSchema:
            older += 1
    cells = [cell for cell in cells if cell.rows and asked(cell.settings[0])]
    if not cells:
        return MeasuredCells(older=older)
    newest = max(cells, key=lambda cell: (cell.path / CONFIG).stat().st_mtime).config.get("software")
    mine = [cell for cell in cells if cell.config.get("software") == newest]
    results = [_result(cell) for cell in mine]
    models = _models([result.setting for result in results])
    found = tuple(_in_full(result, models.get(_sha256(result.setting))) for result in results)
    return MeasuredCells(found, len(cells) - len(mine), sum(not known_in_full(result) for result in found), older)


def _sha256(setting: Setting) -> str:
    return setting.timing.latency.sha256


def _models(settings: Sequence[Setting]) -> dict[str, LatencyModel]:
    """The latency models that charged these settings, by hash, where their text still means what was charged."""
    clocks = ((setting.timing.latency, setting.optimization, setting.timing.stages) for setting in settings)
    texts = {(latency.name, optimization, latency.factor, stages) for latency, optimization, stages in clocks}
    found: dict[str, LatencyModel] = {}
    for text in texts:
        with suppress(UsageError):
            model = parse_latency(*text)
            found[model.sha256] = model
    return found


def _in_full(result: Result, model: LatencyModel | None) -> Result:
    """The same result with the latency from which its clock drew, if that is known."""
    setting = result.setting
    return replace(result, setting=replace(setting, timing=replace(setting.timing, latency=model))) if model else result


def known_in_full(result: Result) -> bool:
    """Whether all is known that the clock could charge, and not only some figures."""
    return not isinstance(result.setting.timing.latency, RecordedLatency)


def _result(cell: RunFolder) -> Result:
    try:
        return summarize(cell.settings[0], sorted(cell.rows, key=lambda row: row["seed"]), cell.config)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{cell.path / CONFIG} cannot be used ({error!r}); remove the folder") from None


def _charged(result: Result) -> Charged:
    return result.setting.timing.latency.charged


def speaking(results: Sequence[Result], device: Timing) -> tuple[list[Result], list[Result]]:
    """The cells that were charged no more than the device takes, and those that were charged no less.

    Both from the fastest to the slowest. Cells that take more of one thing and less of another say nothing,
    nor do those that are not known in full.

    Args:
        results: cells of one configuration, on any servers.
        device: that configuration on the device.
    """
    ordered = sorted(filter(known_in_full, results), key=_weight)
    sooner = [each for each in ordered if no_slower(each.setting.timing, device, _views(each))]
    later = [each for each in ordered if no_slower(device, each.setting.timing, _views(each))]
    return sooner, later


def _weight(result: Result) -> tuple[float, ...]:
    charged, timing = charges(result.setting.timing.latency, _views(result)), result.setting.timing
    return (
        float(charged.encode.mean()),
        float(charged.first.mean()),
        float(charged.head.mean()),
        slowdown(timing.servers),
    )


def _views(result: Result) -> int:
    return len(result.setting.optimization.cameras)


def interpolate(results: Sequence[Result], device: Timing, options: int = 1) -> Interpolated | None:
    """Success of a configuration on a device, assuming only that more latency never helps.

    Args:
        results: cells of one configuration.
        device: that configuration on the device.
        options: how many such intervals have to hold at once.

    Returns:
        None if no cell was charged as much as the device takes.
    """
    sooner, later = speaking(results, device)
    near = [result for result in sooner if result in later]
    if near:
        best = max(near, key=lambda result: result.n)
        return Interpolated(exact(best.k, best.n, options), (best,), "at")
    if not later:
        return None
    if not sooner:
        bound = exact(later[0].k, later[0].n, options)
        return Interpolated(Interval(bound.estimate, bound.low, 1.0), (later[0],), "at least")
    below, above = sooner[-1], later[0]
    a, b = exact(below.k, below.n, options), exact(above.k, above.n, options)
    way = _charged(above).vl_p95_ms - _charged(below).vl_p95_ms
    share = (device.latency.charged.vl_p95_ms - _charged(below).vl_p95_ms) / way if way > 0 else 0.5
    middle = a.estimate + share * (b.estimate - a.estimate)
    return Interpolated(Interval(middle, min(a.low, b.low), max(a.high, b.high)), (below, above), "between")


def cliff(results: Sequence[Result], least: float) -> BreakEven | None:
    """The VL p95 [ms] from which on success of a configuration is below `least`; None with fewer than two latencies."""
    results = list(filter(known_in_full, results))
    if len({_charged(result).vl_p95_ms for result in results}) < 2:
        return None
    loads: list[float] = []
    outcomes: list[bool] = []
    for result in results:
        loads += [_charged(result).vl_p95_ms] * result.n
        outcomes += [True] * result.k + [False] * (result.n - result.k)
    return break_even(loads, outcomes, least)
