"""Choosing one of several options by success: intervals that hold for all of them at once, and the rule for shipping.

Whoever picks the best of twenty options picks luck, too: with each interval at 95 % by itself, the best option's
interval is wrong far more often than in one of twenty cases. These intervals share the 5 % (Bonferroni), so all of them
hold at once in at least 95 % of studies, however the options depend on each other, such as by shared seeds. That
includes the interval of whichever option is picked.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from vlatency.experiments.analysis.paired import LEVEL, POWER, Interval

Enough = Literal["yes", "no", "cannot tell"]
MOST_EPISODES = 1_000_000


@lru_cache(maxsize=4096)
def exact(k: int, n: int, options: int = 1) -> Interval:
    """Interval of k successes in n (Clopper and Pearson 1934, Biometrika 26:404), one of several that hold at once.

    Args:
        k: successes.
        n: episodes, at least one.
        options: how many intervals have to hold at once at 95 %.

    Raises:
        ValueError: k of n is no proportion, or there are no options.

    Example:
        >>> round(exact(100, 100).low, 3), round(exact(100, 100, options=20).low, 3)
        (0.964, 0.935)
    """
    if not 0 <= k <= n or n == 0 or options < 1:
        raise ValueError(f"{k} of {n} with {options} options is no proportion")
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / (2 * options)
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(k / n, low, high)


def enough(success: Interval, least: float) -> Enough:
    """Whether a success rate is at or above `least`: the whole interval has to say so."""
    if success.low >= least:
        return "yes"
    return "no" if success.high < least else "cannot tell"


def choose(ranked: Sequence[Enough]) -> tuple[Enough, int | None]:
    """What to ship of several options.

    Where the verdicts come from intervals that hold at once, an option whose true rate is too low is shipped in at most
    5 % of studies.

    Args:
        ranked: whether each option that may be shipped is good enough, the preferred one first.

    Returns:
        "yes" and the first option that is good enough; or "cannot tell" and the first that may be; or "no".
    """
    wanted: tuple[Enough, Enough] = ("yes", "cannot tell")
    for verdict in wanted:
        if verdict in ranked:
            return verdict, ranked.index(verdict)
    return "no", None


def needed(estimate: float, least: float, options: int = 1) -> int | None:
    """Episodes after which the interval no longer holds `least`, with a power of 80 %, if the rate is `estimate`.

    None if a million are too few.
    """
    from scipy.stats import binom

    def clears(n: int) -> bool:
        if estimate >= least:
            successes = bisect_left(range(n + 1), True, key=lambda k: exact(k, n, options).low >= least)
            return bool(binom.sf(successes - 1, n, estimate) >= POWER)
        too_many = bisect_left(range(n + 1), True, key=lambda k: exact(k, n, options).high >= least)
        return bool(binom.cdf(too_many - 1, n, estimate) >= POWER)

    n = bisect_left(range(1, MOST_EPISODES), True, key=clears) + 1
    return n if n < MOST_EPISODES else None
