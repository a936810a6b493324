"""What the robot feels: joint, gripper, end-effector and wrist force/torque readings."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.arm import ARM_JOINTS, GRIPPER, GRIPPER_CLOSED_RAD, GRIPPER_JOINT, TCP

WRENCH_SAMPLES = 50
"""100 ms at 500 Hz: one sample a physics step."""


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


class SensorReader:
    """Reads `Readings` out of a simulation and keeps the force/torque window."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._data = data
        joints = [model.joint(name) for name in ARM_JOINTS]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        finger = model.joint(GRIPPER_JOINT)
        self._finger_qpos, self._finger_qvel = int(finger.qposadr[0]), int(finger.dofadr[0])
        self._tcp = model.site(TCP).id
        force = model.sensor(GRIPPER + "force").adr[0]
        self._wrench = slice(force, force + 6)
        self.window = np.zeros((WRENCH_SAMPLES, 6))

    def sample(self) -> None:
        """Append the current force and torque to the window; call once a physics step."""
        self.window[:-1] = self.window[1:]
        self.window[-1] = self._data.sensordata[self._wrench]

    def read(self, t_ns: int) -> Readings:
        """The readings now; arrays are copies."""
        data = self._data
        rotation = data.site_xmat[self._tcp]
        # The hand points down, so that its x axis lies in the horizontal plane.
        yaw = np.arctan2(rotation[3], rotation[0])
        return Readings(
            t_ns=t_ns,
            joint_pos=data.qpos[self._qpos],
            joint_vel=data.qvel[self._qvel],
            gripper_pos=float(data.qpos[self._finger_qpos] / GRIPPER_CLOSED_RAD),
            gripper_vel=float(data.qvel[self._finger_qvel] / GRIPPER_CLOSED_RAD),
            ee_pose=np.append(data.site_xpos[self._tcp], yaw),
            wrench=self.window.copy(),
        )
