"""Inverse kinematics of the arm: from poses of the end effector to joint angles, with mink."""

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.arm import ARM_JOINTS, ELBOW_UP_QPOS, TCP, arm_spec

_TOLERANCE_M = 1e-4
_MAX_ITERATIONS = 20


def gripper_rotation(yaw: float) -> NDArray[np.float64]:
    """Rotation (3, 3) of a gripper that points straight down and closes along the y axis turned by `yaw` [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([1.0, -1.0, -1.0])


class ArmKinematics:
    """Differential inverse kinematics, iterated until it converges. The result depends on pose and seed alone."""

    def __init__(self) -> None:
        model = arm_spec().compile()
        self._configuration = mink.Configuration(model)
        self._joints = np.array([model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._rest = model.qpos0.copy()
        self._task = mink.FrameTask(TCP, "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-6)

    def solve(self, pose: NDArray[np.float64], seed: NDArray[np.float64] = ELBOW_UP_QPOS) -> NDArray[np.float64]:
        """Solve for the joint angles that bring the end effector to a pose.

        Args:
            pose: (4,) x, y, z [m] and yaw [rad] of a gripper that points down.
            seed: (6,) joint angles [rad] where the search starts.

        Returns:
            (6,) joint angles [rad].
        """
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, gripper_rotation(float(pose[3])).ravel())
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
