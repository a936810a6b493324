"""Late or wrong: an optimization changes the latency and the features; which of the two changes success?

Four arms on the same seeds, {reference, optimized} features crossed with {reference, optimized} timing:

    total        optimized features and timing, less the reference
    late         reference features at the optimized timing, less the reference
    wrong        optimized features at the reference timing, less the reference
    interaction  what is left: total - late - wrong
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vlatency.experiments.analysis.paired import Interval, Paired, paired, square_and_add


@dataclass(frozen=True)
class Split:
    """How the change in success divides; estimates add up, total = late + wrong + interaction."""

    total: Paired
    late: Paired
    wrong: Paired
    interaction: Interval


def late_or_wrong(
    reference: Sequence[bool], late: Sequence[bool], wrong: Sequence[bool], optimized: Sequence[bool]
) -> Split:
    """Split the change from `reference` to `optimized`.

    Args:
        reference, optimized: outcomes of the two configurations, by seed.
        late: of the reference features at the optimized timing.
        wrong: of the optimized features at the reference timing.

    Raises:
        ValueError: different lengths, or none.
    """
    first, second = paired(optimized, late), paired(wrong, reference)  # what the features do, at either timing
    correlation = _correlation(_changes(optimized, late), _changes(wrong, reference))
    return Split(
        total=paired(optimized, reference),
        late=paired(late, reference),
        wrong=second,
        interaction=square_and_add(first.difference, second.difference, correlation),
    )


def _changes(first: Sequence[bool], second: Sequence[bool]) -> list[int]:
    return [a - b for a, b in zip(first, second, strict=True)]


def _correlation(first: Sequence[int], second: Sequence[int]) -> float:
    """Of two changes over seeds; 0 where one of them never varies."""
    import numpy as np

    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
