"""What a running episode asks of the policy. An episode yields these requests, and a driver sends the answers back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from vlatency.sim.readings import Readings


@dataclass(frozen=True, eq=False)
class Encode:
    """Turn views and instruction into vision-language features (slow). The clock does not look into the answer."""

    images: Mapping[str, np.ndarray]
    """uint8 (H, W, 3) by camera name, all exposed at one instant.

    Where views are encoded in turn, only those that are due; the policy takes the others from `before`, which was
    then encoded under the same instruction.
    """
    instruction: str
    readings: Readings
    """The sensors at the exposure; they travel with the features, because the wrist camera moves."""
    t_ns: int = 0
    """Time of the exposure [ns]."""
    before: object | None = None
    """Answer to the previous `Encode` of the episode, if any. Two looks show motion, one does not."""


@dataclass(frozen=True, eq=False)
class Act:
    """Turn features and fresh sensor readings into a chunk (fast): (8, 5) absolute set-points, 100 ms apart."""

    features: object
    """Answer to an earlier `Encode` of the same episode."""
    readings: Readings
    """The sensors now."""
    age_ns: int
    """Time since the exposure behind the features [ns]."""
    plan: np.ndarray | None = None
    """(rows, 5) what is left of the chunk in force, for real-time chunking; None if there is nothing to continue.

    Absolute set-points at the times of the first rows of the answer, which should continue them.
    """
    frozen: int = 0
    """How many rows of the plan will have been carried out when the answer arrives."""


Request: TypeAlias = Encode | Act
