"""Cartesian set-points to joint angles: inverse kinematics of the arm alone (mink)."""

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.arm import ARM_JOINTS, ELBOW_UP_QPOS, TCP, arm_spec

_TOLERANCE_M = 1e-4
_MAX_ITERATIONS = 20


def hand_rotation(yaw: float) -> NDArray[np.float64]:
    """Rotation (3, 3) of a hand that points straight down, fingers closing along world y turned by `yaw` [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([1.0, -1.0, -1.0])


class ArmKinematics:
    """Differential inverse kinematics iterated to convergence; a pure function of (pose, seed)."""

    def __init__(self) -> None:
        model = arm_spec().compile()
        self._configuration = mink.Configuration(model)
        self._joints = np.array([model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._rest = model.qpos0.copy()
        self._task = mink.FrameTask(TCP, "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-6)

    def solve(self, pose: NDArray[np.float64], seed: NDArray[np.float64] = ELBOW_UP_QPOS) -> NDArray[np.float64]:
        """Joint angles (6,) [rad] for a pose (4,) x, y, z [m] and yaw [rad], hand down, near `seed` (6,)."""
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, hand_rotation(float(pose[3])).ravel())
        self._task.set_target(mink.SE3.from_rotation_and_translation(mink.SO3(quat), pose[:3]))
        qpos = self._rest.copy()
        qpos[self._joints] = seed
        self._configuration.update(qpos)
        for _ in range(_MAX_ITERATIONS):
            if np.abs(self._task.compute_error(self._configuration)).max() < _TOLERANCE_M:
                break
            velocity = mink.solve_ik(self._configuration, [self._task], 1.0, solver="daqp", damping=1e-9)
            self._configuration.integrate_inplace(velocity, 1.0)
        joints: NDArray[np.float64] = self._configuration.q[self._joints].copy()
        return joints
