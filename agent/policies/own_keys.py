"""What our own world says over a wire: the sensors as one vector, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlatency.sim.readings import WRENCH_SAMPLES, Readings

IMAGE, STATE, PROMPT, TIME_NS = "observation/", "observation/state", "prompt", "observation/time_ns"
"""Keys of an observation; a view's is the first one and its camera."""
PARTS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("ee_pose", (4,)),
    ("joint_pos", (6,)),
    ("joint_vel", (6,)),
    ("gripper_pos", ()),
    ("gripper_vel", ()),
    ("wrench", (WRENCH_SAMPLES, 6)),
)
"""The fields of `Readings` in the order of the state vector, with their shapes."""
SIZES = {name: int(np.prod(shape)) for name, shape in PARTS}
SIZE = sum(SIZES.values())


def state_vector(readings: Any) -> NDArray[Any]:
    """The numbers that a policy of others is sent: an environment's state, or our sensors (318,) in one vector."""
    if isinstance(readings, Readings):
        return np.concatenate([np.ravel(getattr(readings, name)) for name, _ in PARTS])
    state: NDArray[Any] = readings.state
    return state


def readings_of(state: NDArray[Any], t_ns: int) -> Readings:
    """The sensor readings that `state_vector` made a vector (318,) of. ValueError if it is no such vector."""
    numbers = np.array(state, dtype=np.float64)
    if numbers.shape != (SIZE,) or not np.isfinite(numbers).all():
        parts = ", ".join(f"{name} {size}" for name, size in SIZES.items())
        raise ValueError(f"{STATE} must be {SIZE} finite numbers ({parts}), not {numbers.dtype} {numbers.shape}")
    fields: dict[str, Any] = {}
    for name, shape in PARTS:
        part, numbers = numbers[: SIZES[name]], numbers[SIZES[name] :]
        fields[name] = part.reshape(shape) if shape else float(part[0])
    return Readings(t_ns=t_ns, **fields)
