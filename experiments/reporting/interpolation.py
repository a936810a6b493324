"""What measured cells say of a configuration at a latency that none of them may have had."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from vlatency.agent.realtime.cost.latency import Charged
from vlatency.experiments.analysis.break_even import BreakEven, break_even
from vlatency.experiments.analysis.paired import Interval, wilson
from vlatency.experiments.evaluation.run_folder import CONFIG, OtherSchema, RunFolder
from vlatency.experiments.reporting.result import Result, summarize
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class MeasuredCells:
    """The cells below a folder.

    Attributes:
        results: one per cell, of the software that was used last.
        other_software: how many cells other software measured.
        older: how many cells an older version of this program wrote, which this one cannot read.
    """

    results: tuple[Result, ...] = ()
    other_software: int = 0
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


def read_cells(root: Path) -> MeasuredCells:
    """The cells below a folder.

    Raises:
        UsageError: one of them is damaged.
    """
    cells, older = [], 0
    for path in sorted(root.glob(f"*/{CONFIG}")):
        try:
            cells.append(RunFolder(path.parent))
        except OtherSchema:
            older += 1
    cells = [cell for cell in cells if cell.rows]
    if not cells:
        return MeasuredCells(older=older)
    newest = max(cells, key=lambda cell: (cell.path / CONFIG).stat().st_mtime).config.get("software")
    mine = [cell for cell in cells if cell.config.get("software") == newest]
    return MeasuredCells(tuple(_result(cell) for cell in mine), len(cells) - len(mine), older)


def _result(cell: RunFolder) -> Result:
    try:
        return summarize(cell.settings[0], sorted(cell.rows, key=lambda row: row["seed"]), cell.config)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{cell.path / CONFIG} cannot be used ({error!r}); remove the folder") from None


def _charged(result: Result) -> Charged:
    return result.setting.timing.latency.charged


def interpolate(results: Iterable[Result], device: Charged) -> Interpolated | None:
    """Success of a configuration on a device, assuming only that more latency never helps.

    A cell says something of the device if it was charged no less in all figures of `Charged`, or no more in all.

    Args:
        results: cells of one configuration.
        device: what it takes there.

    Returns:
        None if no cell was charged as much as the device takes.
    """
    ordered = sorted(results, key=lambda result: (_charged(result).vl_p95_ms, _charged(result).head_ms))
    sooner = [result for result in ordered if _no_slower(_charged(result), device)]
    later = [result for result in ordered if _no_slower(device, _charged(result))]
    near = [result for result in sooner if result in later]
    if near:
        best = max(near, key=lambda result: result.n)
        return Interpolated(wilson(best.k, best.n), (best,), "at")
    if not later:
        return None
    if not sooner:
        bound = wilson(later[0].k, later[0].n)
        return Interpolated(Interval(bound.estimate, bound.low, 1.0), (later[0],), "at least")
    below, above = sooner[-1], later[0]
    a, b = wilson(below.k, below.n), wilson(above.k, above.n)
    way = _charged(above).vl_p95_ms - _charged(below).vl_p95_ms
    share = (device.vl_p95_ms - _charged(below).vl_p95_ms) / way if way > 0 else 0.5
    middle = a.estimate + share * (b.estimate - a.estimate)
    return Interpolated(Interval(middle, min(a.low, b.low), max(a.high, b.high)), (below, above), "between")


def _no_slower(one: Charged, two: Charged) -> bool:
    """In all three figures, but for 1 % or half a millisecond: no figure of ours is more exact."""

    def no_more(a: float, b: float) -> bool:
        return a <= b or math.isclose(a, b, rel_tol=0.01, abs_tol=0.5)

    return all(no_more(a, b) for a, b in zip(astuple(one), astuple(two), strict=True))


def cliff(results: Sequence[Result], least: float) -> BreakEven | None:
    """The VL p95 [ms] from which on success of a configuration is below `least`; None with fewer than two latencies."""
    if len({_charged(result).vl_p95_ms for result in results}) < 2:
        return None
    loads: list[float] = []
    outcomes: list[bool] = []
    for result in results:
        loads += [_charged(result).vl_p95_ms] * result.n
        outcomes += [True] * result.k + [False] * (result.n - result.k)
    return break_even(loads, outcomes, least)
