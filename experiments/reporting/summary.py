"""What the episodes of a run or a sweep permit to say: its plan, a result for each arm and place, and break-evens."""

from dataclasses import asdict, dataclass
from typing import Any

from vlatency.experiments.analysis.break_even import BreakEven
from vlatency.experiments.evaluation import feature_ages
from vlatency.experiments.evaluation.run_folder import SCHEMA
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.sweeps.plan import Place, Plan

Falls = dict[tuple[Place, str], BreakEven]


@dataclass(frozen=True)
class Summary:
    """A plan and what was found, finished or not.

    Attributes:
        plan: what was to be measured.
        results: one per arm and place, in the order of the plan.
        falls: break-even by place (without the load) and arm.
        command: that measures it.
        software: versions, renderer, and for a sweep the hash of the code.
    """

    plan: Plan
    results: tuple[Result, ...]
    falls: Falls
    command: str
    software: dict[str, Any]

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.plan.arms[0]

    @property
    def load(self) -> str | None:
        """The option along which success falls, if the plan asks where."""
        return self.plan.break_even[0] if self.plan.break_even else None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(result.task for result in self.results))

    @property
    def control_hz(self) -> float:
        """Of the reference [Hz]."""
        return self.results[0].setting.timing.control_hz

    def at(self, place: Place) -> list[Result]:
        """The results of a place, in the order of arms."""
        return [result for result in self.results if result.place == place]

    def of_arm(self, arm: str) -> list[Result]:
        """The results of an arm, in the order of places."""
        return [result for result in self.results if result.arm == arm]

    def result(self, place: Place, arm: str) -> Result:
        """That of an arm in a place."""
        return next(result for result in self.at(place) if result.arm == arm)

    @property
    def by_mode(self) -> bool:
        """The arms are modes, as those of a run."""
        return all(result.arm == result.mode for result in self.results)

    @property
    def lettered(self) -> bool:
        """There are letters to show. A run has no room for them: it has three arms at most."""
        return not self.by_mode and any(result.letters for result in self.results)

    @property
    def stand_in(self) -> bool:
        """Success is that of the small stand-in for the real model."""
        return any(result.origin and result.origin.policy.stand_in for result in self.results)

    @property
    def only_latency_differs(self) -> bool:
        """In each place the arms differ in how long things take, and in nothing else."""
        alike = all(len({result.configuration for result in self.at(place)}) == 1 for place in self.plan.places)
        return alike and len({result.vl_ms for result in self.results}) > 1

    def as_json(self) -> dict[str, Any]:
        """What summary.json holds."""
        rows = [row for result in self.results for row in result.rows]
        falls = [{"place": dict(rest), "arm": arm, **asdict(fall)} for (rest, arm), fall in self.falls.items()]
        return {
            "schema": SCHEMA,
            "name": self.plan.name,
            "about": self.plan.about,
            "episodes": self.plan.episodes,
            "looks": self.plan.looks,
            "command": self.command,
            "software": self.software,
            "results": [result.as_json() for result in self.results],
            "break_even": falls,
            "feature_age": {
                "bins_ms": feature_ages.BINS,
                "ticks": [feature_ages.total(result.rows) for result in self.results],
                "used": [feature_ages.total(result.rows, feature_ages.USED_HISTOGRAM) for result in self.results],
            },
            "success_against_age": feature_ages.success_against_age(rows),
        }
