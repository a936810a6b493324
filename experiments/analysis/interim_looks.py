"""Looking at the results before the end, without raising the chance of a false alarm: declared before the first row.

A comparison of n seeds is looked at after every n / looks of them and stops when it is decided. O'Brien and Fleming
(1979, Biometrics 35:549) ask for much at the early looks and hardly more than usual at the last. Their levels hold for
a normal statistic; the exact McNemar test, being discrete, errs on the safe side of them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from vlatency.experiments.analysis.paired import LEVEL, Paired, paired

MAX_LOOKS = 10


def crossing_chance(z: float, looks: int) -> float:
    """Chance that |Z| exceeds z sqrt(K / k) at any look k of K, where nothing differs.

    The sums of K equal parts are then a random walk with normal steps, which has to stay within a fixed distance
    (Armitage, McPherson and Rowe 1969, J. R. Statist. Soc. A 132:235). ValueError unless 1 <= looks <= 10.
    """
    if not 1 <= looks <= MAX_LOOKS:
        raise ValueError(f"looks must be 1 to {MAX_LOOKS}, not {looks}")
    if looks == 1:
        return math.erfc(z / math.sqrt(2))
    import numpy as np
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
    """Seeds at each look, the last one n; as equal in steps as whole seeds permit."""
    return tuple(-(-n * look // looks) for look in range(1, looks + 1))


def look_by_look(
    first: Sequence[bool], second: Sequence[bool], sizes: Sequence[int], level: float = 1 - LEVEL
) -> Paired:
    """Two arms as the last look saw them: the one that decided, or the latest for which both have the seeds.

    Its p-value counts all looks, also those to come, and is below `level` if and only if a look decided. Before the
    first look all seeds that both arms have are taken.

    Args:
        first, second: outcomes in the order of the seeds.
        sizes: seeds at each look.
    """
    from scipy.stats import norm

    shared = min(len(first), len(second))
    result, farthest = paired(first[:shared], second[:shared]), 0.0
    if len(sizes) == 1:
        return paired(first[: sizes[0]], second[: sizes[0]]) if shared >= sizes[0] else result
    for look, size in enumerate(sizes, 1):
        if size > shared or farthest > critical_z(len(sizes), level):
            break
        result = paired(first[:size], second[:size])
        farthest = max(farthest, float(norm.isf(result.p_value / 2)) * math.sqrt(look / len(sizes)))
    return replace(result, p_value=crossing_chance(farthest, len(sizes)) if farthest > 0 else 1.0)
