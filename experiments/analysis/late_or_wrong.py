"""Late or wrong: an optimization changes the latency and the features. Which of the two changes success?

Four arms run the same seeds, {reference, optimized} features crossed with {reference, optimized} timing:

    total        optimized features and timing, minus the reference
    late         reference features at the optimized timing, minus the reference
    wrong        optimized features at the reference timing, minus the reference
    interaction  what is left: total - late - wrong
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlatency.experiments.analysis.paired import Interval, Paired, paired, square_and_add


@dataclass(frozen=True)
class Split:
    """The parts of a change in success; their estimates add up to that of the total."""

    total: Paired
    late: Paired
    wrong: Paired
    interaction: Interval


def late_or_wrong(
    reference: Sequence[bool], late: Sequence[bool], wrong: Sequence[bool], optimized: Sequence[bool]
) -> Split:
    """Split the change from `reference` to `optimized` into its parts.

    Args:
        reference: outcomes of the reference, by seed.
        late: of the reference features at the optimized timing.
        wrong: of the optimized features at the reference timing.
        optimized: of the optimized features and timing.

    Raises:
        ValueError: different lengths, or none.
    """
    at_optimized, at_reference = paired(optimized, late), paired(wrong, reference)  # what features do at either timing
    changes = np.subtract([optimized, wrong], [late, reference], dtype=int)
    correlation = float(np.corrcoef(changes)[0, 1]) if np.ptp(changes, axis=1).all() else 0.0
    interaction = square_and_add(at_optimized.difference, at_reference.difference, correlation)
    return Split(paired(optimized, reference), paired(late, reference), at_reference, interaction)
