"""The plant: what an agent drives in simulated time, and the arm that implements its physical half."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlatency.sim.arm import ARM_JOINTS, GRIPPER, GRIPPER_CLOSED_CTRL, SERVO_LAG_S, TCP
from vlatency.sim.cameras import Eyes
from vlatency.sim.clock import NS_PER_S, PHYSICS_STEP_NS
from vlatency.sim.kinematics import ArmKinematics
from vlatency.sim.readings import Readings
from vlatency.sim.sensors import SensorReader
from vlatency.sim.stage import PLAIN, STILL, Scenery, Stage
from vlatency.sim.world import Thing, World

WORKSPACE_LOW = np.array([0.25, -0.45, 0.018])
WORKSPACE_HIGH = np.array([0.80, 0.45, 0.50])
"""Set-points are clipped into this box [m]: the table below, the arm's reach beyond."""
MAX_SPEED_M_S = 0.6
MAX_YAW_RATE_RAD_S = 3.0
ACTION_SIZE = 5


class Plant(Protocol):
    """Anything that runs in simulated time: the agent wrapper needs no more than this.

    An action is an absolute set-point (5,): x, y, z [m], yaw [rad], gripper (0 open to 1 closed), reached one control
    period after it takes effect and held from then on.
    """

    @property
    def now_ns(self) -> int:
        """Simulated time since the episode began [ns]."""

    @property
    def done(self) -> bool:
        """The episode is over: success, or out of time."""

    @property
    def instruction(self) -> str:
        """What the robot is told to do, now."""

    def advance_to(self, t_ns: int) -> None:
        """Step the physics to the first step boundary at or after `t_ns`; ValueError where that is in the past."""

    def command(self, action: ArrayLike) -> None:
        """Follow a new set-point from now on; ValueError unless five finite numbers."""

    def capture(self, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        """What the cameras see now: (360, 640, 3) each."""

    def sensors(self) -> Readings:
        """What the robot feels now."""


@dataclass(frozen=True)
class ArmState:
    """All that the future of an `ArmPlant` depends on; equal states have equal futures, bit for bit."""

    things: tuple[Thing, ...]
    scenery: Scenery
    physics: NDArray[np.float64]
    steps: int
    reference: NDArray[np.float64]
    segment: tuple[NDArray[np.float64], NDArray[np.float64], int, int]
    wrench: NDArray[np.float64]
    digest: bytes


class ArmPlant:
    """The arm in its world, following Cartesian set-points.

    A set-point becomes joint angles by inverse kinematics; the joint reference moves there in a straight line over one
    control period, longer where the speed limits ask for it. The servos see reference + lag * rate, which cancels the
    0.2 s by which a position servo with damping on absolute velocity trails.

    Args:
        control_hz: how often set-points are expected.
        stage: what stands around the objects, and how many there may be.
    """

    def __init__(self, control_hz: float, stage: Stage = PLAIN) -> None:
        self.control_hz = control_hz
        self.world = World(stage)
        self.eyes = Eyes(self.world.model)
        self._kinematics = ArmKinematics()
        model, data = self.world.model, self.world.data
        self._reader = SensorReader(model, data)
        self._qpos = np.array([model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._servos = np.array([model.actuator(name.removesuffix("_joint")).id for name in ARM_JOINTS])
        self._fingers = model.actuator(GRIPPER + "fingers_actuator").id
        self._tcp = model.site(TCP).id
        self._steps = 0
        self._digest = b""
        self._pose = np.zeros(4)
        self._segment = (np.zeros(6), np.zeros(6), 0, 1)

    @property
    def now_ns(self) -> int:
        """Simulated time [ns]."""
        return self._steps * PHYSICS_STEP_NS

    @property
    def trajectory_hash(self) -> str:
        """SHA-256 chained over the positions after every physics step: equal hashes, equal trajectories."""
        return self._digest.hex()

    def begin(self, things: Sequence[Thing], pose: NDArray[np.float64], scenery: Scenery = STILL) -> None:
        """Start anew: `things` on the table, the hand at rest at `pose` (4,) with the fingers open."""
        data = self.world.data
        mujoco.mj_resetData(self.world.model, data)
        self.world.lay_out(things, scenery)
        joints = self._kinematics.solve(pose)
        data.qpos[self._qpos] = joints
        data.ctrl[self._servos] = joints
        data.ctrl[self._fingers] = 0.0
        mujoco.mj_forward(self.world.model, data)
        self._steps, self._digest = 0, b""
        self._pose, self._segment = np.array(pose, float), (joints, joints, 0, 1)
        self._reader.window[:] = data.sensordata[:6]

    def command(self, action: ArrayLike) -> None:
        """Follow a new set-point from now on.

        Raises:
            ValueError: not five finite numbers.
        """
        point = np.asarray(action, dtype=np.float64)
        if point.shape != (ACTION_SIZE,) or not np.isfinite(point).all():
            raise ValueError(f"an action is {ACTION_SIZE} finite numbers (x, y, z, yaw, gripper), not {action!r}")
        pose = np.append(np.clip(point[:3], WORKSPACE_LOW, WORKSPACE_HIGH), np.clip(point[3], -np.pi / 2, np.pi / 2))
        start = self._reference()
        seconds = max(
            1 / self.control_hz,
            float(np.linalg.norm(pose[:3] - self._pose[:3])) / MAX_SPEED_M_S,
            abs(pose[3] - self._pose[3]) / MAX_YAW_RATE_RAD_S,
        )
        steps = round(seconds * NS_PER_S / PHYSICS_STEP_NS)
        self._segment = (start, self._kinematics.solve(pose, start), self._steps, steps)
        self._pose = pose
        self.world.data.ctrl[self._fingers] = np.clip(point[4], 0, 1) * GRIPPER_CLOSED_CTRL

    def push(self, slot: int, wrench: NDArray[np.float64]) -> None:
        """From now on the force [N] and torque [N m] `wrench` (6,) act on the object in `slot`."""
        self.world.data.xfrc_applied[self.world.bodies[slot]] = wrench

    def step(self) -> None:
        """Advance the physics by one step."""
        data = self.world.data
        _, _, first, duration = self._segment
        start, end = self._segment[:2]
        moving = self._steps - first < duration
        rate = (end - start) / (duration * PHYSICS_STEP_NS * 1e-9) if moving else 0.0
        self._steps += 1
        data.ctrl[self._servos] = self._reference() + SERVO_LAG_S * rate
        # In this order (and not mj_step) poses and velocities are those of the new state, so that what is captured,
        # felt or restored between two steps belongs to one instant.
        mujoco.mj_step2(self.world.model, data)
        mujoco.mj_step1(self.world.model, data)
        self._reader.sample()
        self._digest = hashlib.sha256(self._digest + data.qpos.tobytes()).digest()

    def _reference(self) -> NDArray[np.float64]:
        start, end, first, duration = self._segment
        return start + (end - start) * min(1.0, (self._steps - first) / duration)

    def reach_to(self, slot: int) -> float:
        """Distance [m] of the end effector from the centre of the object in `slot`."""
        data = self.world.data
        return float(np.linalg.norm(data.site_xpos[self._tcp] - data.xpos[self.world.bodies[slot]]))

    def sensors(self) -> Readings:
        """What the robot feels now."""
        return self._reader.read(self.now_ns)

    def get_state(self) -> ArmState:
        """Everything the future depends on."""
        model, data = self.world.model, self.world.data
        physics = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(model, data, physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        return ArmState(
            self.world.things, self.world.scenery, physics, self._steps, self._pose.copy(), self._segment,
            self._reader.window.copy(), self._digest,
        )  # fmt: skip

    def set_state(self, state: ArmState) -> None:
        """Go back to `state`, bit for bit."""
        model, data = self.world.model, self.world.data
        self.world.dress(state.things, state.scenery)
        mujoco.mj_setState(model, data, state.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        warmstart = data.qacc_warmstart.copy()
        mujoco.mj_forward(model, data)
        # mj_forward solves again from the warm start and overwrites it; the next step must start from the stored one.
        data.qacc_warmstart[:] = warmstart
        self._steps, self._digest = state.steps, state.digest
        self._pose, self._segment = state.reference.copy(), state.segment
        self._reader.window[:] = state.wrench

    def close(self) -> None:
        """Free the GL context."""
        self.eyes.close()
