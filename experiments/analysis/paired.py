"""Comparing two arms on shared seeds: intervals, tests, and how many seeds a decision takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist
from typing import TypeVar

import numpy as np

K = TypeVar("K")

LEVEL = 0.95
POWER = 0.80


@dataclass(frozen=True)
class Interval:
    """A proportion, or a difference of two, with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Two arms on the same seeds.

    Attributes:
        n: shared seeds.
        gained: seeds on which only the first arm succeeded.
        lost: seeds on which only the second arm succeeded.
        difference: success rate of the first arm minus that of the second.
        p_value: of the two-sided exact McNemar test; after `holm`, adjusted for the other comparisons.
        needed: seeds that would tell a difference of this size (of 10 points where none was seen), see `needed_n`.
    """

    n: int
    gained: int
    lost: int
    difference: Interval
    p_value: float
    needed: int

    @property
    def significant(self) -> bool:
        """Whether the test rejects "no difference" at 5 %."""
        return self.p_value < 1 - LEVEL

    @property
    def verdict(self) -> str:
        """Better, worse, or cannot tell."""
        if not self.significant:
            return "cannot tell"
        return "better" if self.difference.estimate > 0 else "worse"


def wilson(k: int, n: int) -> Interval:
    """Score interval of k successes in n (Wilson 1927, JASA 22:209). ValueError unless 0 <= k <= n and n > 0."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no proportion")
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(k, n, 1 - LEVEL, method="wilson")
    return Interval(k / n, max(0.0, float(low)), min(1.0, float(high)))


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare two arms whose i-th outcomes share a seed. ValueError if they have different lengths, or none."""
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = list(zip(first, second, strict=True))
    both, gained, lost = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
    neither, needed = len(pairs) - both - gained - lost, needed_for(len(pairs), gained, lost, 1 - LEVEL)
    difference = paired_difference(both, gained, lost, neither)
    p_value = float(mcnemar([[both, gained], [lost, neither]], exact=True).pvalue) if gained + lost else 1.0
    return Paired(len(pairs), gained, lost, difference, min(1.0, p_value), needed)


def needed_for(n: int, gained: int, lost: int, level: float) -> int:
    """Seeds that would tell what was seen, or 10 points where no difference was seen."""
    return needed_n((gained + lost) / n, abs(gained - lost) / n or 0.10, level)


def paired_difference(both: int, gained: int, lost: int, neither: int) -> Interval:
    """Difference of two paired proportions with Newcombe's interval (1998, Statistics in Medicine 17:2635, method 10).

    It squares and adds the Wilson intervals of both arms, minus a term for their correlation phi. So it stays inside
    [-1, 1] and does not collapse where all outcomes agree.
    """
    n = both + gained + lost + neither
    one, two = wilson(both + gained, n), wilson(both + lost, n)
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    covariance: float = both * neither - gained * lost
    if covariance > 0:  # continuity correction
        covariance = max(0.0, covariance - n / 2)
    return square_and_add(one, two, covariance / math.sqrt(margins) if margins else 0.0)


def square_and_add(first: Interval, second: Interval, correlation: float) -> Interval:
    """Interval of `first` minus `second`, from the intervals of both and the correlation of their estimates.

    Source: Zou and Donner 2008, Statistics in Medicine 27:1693. Newcombe's method 10 is its case of two proportions.
    """

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

    difference = first.estimate - second.estimate
    low = difference - reach(first.estimate - first.low, second.high - second.estimate)
    high = difference + reach(second.estimate - second.low, first.high - first.estimate)
    return Interval(difference, low, high)


def holm(results: Mapping[K, Paired]) -> dict[K, Paired]:
    """The comparisons with p-values adjusted for their number (Holm 1979, Scandinavian Journal of Statistics 6:65).

    The chance that any of them is significant although nothing differs stays at 5 %.
    """
    if not results:
        return {}
    # Not statsmodels' multipletests, which collects garbage at each call: that is most of the time of a report.
    values = np.array([result.p_value for result in results.values()])
    order = np.argsort(values)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    level = (1 - LEVEL) / len(results)  # of the first step, which a difference has to pass if it is the only one
    return {
        key: replace(result, p_value=float(p), needed=needed_for(result.n, result.gained, result.lost, level))
        for (key, result), p in zip(results.items(), adjusted, strict=True)
    }


@lru_cache(maxsize=4096)
def needed_n(discordant: float, difference: float, level: float = 1 - LEVEL) -> int:
    """Seeds with which the exact McNemar test finds a difference with a power of at least 80 %.

    The search starts at the normal approximation (Connor 1987, Biometrics 43:207), with which the exact test reaches
    76 to 79 % only.

    Args:
        discordant: share of seeds on which the arms differ, raised to `difference` if it is smaller.
        difference: of the two success rates, in (0, 1].
        level: of the test.
    """
    discordant = max(discordant, difference)
    z_level, z_power = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(POWER)
    root = z_level * math.sqrt(discordant) + z_power * math.sqrt(max(0.0, discordant - difference**2))
    too_few, enough = 0, max(1, math.ceil((root / difference) ** 2))
    while power(enough, discordant, difference, level) < POWER:
        too_few, enough = enough, math.ceil(1.1 * enough) + 1
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if power(middle, discordant, difference, level) < POWER:
            too_few = middle
        else:
            enough = middle
    return enough


def power(n: int, discordant: float, difference: float, level: float = 1 - LEVEL) -> float:
    """Chance that the exact McNemar test tells two arms apart.

    Args:
        n: shared seeds.
        discordant: share of seeds on which the arms differ, raised to `difference` if it is smaller.
        difference: of the two success rates, in (0, 1].
        level: of the test; the p-value must be below it.
    """
    from scipy.stats import binom

    discordant = min(1.0, max(discordant, difference))
    spread = 8 * math.sqrt(n * discordant * (1 - discordant)) + 8  # what lies beyond has no weight
    fewest, most = max(0, int(n * discordant - spread)), min(n, int(n * discordant + spread) + 1)
    counts = np.arange(fewest, most + 1)
    # Of `counts` discordant seeds at most this many may have the rarer outcome; below 0: the test never rejects.
    rare = np.asarray(binom.ppf(level / 2, counts, 0.5))
    rare = np.where(2 * binom.cdf(rare, counts, 0.5) < level, rare, rare - 1)
    common = (1 + difference / discordant) / 2
    rejects = np.where(rare < 0, 0.0, binom.sf(counts - rare - 1, counts, common) + binom.cdf(rare, counts, common))
    return float(np.sum(binom.pmf(counts, n, discordant) * rejects))


def detectable(n: int, discordant: float, level: float = 1 - LEVEL) -> float | None:
    """The least difference of two success rates that can be found with a power of 80 %; None if none can.

    Args:
        n: shared seeds.
        discordant: share of seeds on which the arms differ. That is a half for arms that succeed on half of the seeds
            each and agree no more often than by chance; arms that meet the same scenes mostly differ on fewer.
        level: of the test.
    """
    from scipy.optimize import brentq

    if power(n, discordant, 1.0, level) < POWER:
        return None
    return float(brentq(lambda difference: power(n, discordant, difference, level) - POWER, 1e-9, 1.0, xtol=1e-4))
