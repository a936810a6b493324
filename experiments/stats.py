"""Statistics that permit a decision, "cannot tell at this n" included."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

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
        gained, lost: seeds on which only the first arm, only the second one succeeded.
        difference: success of the first arm less that of the second.
        p_value: two-sided exact McNemar test.
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
        """The test rejects "no difference" at 5 %."""
        return self.p_value < 1 - LEVEL


def wilson(k: int, n: int) -> Interval:
    """Wilson's score interval of k successes in n (Wilson 1927, JASA 22:209).

    Raises:
        ValueError: unless 0 <= k <= n and n > 0.
    """
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n} is no proportion")
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(k, n, 1 - LEVEL, method="wilson")
    return Interval(k / n, max(0.0, float(low)), min(1.0, float(high)))


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare two arms whose i-th outcomes share a seed.

    Raises:
        ValueError: different lengths, or none.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = list(zip(first, second, strict=True))
    both, gained, lost = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
    neither = len(pairs) - both - gained - lost
    p_value = float(mcnemar([[both, gained], [lost, neither]], exact=True).pvalue) if gained + lost else 1.0
    return Paired(
        n=len(pairs),
        gained=gained,
        lost=lost,
        difference=paired_difference(both, gained, lost, neither),
        p_value=min(1.0, p_value),
        needed=needed_n((gained + lost) / len(pairs), abs(gained - lost) / len(pairs) or 0.10),
    )


def paired_difference(both: int, gained: int, lost: int, neither: int) -> Interval:
    """Difference of two paired proportions with Newcombe's interval (1998, Statistics in Medicine 17:2635, method 10).

    It squares and adds the Wilson intervals of both arms, less what their correlation phi takes away, and so
    stays inside [-1, 1] and does not collapse where all outcomes agree.
    """
    n = both + gained + lost + neither
    one, two = wilson(both + gained, n), wilson(both + lost, n)
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    covariance: float = both * neither - gained * lost
    if covariance > 0:  # continuity correction
        covariance = max(0.0, covariance - n / 2)
    phi = covariance / math.sqrt(margins) if margins else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = one.estimate - two.estimate
    low = difference - reach(one.estimate - one.low, two.high - two.estimate)
    high = difference + reach(two.estimate - two.low, one.high - one.estimate)
    return Interval(difference, low, high)


def needed_n(discordant: float, difference: float) -> int:
    """Seeds for which McNemar's test sees a difference with a power of 80 % (Connor 1987, Biometrics 43:207).

    Args:
        discordant: share of seeds on which the arms differ; at least `difference`, else that is taken.
        difference: of the two success rates, in (0, 1].
    """
    discordant = max(discordant, difference)
    z_level, z_power = NormalDist().inv_cdf((1 + LEVEL) / 2), NormalDist().inv_cdf(POWER)
    root = z_level * math.sqrt(discordant) + z_power * math.sqrt(max(0.0, discordant - difference**2))
    return math.ceil((root / difference) ** 2)
