"""Reads the robot's sensors out of a simulation: joints, gripper, end effector, force and torque at the wrist."""

import mujoco
import numpy as np

from vlatency.sim.arm import ARM_JOINTS, GRIPPER, GRIPPER_CLOSED_RAD, GRIPPER_JOINT, TCP
from vlatency.sim.readings import WRENCH_SAMPLES, Readings


class SensorReader:
    """Reads the sensors of a simulated robot and keeps the window of forces and torques.

    Args:
        model: The compiled world.
        data: Its state, read at every call.
    """

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
        """Append the current force and torque to the window. To be called once per physics step."""
        self.window[:-1] = self.window[1:]
        self.window[-1] = self._data.sensordata[self._wrench]

    def read(self, t_ns: int) -> Readings:
        """Readings of the current state, stamped with `t_ns`. Arrays are copies."""
        data = self._data
        rotation = data.site_xmat[self._tcp]
        # The gripper points down, so its x axis lies in the horizontal plane.
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
