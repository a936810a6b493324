"""What a running episode asks of the policy: an episode yields these, and a driver sends the answers back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from vlatency.sim.readings import Readings


@dataclass(frozen=True, eq=False)
class Encode:
    """Look: turn the views into vision-language features (slow). The answer is opaque to the clock."""

    images: Mapping[str, np.ndarray]
    """Camera name to uint8 (H, W, 3), all exposed at one instant: of every camera, or of those that are due.

    What the others saw is then to be taken from `before`, which was made under the same instruction.
    """
    instruction: str
    readings: Readings
    """The sensors at the instant of the exposure; they travel with the features, because the wrist camera moves."""
    t_ns: int = 0
    """That instant."""
    before: object | None = None
    """The answer to the episode's last `Encode`, if any: two looks show motion, one does not."""


@dataclass(frozen=True, eq=False)
class Act:
    """Move: turn features and fresh sensors into a chunk (fast). The answer is (8, 5) absolute set-points at 10 Hz."""

    features: object
    """The answer to an earlier `Encode` of the same episode."""
    readings: Readings
    """The sensors now."""
    age_ns: int
    """How long ago the views behind the features were taken [ns]."""
    plan: np.ndarray | None = None
    """(rows, 5) what is left of the chunk in force: absolute set-points at the times of the first rows of the answer,
    which shall continue it (real-time chunking). None where there is nothing to continue."""
    frozen: int = 0
    """How many rows of the plan will have been carried out when the answer arrives."""


Request: TypeAlias = Encode | Act
