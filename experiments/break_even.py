"""Break-even: the speed of the object, or any other load, from which on success is below a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.stats import LEVEL

if TYPE_CHECKING:
    import numpy as np

STEEPEST = 200.0
"""Bound of the slope [log-odds over the tested range]: a fall from 90 to 10 % within 2 % of the range."""
PLACES = 401


@dataclass(frozen=True)
class BreakEven:
    """Where success crosses the threshold, within the tested loads; nothing is extrapolated.

    Attributes:
        threshold: success rate.
        slowest, fastest: least and greatest load tested.
        estimate: of the crossing; None if the curve does not cross within the tested loads.
        low, high: 95 % interval; None where it goes on beyond what was tested.
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
        """Such as "0.061 [0.050, 0.074]", "above 0.2", or "cannot tell (0.02 to 0.2 tested)"."""
        if self.low is None and self.high is None:
            return f"cannot tell ({self.slowest:g} to {self.fastest:g} tested)"
        if self.estimate is None:
            return f"above {self.low:.3g}" if self.above else f"below {self.high:.3g}"
        low = f"below {self.slowest:g}" if self.low is None else f"{self.low:.3g}"
        high = f"above {self.fastest:g}" if self.high is None else f"{self.high:.3g}"
        return f"{self.estimate:.3g} [{low}, {high}]"


def break_even(loads: Sequence[float], successes: Sequence[bool], threshold: float = 0.5) -> BreakEven:
    """Fit a logistic curve that does not rise with the load, and find where it crosses the threshold.

    The interval is that of the likelihood ratio: all places where a curve through the threshold fits so well that a
    test at 5 % does not reject it (Cox and Hinkley 1974, Theoretical Statistics, 9.3). Unlike the delta method it holds
    where success falls at once from all to none, and where it hardly falls.

    Args:
        loads: of each episode, at least two different ones.
        successes: of each episode.
        threshold: success rate, inside (0, 1).

    Raises:
        ValueError: the threshold is not, or there are fewer than two loads.
    """
    import numpy as np
    from scipy.special import expit, logit
    from scipy.stats import chi2

    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be above 0 and below 1, not {threshold:g}")
    places = np.unique(np.asarray(loads, float))
    if len(places) < 2:
        raise ValueError("a break-even needs at least two different loads")
    of = np.searchsorted(places, np.asarray(loads, float))
    n = np.bincount(of)
    k = np.bincount(of, weights=np.asarray(successes, float))
    slowest, fastest = float(places[0]), float(places[-1])
    x = (places - slowest) / (fastest - slowest)

    intercept, slope, best = _fit(x, k, n)
    crossings = np.linspace(0, 1, PLACES)
    within = 2 * (best - _through(crossings, float(logit(threshold)), x, k, n)) <= chi2.ppf(LEVEL, 1)
    first_p, last_p = expit(intercept), expit(intercept + slope)
    above = bool(last_p >= threshold)
    crosses = bool(first_p >= threshold > last_p)

    def load(place: float) -> float:
        return slowest + place * (fastest - slowest)

    if within.any():
        low = None if within[0] else load(float(crossings[within][0]))
        high = None if within[-1] else load(float(crossings[within][-1]))
    else:
        low, high = (fastest, None) if above else (None, slowest)
    return BreakEven(
        threshold=threshold,
        slowest=slowest,
        fastest=fastest,
        estimate=load(float((logit(threshold) - intercept) / slope)) if crosses else None,
        low=low,
        high=high,
        above=above,
    )


def _fit(x: "np.ndarray", k: "np.ndarray", n: "np.ndarray") -> tuple[float, float, float]:
    """Intercept, slope and log-likelihood of the best logistic curve with a slope in [-STEEPEST, 0]."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    def cost(line: "np.ndarray") -> tuple[float, "np.ndarray"]:
        residual = k - n * expit(line[0] + line[1] * x)
        return -float(_log_likelihood(line[0] + line[1] * x, k, n)), -np.array([residual.sum(), (residual * x).sum()])

    bounds = [(-2 * STEEPEST, 2 * STEEPEST), (-STEEPEST, 0.0)]
    found = minimize(cost, np.array([1.0, -2.0]), jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-12})
    return float(found.x[0]), float(found.x[1]), -float(found.fun)


def _through(crossings: "np.ndarray", level: float, x: "np.ndarray", k: "np.ndarray", n: "np.ndarray") -> "np.ndarray":
    """Log-likelihood of the best curve through log-odds `level` at each of the crossings; slopes as in `_fit`."""
    import numpy as np
    from scipy.special import expit

    away = x[None, :] - crossings[:, None]
    least, most = np.full(len(crossings), -STEEPEST), np.zeros(len(crossings))
    for _ in range(50):  # the likelihood is concave in the slope: halve the interval by the sign of its derivative
        middle = (least + most) / 2
        rising = ((k - n * expit(level + middle[:, None] * away)) * away).sum(axis=1) > 0
        least, most = np.where(rising, middle, least), np.where(rising, most, middle)
    return _log_likelihood(level + least[:, None] * away, k, n)


def _log_likelihood(log_odds: "np.ndarray", k: "np.ndarray", n: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.asarray(np.sum(k * log_odds - n * np.logaddexp(0.0, log_odds), axis=-1))
