"""What measured cells say of a configuration at a latency that none of them may have had."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import Charged, LatencyModel, parse_latency
from vlatency.experiments.analysis.break_even import BreakEven, break_even
from vlatency.experiments.analysis.paired import Interval, wilson
from vlatency.experiments.evaluation.run_folder import CONFIG, RunFolder
from vlatency.experiments.reporting.study import TIMING
from vlatency.sim.errors import UsageError

QUESTION = ("speed", "task", "control_hz")
"""Fields of a setting that say where it was measured."""


@dataclass(frozen=True)
class Measured:
    """One cell.

    Attributes:
        setting: as JSON, of one mode.
        charged: what its clock charged.
        k, n: successes and episodes.
        command: that measured it.
        policy: folder, parameters, stand_in.
    """

    setting: dict[str, Any]
    charged: Charged
    k: int
    n: int
    command: str
    policy: dict[str, Any]

    @property
    def configuration(self) -> str:
        """What the policy is fed and how it runs, whatever that takes: equal for cells that differ in latency alone."""
        kept = {key: value for key, value in self.setting.items() if key not in (*TIMING, *QUESTION)}
        return json.dumps(kept, sort_keys=True)


@dataclass(frozen=True)
class Believed:
    """Success at a latency.

    Attributes:
        success: with an interval; between two cells its low end is the later one's, its high end the sooner one's.
            On a device faster than all cells it is a bound: that of the soonest cell, and anything above it.
        cells: one or two that it rests on, by latency.
        how: at those very latencies, between two cells, or at least what a slower one permits.
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
        shown = " and ".join(f"{cell.k}/{cell.n} at VL p95 {cell.charged.vl_p95_ms:.0f} ms" for cell in self.cells)
        return shown if self.how == "at" else f"{self.how} {shown}"


def read_cells(root: Path) -> tuple[list[Measured], int]:
    """The cells below a folder, of the software that was used last; and how many others there are.

    UsageError if one is damaged.
    """
    folders = [RunFolder(path.parent) for path in root.glob(f"*/{CONFIG}")]
    folders = [folder for folder in folders if folder.rows and len(folder.setting["modes"]) == 1]
    if not folders:
        return [], 0
    last = max(folders, key=lambda folder: (folder.path / CONFIG).stat().st_mtime).config.get("software")
    same = [folder for folder in folders if folder.config.get("software") == last]
    return [_measured(folder) for folder in sorted(same, key=lambda folder: folder.path)], len(folders) - len(same)


def _measured(folder: RunFolder) -> Measured:
    config, outcomes = folder.config, [bool(row["success"]) for row in folder.rows]
    try:
        took = Charged(**config["charged"])
        return Measured(folder.setting, took, sum(outcomes), len(outcomes), config["command"], config["policy"])
    except (KeyError, TypeError) as error:
        raise UsageError(f"{folder.path / CONFIG} cannot be used ({error!r}); remove the folder") from None


def latency(name: str, optimization: dict[str, Any], factor: float = 1.0) -> LatencyModel:
    """What a device takes for an optimization, given as JSON. UsageError if there is no such device."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in optimization.items()}
    return parse_latency(name, Optimization(**fields), factor)


def believe(cells: Iterable[Measured], device: Charged) -> Believed | None:
    """Success of a configuration on a device, taking for granted only that more latency helps nobody.

    A cell says something of it if it was charged no less in all of `Charged`, or no more in all; None if none was
    charged no less.
    """
    ordered = sorted(cells, key=lambda cell: (cell.charged.vl_p95_ms, cell.charged.head_ms))
    sooner = [cell for cell in ordered if _no_slower(cell.charged, device)]
    later = [cell for cell in ordered if _no_slower(device, cell.charged)]
    near = [cell for cell in sooner if cell in later]
    if near:
        best = max(near, key=lambda cell: cell.n)
        return Believed(wilson(best.k, best.n), (best,), "at")
    if not later:
        return None
    if not sooner:
        bound = wilson(later[0].k, later[0].n)
        return Believed(Interval(bound.estimate, bound.low, 1.0), (later[0],), "at least")
    below, above = sooner[-1], later[0]
    a, b = wilson(below.k, below.n), wilson(above.k, above.n)
    way = above.charged.vl_p95_ms - below.charged.vl_p95_ms
    share = (device.vl_p95_ms - below.charged.vl_p95_ms) / way if way > 0 else 0.5
    middle = a.estimate + share * (b.estimate - a.estimate)
    return Believed(Interval(middle, min(a.low, b.low), max(a.high, b.high)), (below, above), "between")


def _no_slower(one: Charged, two: Charged) -> bool:
    """In all three figures, but for 1 % or half a millisecond, which no figure of ours is worth."""

    def no_more(a: float, b: float) -> bool:
        return a <= b or math.isclose(a, b, rel_tol=0.01, abs_tol=0.5)

    return all(no_more(a, b) for a, b in zip(astuple(one), astuple(two), strict=True))


def cliff(cells: Sequence[Measured], least: float) -> BreakEven | None:
    """The VL p95 [ms] from which on success of a configuration is below `least`; None with fewer than two latencies."""
    if len({cell.charged.vl_p95_ms for cell in cells}) < 2:
        return None
    loads: list[float] = []
    outcomes: list[bool] = []
    for cell in cells:
        loads += [cell.charged.vl_p95_ms] * cell.n
        outcomes += [True] * cell.k + [False] * (cell.n - cell.k)
    return break_even(loads, outcomes, least)
