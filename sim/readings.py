"""What the robot's sensors say at one instant. No MuJoCo, so that a policy can be timed without a simulator."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WRENCH_SAMPLES = 50
"""Length of the force/torque window: 100 ms at 500 Hz, one sample per physics step."""


@dataclass(frozen=True)
class Readings:
    """Sensor readings at one instant.

    Attributes:
        t_ns: simulated time [ns].
        joint_pos: (6,) [rad].
        joint_vel: (6,) [rad/s].
        gripper_pos: 0 open to 1 closed.
        gripper_vel: its rate [1/s].
        ee_pose: (4,) end effector x, y, z [m] in the robot's base frame and yaw [rad] about the vertical, 0 at home.
        wrench: (50, 6) force [N] and torque [N m] at the wrist over the last 100 ms at 500 Hz, oldest first.
    """

    t_ns: int
    joint_pos: NDArray[np.float64]
    joint_vel: NDArray[np.float64]
    gripper_pos: float
    gripper_vel: float
    ee_pose: NDArray[np.float64]
    wrench: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observed:
    """What takes the place of `Readings` in other people's environments.

    Attributes:
        t_ns: simulated time [ns].
        observation: as the environment's `step` returned it.
        state: (n,) the numbers of the observation that its mapping calls the state, one after the other.
    """

    t_ns: int
    observation: Any
    state: NDArray[np.float32]
