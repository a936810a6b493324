"""Break-even: the speed of the object, or any other load, from which on success is below a threshold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from vlatency.experiments.analysis.paired import Interval, wilson


@dataclass(frozen=True)
class BreakEven:
    """Where success crosses the threshold, within the tested loads; nothing is extrapolated.

    Attributes:
        threshold: success rate.
        slowest, fastest: least and greatest load tested.
        estimate: of the crossing; None if the curve does not cross within the tested loads.
        low, high: 95 % interval, both tested loads; None where it goes on beyond what was tested.
        above: whether the fitted curve is still at or above the threshold at the greatest load.
    """

    threshold: float
    slowest: float
    fastest: float
    estimate: float | None
    low: float | None
    high: float | None
    above: bool

    def describe(self) -> str:
        """Such as "0.061 [0.05, 0.075]", "above 0.2", or "cannot tell (0.02 to 0.2 tested)"."""
        if self.low is None and self.high is None:
            return f"cannot tell ({self.slowest:g} to {self.fastest:g} tested)"
        if self.estimate is None:
            return f"above {self.low:.3g}" if self.low is not None else f"below {self.high:.3g}"
        low = f"below {self.slowest:g}" if self.low is None else f"{self.low:.3g}"
        high = f"above {self.fastest:g}" if self.high is None else f"{self.high:.3g}"
        return f"{self.estimate:.3g} [{low}, {high}]"


def break_even(loads: Sequence[float], successes: Sequence[bool], threshold: float = 0.5) -> BreakEven:
    """Find where success, of which only this is supposed, that it does not rise with the load, crosses a threshold.

    The interval goes from the greatest load up to which every one has a Wilson interval above the threshold to the
    least load from which on every one has it below. Its ends are loads that were tested, as nothing is known between
    them. Since a curve that falls is on one side of the threshold up to the crossing and on the other side from there,
    an end is wrong only if the interval of the one load next to the crossing is: taken in this order, the tests need no
    correction (a fixed sequence; Maurer, Hothorn and Lehmacher 1995). A logistic curve would promise more, and keep it
    only if success began at 100 % and ended at none.

    The estimate is where the isotonic regression (Barlow and others 1972, Statistical Inference under Order
    Restrictions), joined by straight lines, crosses the threshold.

    Args:
        loads: of each episode, at least two different ones.
        successes: of each episode.
        threshold: success rate, inside (0, 1).

    Raises:
        ValueError: the threshold is not, or there are fewer than two loads.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be above 0 and below 1, not {threshold:g}")
    places = sorted(set(loads))
    if len(places) < 2:
        raise ValueError("a break-even needs at least two different loads")
    at = [[success for load, success in zip(loads, successes, strict=True) if load == place] for place in places]
    rates = [wilson(sum(each), len(each)) for each in at]
    holds = list(takewhile(lambda each: each[1].low >= threshold, zip(places, rates, strict=True)))
    fails = list(takewhile(lambda each: each[1].high < threshold, zip(reversed(places), reversed(rates), strict=True)))
    fitted = _falling(rates, [len(each) for each in at])
    low, high = holds[-1][0] if holds else None, fails[-1][0] if fails else None
    estimate = _crossing(places, fitted, threshold)
    if estimate is not None and low is not None and high is not None:
        estimate = min(max(estimate, low), high)
    return BreakEven(threshold, places[0], places[-1], estimate, low, high, above=fitted[-1] >= threshold)


def _falling(rates: Sequence[Interval], weights: Sequence[int]) -> list[float]:
    """The rates that do not rise and are nearest to those seen."""
    from scipy.optimize import isotonic_regression

    fit = isotonic_regression([rate.estimate for rate in rates], weights=weights, increasing=False)
    return [float(rate) for rate in fit.x]


def _crossing(places: Sequence[float], rates: Sequence[float], threshold: float) -> float | None:
    """Where straight lines through falling rates leave the threshold behind; None if they do not begin above it."""
    below = next((i for i, rate in enumerate(rates) if rate < threshold), 0)
    if below == 0:
        return None
    share = (rates[below - 1] - threshold) / (rates[below - 1] - rates[below])
    return math.fsum((places[below - 1], share * (places[below] - places[below - 1])))
