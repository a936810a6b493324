"""Rules for environments that ship no script of their own: `script:vlatency.agent.policies.rules:reach`."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Seen = Mapping[str, NDArray[np.float64]]


def reach(seen: Seen) -> NDArray[np.float64]:
    """For `robotics:FetchReach-v4`: move the gripper (4,) towards the goal, the faster the farther it is."""
    return np.append(np.clip(10 * (seen["desired_goal"] - seen["achieved_goal"]), -1, 1), 0)


class Lift:
    """For `robosuite:Lift`: above the cube, down to it, close the gripper, and up again; (7,) with delta rotations."""

    def __init__(self) -> None:
        self._stage, self._closed = 0, 0

    def __call__(self, seen: Seen) -> NDArray[np.float64]:
        """The action (7,) of this step."""
        to_cube = seen["cube_pos"] - seen["robot0_eef_pos"]
        if self._stage == 0 and np.linalg.norm(to_cube[:2]) < 0.015:
            self._stage = 1
        if self._stage == 1 and np.linalg.norm(to_cube) < 0.012:
            self._stage = 2
        self._closed += self._stage == 2
        if self._stage == 2:
            move = np.array([0.0, 0.0, 1.0 if self._closed > 8 else 0.0])
        else:
            above = np.array([0.0, 0.0, 0.06 if self._stage == 0 else 0.0])
            move = np.clip(20 * (to_cube + above), -1, 1)
        return np.array([*move, 0, 0, 0, 1.0 if self._stage == 2 else -1.0])
