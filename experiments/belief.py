"""What measured cells say of a configuration at a latency that none of them may have had."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent.config import Optimization
from agent.realtime.distribution import Distribution, Lognormal, Samples
from agent.realtime.latency import LatencyModel, ProfileLatency, parse_latency
from experiments.break_even import BreakEven, break_even
from experiments.stats import Interval, wilson
from experiments.store import CONFIG, RunFolder

TIMING = ("latency", "vl_ms", "head_ms", "perf_factor", "latency_of", "seed", "speed", "task", "control_hz")
"""Fields of a setting that say how long things take, or where it was measured; all others make the configuration."""


@dataclass(frozen=True)
class Measured:
    """One cell.

    Attributes:
        setting: as JSON, of one mode.
        vl_p95_ms: the 95th percentile of what its clock charged for an encode [ms].
        k, n: successes and episodes.
        command: that measured it.
        policy: folder, parameters, stand_in.
    """

    setting: dict[str, Any]
    vl_p95_ms: float
    k: int
    n: int
    command: str
    policy: dict[str, Any]

    @property
    def configuration(self) -> str:
        """What the policy is fed and how it runs, whatever that takes: equal for cells that differ in latency alone."""
        kept = {key: value for key, value in self.setting.items() if key not in TIMING}
        return json.dumps(kept, sort_keys=True)


@dataclass(frozen=True)
class Believed:
    """Success at a latency.

    Attributes:
        success: with an interval; between two cells its low end is the later one's, its high end the sooner one's.
            Below all measured latencies it is a bound: that of the soonest cell, and anything above it.
        cells: one or two that it rests on, by latency.
        how: at that very latency, between two, or at least what a longer one permits.
    """

    success: Interval
    cells: tuple[Measured, ...]
    how: Literal["at", "between", "at least"]

    @property
    def n(self) -> int:
        """Episodes of the smaller of the cells."""
        return min(cell.n for cell in self.cells)

    def describe(self) -> str:
        """Which cells those are."""
        shown = " and ".join(f"{cell.k}/{cell.n} at VL p95 {cell.vl_p95_ms:.0f} ms" for cell in self.cells)
        return shown if self.how == "at" else f"{self.how} {shown}"


def read_cells(root: Path) -> tuple[list[Measured], int]:
    """The cells below a folder, of the software that was used last; and how many others there are."""
    folders = [RunFolder(path.parent) for path in root.glob(f"*/{CONFIG}")]
    folders = [folder for folder in folders if folder.rows and len(folder.setting["modes"]) == 1]
    if not folders:
        return [], 0
    last = max(folders, key=lambda folder: (folder.path / CONFIG).stat().st_mtime).config.get("software")
    same = [folder for folder in folders if folder.config.get("software") == last]
    return [_measured(folder) for folder in sorted(same, key=lambda folder: folder.path)], len(folders) - len(same)


def _measured(folder: RunFolder) -> Measured:
    setting = folder.setting
    took = setting.get("latency_of") or setting["optimization"]
    model = latency(setting["latency"], took, setting["perf_factor"])
    outcomes = [row["success"] for row in folder.rows]
    command, policy = folder.config["command"], folder.config["policy"]
    return Measured(setting, vl_p95_ms(model), sum(outcomes), len(outcomes), command, policy)


def latency(name: str, optimization: dict[str, Any], factor: float = 1.0) -> LatencyModel:
    """What a device takes for an optimization, given as JSON. UsageError if there is no such device."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in optimization.items()}
    return parse_latency(name, Optimization(**fields), factor)


def vl_p95_ms(model: LatencyModel) -> float:
    """The 95th percentile of preprocessing and encode [ms]; that of their sum is taken to be the sum of theirs."""
    if not isinstance(model, ProfileLatency):
        return model.vl_ms
    return (_p95(model.preprocess) + _p95(model.encode)) * model.factor


def _p95(distribution: Distribution) -> float:
    if isinstance(distribution, Lognormal):
        return distribution.p95_ms
    if isinstance(distribution, Samples):
        import numpy as np

        return float(np.percentile(distribution.ms, 95))
    return distribution.nominal_ms


def believe(cells: Iterable[Measured], p95_ms: float) -> Believed | None:
    """Success of a configuration at a latency, taking for granted only that more latency helps nobody.

    None if every cell was measured at a shorter one (by more than 1 %).
    """
    ordered = sorted(cells, key=lambda cell: cell.vl_p95_ms)
    near = [cell for cell in ordered if math.isclose(cell.vl_p95_ms, p95_ms, rel_tol=0.01, abs_tol=0.5)]
    if near:
        best = max(near, key=lambda cell: cell.n)
        return Believed(wilson(best.k, best.n), (best,), "at")
    sooner = [cell for cell in ordered if cell.vl_p95_ms < p95_ms]
    later = [cell for cell in ordered if cell.vl_p95_ms > p95_ms]
    if not later:
        return None
    if not sooner:
        bound = wilson(later[0].k, later[0].n)
        return Believed(Interval(bound.estimate, bound.low, 1.0), (later[0],), "at least")
    below, above = sooner[-1], later[0]
    a, b = wilson(below.k, below.n), wilson(above.k, above.n)
    share = (p95_ms - below.vl_p95_ms) / (above.vl_p95_ms - below.vl_p95_ms)
    middle = a.estimate + share * (b.estimate - a.estimate)
    return Believed(Interval(middle, min(a.low, b.low), max(a.high, b.high)), (below, above), "between")


def cliff(cells: Sequence[Measured], least: float) -> BreakEven | None:
    """The VL p95 [ms] from which on success of a configuration is below `least`; None with fewer than two latencies."""
    if len({cell.vl_p95_ms for cell in cells}) < 2:
        return None
    loads: list[float] = []
    outcomes: list[bool] = []
    for cell in cells:
        loads += [cell.vl_p95_ms] * cell.n
        outcomes += [True] * cell.k + [False] * (cell.n - cell.k)
    return break_even(loads, outcomes, least)
