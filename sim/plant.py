"""The plant: what an agent controls in simulated time, and the simulated arm behind it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlatency.sim.arena import PLAIN, STILL, Arena, Scenery
from vlatency.sim.arm import ARM_JOINTS, GRIPPER, GRIPPER_CLOSED_CTRL, SERVO_LAG_S, TCP
from vlatency.sim.cameras import CameraRenderer
from vlatency.sim.clock import NS_PER_S, PHYSICS_STEP_NS
from vlatency.sim.kinematics import ArmKinematics
from vlatency.sim.readings import Readings
from vlatency.sim.sensors import SensorReader
from vlatency.sim.world import Thing, World

WORKSPACE_LOW = np.array([0.25, -0.45, 0.018])
WORKSPACE_HIGH = np.array([0.80, 0.45, 0.50])
"""Set-points are clipped to this box [m]: above the table, and within the reach of the arm."""
MAX_SPEED_M_S = 0.6
MAX_YAW_RATE_RAD_S = 3.0
ACTION_SIZE = 5


class Plant(Protocol):
    """A world in simulated time. The agent needs no more than this.

    An action is an absolute set-point (5,): x, y, z [m], yaw [rad] and gripper, 0 open to 1 closed. The end effector
    reaches it one control period after it takes effect, and holds it until the next one.

    Example:
        `PickEnv` is a plant. Half a second with one set-point, and what the robot then sees and feels:

            env = PickEnv("static")
            env.reset(seed=0)
            plant: Plant = env
            plant.command([0.5, 0.0, 0.2, 0.0, 0.0])
            plant.advance_to(plant.now_ns + 500_000_000)
            images, readings = plant.capture(("top", "wrist")), plant.sensors()
    """

    @property
    def now_ns(self) -> int:
        """Simulated time since the start of the episode [ns]."""

    @property
    def done(self) -> bool:
        """Whether the episode is over, by success or by its time limit."""

    @property
    def instruction(self) -> str:
        """The current instruction."""

    def advance_to(self, t_ns: int) -> None:
        """Advance the physics to its first step at or after `t_ns`. ValueError if that is in the past."""

    def command(self, action: ArrayLike) -> None:
        """Follow a new set-point from now on. ValueError unless it is five finite numbers."""

    def capture(self, cameras: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
        """Images of the cameras, uint8 (360, 640, 3) each, as they are now, even if they are drawn when first read."""

    def sensors(self) -> Readings:
        """Current sensor readings."""


@dataclass(frozen=True)
class ArmState:
    """All that the future of an `ArmPlant` depends on. Equal states have equal futures, bit for bit."""

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

    Inverse kinematics turns a set-point into joint angles. The joint reference moves there in a straight line within
    one control period, or longer if the speed limits require it. The servos get reference + lag * rate, which cancels
    the 0.2 s by which a position servo that damps the absolute velocity would trail.

    Args:
        control_hz: How often set-points are expected.
        arena: What surrounds the objects, and how many there may be.
    """

    def __init__(self, control_hz: float, arena: Arena = PLAIN) -> None:
        self.control_hz = control_hz
        self.world = World(arena)
        self.renderer = CameraRenderer(self.world.model)
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
        """SHA-256 over the positions after every physics step, chained. Equal hashes mean equal trajectories."""
        return self._digest.hex()

    def begin(self, things: Sequence[Thing], pose: NDArray[np.float64], scenery: Scenery = STILL) -> None:
        """Start an episode with `things` on the table, the end effector at rest at `pose` (4,) and the fingers open."""
        data = self.world.data
        self.renderer.draw_exposed()
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
            ValueError: It is not five finite numbers.
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
        """Apply a force [N] and torque [N m] `wrench` (6,) to the object in `slot` from now on."""
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
        # In this order, unlike in mj_step, poses and velocities are those of the new state. So images, readings and
        # saved states between two steps belong to one instant.
        mujoco.mj_step2(self.world.model, data)
        mujoco.mj_step1(self.world.model, data)
        self._reader.sample()
        self._digest = hashlib.sha256(self._digest + data.qpos.tobytes()).digest()

    def _reference(self) -> NDArray[np.float64]:
        start, end, first, duration = self._segment
        return start + (end - start) * min(1.0, (self._steps - first) / duration)

    def distance_to(self, slot: int) -> float:
        """Distance [m] of the end effector from the centre of the object in `slot`."""
        data = self.world.data
        return float(np.linalg.norm(data.site_xpos[self._tcp] - data.xpos[self.world.bodies[slot]]))

    def capture(self, cameras: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
        """Current images of the cameras; each is drawn when it is first read."""
        return self.renderer.expose(self.world.data, cameras)

    def sensors(self) -> Readings:
        """Current sensor readings."""
        return self._reader.read(self.now_ns)

    def get_state(self) -> ArmState:
        """All that the future depends on."""
        model, data = self.world.model, self.world.data
        physics = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(model, data, physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        return ArmState(
            self.world.things, self.world.scenery, physics, self._steps, self._pose.copy(), self._segment,
            self._reader.window.copy(), self._digest,
        )  # fmt: skip

    def set_state(self, state: ArmState) -> None:
        """Return to `state`, bit for bit."""
        model, data = self.world.model, self.world.data
        self.renderer.draw_exposed()
        self.world.configure(state.things, state.scenery)
        mujoco.mj_setState(model, data, state.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        warmstart = data.qacc_warmstart.copy()
        mujoco.mj_forward(model, data)
        # mj_forward solves from the warm start and overwrites it. The next step must start from the stored one.
        data.qacc_warmstart[:] = warmstart
        self._steps, self._digest = state.steps, state.digest
        self._pose, self._segment = state.reference.copy(), state.segment
        self._reader.window[:] = state.wrench

    def close(self) -> None:
        """Free the GL context."""
        self.renderer.close()
