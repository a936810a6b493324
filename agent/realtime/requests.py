"""What a running episode asks of the policy. An episode yields these requests, and a driver sends the answers back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

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
    deferrable: bool = False
    """Whether the policy may answer now and compute when `Act` first needs it: what nobody reads then costs nothing.

    So it is in simulated time, which does not pass while the policy computes.
    """


@dataclass(frozen=True, eq=False)
class Act:
    """Turn features and fresh sensor readings into a chunk (fast): (rows, size) actions, as `Timing.actions` says."""

    features: object
    """Answer to an earlier `Encode` of the same episode."""
    readings: Readings
    """The sensors now."""
    age_ns: int
    """Time since the exposure behind the features [ns]."""
    plan: np.ndarray | None = None
    """(rows, size) what is left of the chunk in force, for real-time chunking; None if there is nothing to continue.

    Actions at the times of the first rows of the answer, which should continue them.
    """
    frozen: int = 0
    """How many rows of the plan will have been carried out when the answer arrives."""


@dataclass(frozen=True, eq=False)
class Infer:
    """Turn views, instruction and sensor readings into a chunk in one go, as pi0, SmolVLA, OpenVLA or a script does.

    The chunk has (rows, size) actions, the first of which is meant for the instant of the exposure.
    """

    images: Mapping[str, np.ndarray]
    """uint8 (H, W, 3) by camera name, all exposed at one instant."""
    instruction: str
    readings: Any
    """What the robot felt at the exposure: `sim.readings.Readings`, or the `Observed` of another environment."""
    t_ns: int = 0
    """Time of the exposure [ns]."""
    plan: np.ndarray | None = None
    """As in `Act`."""
    frozen: int = 0
    """As in `Act`."""


Request: TypeAlias = Encode | Act | Infer
