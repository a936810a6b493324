"""Break-even: the speed of the object, or any other load, from which on success is below a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile

from vlatency.experiments.analysis.paired import LEVEL, wilson


@dataclass(frozen=True)
class Rise:
    """Success that is higher at a greater load, against the assumption of a break-even.

    Attributes:
        start: the lesser load.
        end: the greater load.
        points: success at `end` minus that at `start`, in points.
        p_value: of Fisher's one-sided exact test, times the number of pairs of loads, at most 1.
    """

    start: float
    end: float
    points: float
    p_value: float

    @property
    def told(self) -> bool:
        """Whether it is more than chance explains."""
        return self.p_value < 1 - LEVEL


@dataclass(frozen=True)
class BreakEven:
    """Where success crosses the threshold, within the tested loads. Nothing is extrapolated.

    Attributes:
        threshold: success rate.
        slowest: least load tested.
        fastest: greatest load tested.
        estimate: of the crossing; None if the curve does not cross within the tested loads.
        low: lower end of the 95 % interval, a tested load; None if that is below what was tested.
        high: upper end, a tested load; None if that is above what was tested.
        above: whether the fitted curve is still at or above the threshold at the greatest load.
        rise: the largest rise of the measured success; None if it never rises.
    """

    threshold: float
    slowest: float
    fastest: float
    estimate: float | None
    low: float | None
    high: float | None
    above: bool
    rise: Rise | None = None

    def describe(self) -> str:
        """Such as "0.061 [0.05, 0.075]", "above 0.2", or "cannot tell (0.02 to 0.2 tested)".

        With "(rises)" behind it where success rises by more than chance, so that there is no one crossing.
        """
        return self._crossing() + " (rises)" * bool(self.rise and self.rise.told)

    def warning(self) -> str:
        """One line on the rise; empty if there is none."""
        if self.rise is None:
            return ""
        rises = f"success rises by {self.rise.points:.0f} points from {self.rise.start:g} to {self.rise.end:g}"
        if self.rise.told:
            return f"{rises}, more than chance explains: it does not only fall, so there is no one break-even"
        return f"{rises}, which chance may explain: the break-even takes it for no rise"

    def _crossing(self) -> str:
        if self.low is None and self.high is None:
            return f"cannot tell ({self.slowest:g} to {self.fastest:g} tested)"
        if self.estimate is None:
            return f"above {self.low:.3g}" if self.low is not None else f"below {self.high:.3g}"
        low = f"below {self.slowest:g}" if self.low is None else f"{self.low:.3g}"
        high = f"above {self.fastest:g}" if self.high is None else f"{self.high:.3g}"
        return f"{self.estimate:.3g} [{low}, {high}]"


def break_even(loads: Sequence[float], successes: Sequence[bool], threshold: float = 0.5) -> BreakEven:
    """Find the load at which success crosses a threshold, assuming only that success does not rise with the load.

    The interval goes from the greatest load up to which every load has a Wilson interval above the threshold, to the
    least load from which on every one has it below. Its ends are tested loads, as nothing is known between them. A
    falling curve is above the threshold up to the crossing and below it from there, so an end is wrong only if the
    interval at the one load next to the crossing is: taken in this order, the tests need no correction (a fixed
    sequence; Maurer, Hothorn and Lehmacher 1995). A logistic curve would give a narrower interval, which covers only if
    success starts at 100 % and ends at 0 %.

    The estimate is where the isotonic regression (Barlow and others 1972, Statistical Inference under Order
    Restrictions), joined by straight lines, crosses the threshold.

    Args:
        loads: of each episode, at least two different ones.
        successes: of each episode.
        threshold: success rate, inside (0, 1).

    Raises:
        ValueError: the threshold is outside, or there are fewer than two loads.
    """
    from scipy.optimize import isotonic_regression

    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be above 0 and below 1, not {threshold:g}")
    tested = sorted(set(loads))
    if len(tested) < 2:
        raise ValueError("a break-even needs at least two different loads")
    at = [[success for load, success in zip(loads, successes, strict=True) if load == place] for place in tested]
    curve = [(load, wilson(sum(each), len(each))) for load, each in zip(tested, at, strict=True)]
    holds = [load for load, _ in takewhile(lambda point: point[1].low >= threshold, curve)]
    fails = [load for load, _ in takewhile(lambda point: point[1].high < threshold, reversed(curve))]
    rates = [rate.estimate for _, rate in curve]
    fitted = isotonic_regression(rates, weights=[len(each) for each in at], increasing=False).x.tolist()
    low, high = holds[-1] if holds else None, fails[-1] if fails else None
    estimate, rise = _crossing(tested, fitted, threshold), _largest_rise(tested, at)
    if estimate is not None and low is not None and high is not None:
        estimate = min(max(estimate, low), high)
    return BreakEven(threshold, tested[0], tested[-1], estimate, low, high, above=fitted[-1] >= threshold, rise=rise)


def _largest_rise(tested: Sequence[float], at: Sequence[Sequence[bool]]) -> Rise | None:
    """Of the outcomes at each load. Episodes at different loads are taken as independent."""
    from scipy.stats import fisher_exact

    pairs = list(combinations(zip(tested, at, strict=True), 2))
    rises = []
    for (start, before), (end, after) in pairs:
        points = 100 * (sum(after) / len(after) - sum(before) / len(before))
        if points > 0:
            table = [[sum(after), len(after) - sum(after)], [sum(before), len(before) - sum(before)]]
            p_value = float(fisher_exact(table, alternative="greater").pvalue)
            rises.append(Rise(start, end, points, min(1.0, p_value * len(pairs))))
    return max(rises, key=lambda rise: (rise.told, rise.points), default=None)


def _crossing(loads: Sequence[float], rates: Sequence[float], threshold: float) -> float | None:
    """Where straight lines through falling rates go below the threshold; None if they start there or never do."""
    below = next((place for place, rate in enumerate(rates) if rate < threshold), 0)
    if below == 0:
        return None
    share = (rates[below - 1] - threshold) / (rates[below - 1] - rates[below])
    return loads[below - 1] + share * (loads[below] - loads[below - 1])
