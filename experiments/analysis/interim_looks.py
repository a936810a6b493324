"""Interim looks: testing before the last seed without more false alarms. They are planned before the first episode.

With K looks a comparison of n seeds is tested after every n / K of them, and stops once a look has decided it. O'Brien
and Fleming (1979, Biometrics 35:549) demand much of early looks and hardly more than usual of the last. Their bounds
hold for a normal statistic; with the exact McNemar test, which is discrete, there are fewer false alarms still.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from vlatency.experiments.analysis.paired import LEVEL, Paired, needed_for, paired

MAX_LOOKS = 10


def crossing_chance(z: float, looks: int) -> float:
    """Chance that |Z| exceeds z sqrt(K / k) at any look k of K if the arms do not differ.

    The sums up to each look are then a random walk with normal steps, which has to stay within a fixed distance
    (Armitage, McPherson and Rowe 1969, J. R. Statist. Soc. A 132:235). ValueError unless 1 <= looks <= 10.
    """
    if not 1 <= looks <= MAX_LOOKS:
        raise ValueError(f"looks must be 1 to {MAX_LOOKS}, not {looks}")
    if looks == 1:
        return math.erfc(z / math.sqrt(2))
    from scipy.stats import norm

    nodes, weights = np.polynomial.legendre.leggauss(160)
    reach = z * math.sqrt(looks)
    x, w = nodes * reach, weights * reach
    density = norm.pdf(x)
    for _ in range(looks - 1):
        density = norm.pdf(x[:, None] - x[None, :]) @ (w * density)
    return min(1.0, max(0.0, 1 - float(w @ density)))


@lru_cache
def critical_z(looks: int, level: float = 1 - LEVEL) -> float:
    """O'Brien and Fleming's constant: the z whose `crossing_chance` is `level`."""
    from scipy.optimize import brentq

    return float(brentq(lambda z: crossing_chance(z, looks) - level, 0.5, 8.0))


def sizes(n: int, looks: int) -> tuple[int, ...]:
    """Seeds up to each look, in steps as equal as possible; the last look has all n."""
    return tuple(-(-n * look // looks) for look in range(1, looks + 1))


def look_by_look(
    first: Sequence[bool], second: Sequence[bool], sizes: Sequence[int], level: float = 1 - LEVEL
) -> Paired:
    """Compare two arms at the look that decided, or else at the latest look for which both have the seeds.

    The p-value allows for all looks, including those to come, and is below `level` if and only if a look has decided.
    Before the first look the comparison is on all seeds that both arms have. The seeds needed are those with which the
    last look alone has the power.

    Args:
        first: outcomes of one arm, in the order of the seeds.
        second: outcomes of the other arm.
        sizes: seeds up to each look.
        level: of the test.
    """
    from scipy.stats import norm

    shared, farthest = min(len(first), len(second)), 0.0
    result = paired(first[:shared], second[:shared])
    for look, size in enumerate(sizes, 1):
        if size > shared or farthest > critical_z(len(sizes), level):
            break
        result = paired(first[:size], second[:size])
        farthest = max(farthest, float(norm.isf(result.p_value / 2)) * math.sqrt(look / len(sizes)))
    if len(sizes) == 1:
        return result
    p_value = crossing_chance(farthest, len(sizes)) if farthest > 0 else 1.0
    last_level = 2 * float(norm.sf(critical_z(len(sizes), level)))  # a plan has its power at the last look at least
    needed = needed_for(result.n, result.gained, result.lost, last_level)
    return replace(result, p_value=p_value, needed=needed)
