"""The pick environment: a Gymnasium environment that is also a plant in simulated time."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from vlatency.envs.events import Push, push_wrench
from vlatency.envs.script import Script, draw_script
from vlatency.envs.tasks import Task, check_speed, find_task, instruct
from vlatency.sim.arm import PADS
from vlatency.sim.cameras import check_cameras
from vlatency.sim.clock import NS_PER_S, PHYSICS_STEP_NS
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, HEIGHT, WIDTH
from vlatency.sim.plant import WORKSPACE_HIGH, WORKSPACE_LOW, ArmPlant, ArmState
from vlatency.sim.readings import WRENCH_SAMPLES, Readings
from vlatency.sim.world import Thing

HOME_POSE = np.array([0.40, 0.0, 0.28, 0.0])
"""Where the end effector starts, x, y, z [m], yaw [rad]: above the back of the table, out of sight of most cameras."""
LIFTED_M = 0.08
"""The centre of the target must be this far above its resting height [m]."""
STILL_M_S = 0.05
"""Gripper and target are at rest when slower than this [m/s]."""
HOLD_NS = 500_000_000
"""Grasped, lifted and at rest for this long without interruption is success [ns]."""

Observation = dict[str, Any]


@dataclass(frozen=True)
class PickState:
    """All that the future of an episode depends on. Equal states have equal futures, bit for bit."""

    arm: ArmState
    task: str
    script: Script
    target: int
    event_ns: int | None
    held_ns: int
    success_ns: int | None


class PickEnv(gymnasium.Env[Observation, NDArray[np.float64]]):
    """Pick one of several objects off a table with a UR5e and a parallel gripper.

    **Task**: "Pick up the {colour} {shape}".

    **Randomizations**

    - number, colour, shape, size, position and yaw of the objects
    - what the task's row in `envs/tasks.py` says, such as the speed of a belt

    **Success conditions**, all of them for 0.5 s without interruption

    - the target touches the pads of both fingers (`is_grasped`)
    - its centre is at least 8 cm above its resting height (`is_lifted`)
    - gripper and target are slower than 5 cm/s (`is_static`)

    | space | content |
    |---|---|
    | action (5,) | absolute set-point: x, y, z [m], yaw [rad], gripper (0 open to 1 closed), one control period ahead |
    | pixels/{camera} | uint8 (360, 640, 3) |
    | agent_pos (5,) | end effector x, y, z [m], yaw [rad], gripper |
    | sensors/... | joint_pos, joint_vel (6,), gripper_pos, gripper_vel (1,), ee_pose (4,), wrench (50, 6) at 500 Hz |

    Example:
        One set-point after the other, as in any Gymnasium environment:

            env = gymnasium.make("vlatency.envs:vlatency/Pick-v0", task="conveyor", speed=0.05)
            observation, info = env.reset(seed=0)
            observation, reward, terminated, truncated, info = env.step([0.5, 0.0, 0.2, 0.0, 0.0])

        For time that goes on while a policy thinks, see `sim.plant.Plant`.

    Args:
        task: A row of `envs.tasks.TASKS`.
        cameras: The views in `pixels`. No others are rendered.
        control_hz: Set-points per simulated second; a divisor of 500 Hz.
        render_mode: "rgb_array" (the front view), "human" (a window, which needs a screen) or None.
        speed: Speed of the belt, or of the turntable's rim [m/s]. None draws one for each episode.

    Raises:
        UsageError: An unknown task, camera or render mode, a control rate that is not a whole number of physics steps,
            or a speed for a task in which nothing moves.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012  # Gymnasium's

    def __init__(
        self,
        task: str = "static",
        cameras: Sequence[str] = CAMERA_ORDER,
        control_hz: float = 10,
        render_mode: str | None = None,
        speed: float | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UsageError(f"unknown render mode '{render_mode}'; render modes are rgb_array, human")
        if render_mode == "human" and not _has_screen():
            raise UsageError("render mode 'human' needs a screen (DISPLAY is not set); 'rgb_array' works without one")
        steps = NS_PER_S / control_hz / PHYSICS_STEP_NS if control_hz > 0 else 0.5
        if abs(steps - round(steps)) > 1e-9 or steps < 1:
            raise UsageError(f"control_hz={control_hz} is not a divisor of 500 Hz; 10, 20, 25 and 50 are")
        self.task: Task = find_task(task)
        self._own_task = task
        check_speed(self.task, speed)
        self.speed = speed
        self.cameras = check_cameras(cameras)
        self.control_hz = control_hz
        modes = [mode for mode in self.metadata["render_modes"] if mode != "human" or _has_screen()]
        self.metadata = {**self.metadata, "render_modes": modes, "render_fps": control_hz}
        self.render_mode = render_mode
        self._period_ns = round(steps) * PHYSICS_STEP_NS
        self._viewer: Any = None
        self._open()

        def box(*shape: int) -> spaces.Box:
            return spaces.Box(-np.inf, np.inf, shape, np.float64)

        self.action_space = spaces.Box(
            np.append(WORKSPACE_LOW, [-np.pi / 2, 0]), np.append(WORKSPACE_HIGH, [np.pi / 2, 1]), dtype=np.float64
        )
        self.observation_space = spaces.Dict(
            {
                "pixels": spaces.Dict(
                    {name: spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for name in self.cameras}
                ),
                "agent_pos": box(5),
                "sensors": spaces.Dict(
                    {
                        "joint_pos": box(6),
                        "joint_vel": box(6),
                        "gripper_pos": box(1),
                        "gripper_vel": box(1),
                        "ee_pose": box(4),
                        "wrench": box(WRENCH_SAMPLES, 6),
                    }
                ),
            }
        )

    def _open(self) -> None:
        """Build the world of the task."""
        self._arm = ArmPlant(self.control_hz, self.task.arena)
        model = self._arm.world.model
        self._pads = {side: {model.geom(name).id for name in names} for side, names in PADS.items()}
        self._hand = model.body("gripper/base").id
        self._script = Script(())
        self._target = self._held_ns = 0
        self._success_ns: int | None = None
        self._event_ns: int | None = None

    def _switch_task(self, name: str) -> None:
        if name == self.task.name:
            return
        task = find_task(name)
        check_speed(task, self.speed)
        self.task, arena = task, self.task.arena
        if task.arena != arena:
            self.close()
            self._open()

    # The interface of Gymnasium.

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seed of everything that is drawn.
            options: `state`, a `PickState` to return to, or `task`, another row of the task table for this episode.

        Raises:
            UsageError: An unknown option or task, or both options.
        """
        super().reset(seed=seed)
        self.begin(self.np_random, options or {})
        return self._observe(), self._info()

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Follow a set-point for one control period. The reward is 1 on success and 0 otherwise.

        Raises:
            ValueError: The action is not five finite numbers.
            gymnasium.error.ResetNeeded: No episode has begun.
        """
        self.command(action)
        self.advance_to(self.now_ns + self._period_ns)
        if self.render_mode == "human":
            self.render()
        return self._observe(), float(self.success), self.success, self.done and not self.success, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Return the front view (360, 640, 3), or refresh the window and return None."""
        if self.render_mode == "human":
            if self._viewer is None:
                import mujoco.viewer

                self._viewer = mujoco.viewer.launch_passive(self._arm.world.model, self._arm.world.data)
            self._viewer.sync()
            return None
        return self.capture(("front",))["front"] if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the GL context, and close the window."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None
        self._arm.close()

    # The interface of a plant in simulated time, `sim.plant.Plant`, and what experiments ask about an episode.

    def begin(self, rng: np.random.Generator, options: Mapping[str, Any]) -> None:
        """Do what `reset` does, without rendering an observation."""
        if unknown := set(options) - {"state", "task"}:
            raise UsageError(f"unknown reset option {sorted(unknown)[0]!r}; options are 'state', 'task'")
        if {"state", "task"} <= set(options):
            raise UsageError("give the reset option 'state' or 'task', not both: a state says of which task it is")
        if "state" in options:
            self.set_state(options["state"])
            return
        self._switch_task(options.get("task", self._own_task))
        self.lay_out(draw_script(self.task, rng, self.speed))

    def lay_out(self, script: Script, target: int = 0, pose: NDArray[np.float64] = HOME_POSE) -> None:
        """Start the episode `script`, with the end effector at `pose` (4,) and object number `target` as the target."""
        self._arm.begin(script.things, pose, script.scenery)
        self._script, self._target, self._held_ns = script, target, 0
        self._success_ns = self._event_ns = None

    @property
    def now_ns(self) -> int:
        """Simulated time since the start of the episode [ns]."""
        return self._arm.now_ns

    @property
    def success(self) -> bool:
        """Whether the success conditions have been met for long enough, at any time so far."""
        return self._success_ns is not None

    @property
    def success_ns(self) -> int | None:
        """When that was, in simulated time [ns]; None without success."""
        return self._success_ns

    @property
    def done(self) -> bool:
        """Whether the episode is over, by success or by its time limit."""
        return self.success or self.now_ns >= self.task.time_limit_s * NS_PER_S

    @property
    def target(self) -> Thing:
        """The object to be picked."""
        return self.things[self._target]

    @property
    def target_index(self) -> int:
        """Number of the target in `things`."""
        return self._target

    @property
    def things(self) -> tuple[Thing, ...]:
        """All objects, at their initial positions. `ResetNeeded` before the first episode."""
        self._check_begun()
        return self._arm.world.things

    def _check_begun(self) -> None:
        if not self._arm.world.things:
            raise ResetNeeded("no episode has begun in this environment: call reset() first")

    @property
    def script(self) -> Script:
        """The episode as it was drawn."""
        return self._script

    @property
    def event_ns(self) -> int | None:
        """When the push or the new instruction came, in simulated time [ns]; None before that."""
        return self._event_ns

    @property
    def instruction(self) -> str:
        """The current instruction."""
        return instruct(self.target)

    @property
    def task_description(self) -> str:
        """The instruction, under the name that LeRobot expects."""
        return self.instruction

    @property
    def trajectory_hash(self) -> str:
        """SHA-256 of the trajectory so far: equal for equal trajectories."""
        return self._arm.trajectory_hash

    @property
    def arm(self) -> ArmPlant:
        """The simulated arm with its true state: for experts and tests, not for policies."""
        return self._arm

    def advance_to(self, t_ns: int) -> None:
        """Advance the physics to its first step at or after `t_ns`.

        Raises:
            ValueError: `t_ns` is in the past.
            gymnasium.error.ResetNeeded: No episode has begun.
        """
        self._check_begun()
        if t_ns < self.now_ns:
            raise ValueError(f"cannot advance to {t_ns} ns: it is already {self.now_ns} ns")
        while self.now_ns < t_ns:
            if self._script.event is not None:
                self._run_event()
            self._arm.step()
            self._held_ns = self._held_ns + PHYSICS_STEP_NS if all(self.subgoals().values()) else 0
            if self._held_ns >= HOLD_NS and self._success_ns is None:
                self._success_ns = self.now_ns

    def _run_event(self) -> None:
        """Start the event of the script when the end effector is close enough, and continue it."""
        event = self._script.event
        assert event is not None
        if self._event_ns is None:
            if self._arm.distance_to(self._target) > event.within_m:
                return
            self._event_ns = self.now_ns
            if not isinstance(event, Push):
                self._target, self._held_ns = event.to, 0
        if isinstance(event, Push):
            since_ns = self.now_ns - self._event_ns
            self._arm.push(self._target, push_wrench(self._arm.world, self._target, event, since_ns))

    def command(self, action: ArrayLike) -> None:
        """Follow a new set-point from now on. ValueError unless it is five finite numbers."""
        self._check_begun()
        self._arm.command(action)

    def capture(self, cameras: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
        """Current images of the cameras, uint8 (360, 640, 3) each. Each is drawn when it is first read."""
        self._check_begun()
        return self._arm.capture(cameras)

    def sensors(self) -> Readings:
        """Current sensor readings."""
        self._check_begun()
        return self._arm.sensors()

    # Success and state.

    def subgoals(self) -> dict[str, bool]:
        """`is_grasped`, `is_lifted` and `is_static`. All three, for long enough, are success."""
        lifted = self.lifted(self._target)
        # Contacts are searched only while the object is in the air, because this runs at every physics step.
        return {
            "is_grasped": lifted and self._grasped(),
            "is_lifted": lifted,
            "is_static": self._still(),
        }

    def lifted(self, thing: int) -> bool:
        """Whether the centre of object number `thing` is `LIFTED_M` above its resting height."""
        body = self._arm.world.bodies[thing]
        return bool(self._arm.world.data.xpos[body, 2] > self.things[thing].half_height + LIFTED_M)

    def in_reach(self, thing: int) -> bool:
        """Whether the centre of object number `thing` is in the workspace, seen from above, and above the floor.

        True state: for measurements, not for policies.
        """
        place = self._arm.world.data.xpos[self._arm.world.bodies[thing]]
        inside = np.all((place[:2] >= WORKSPACE_LOW[:2]) & (place[:2] <= WORKSPACE_HIGH[:2]))
        return bool(inside and place[2] > 0)

    def _grasped(self) -> bool:
        """Whether the target touches the pads of both fingers."""
        data, geom = self._arm.world.data, self._arm.world.geoms[self._target]
        pairs = data.contact.geom[: data.ncon]
        others = set(pairs[pairs[:, 0] == geom, 1]) | set(pairs[pairs[:, 1] == geom, 0])
        return all(others & pads for pads in self._pads.values())

    def _still(self) -> bool:
        arm = self._arm
        velocity = np.empty(6)
        mujoco.mj_objectVelocity(arm.world.model, arm.world.data, mujoco.mjtObj.mjOBJ_BODY, self._hand, velocity, 0)
        return bool(
            np.linalg.norm(velocity[3:]) < STILL_M_S
            and np.linalg.norm(arm.world.velocities()[self._target]) < STILL_M_S
        )

    def get_state(self) -> PickState:
        """All that the future of the episode depends on. `set_state` restores it bit for bit."""
        self._check_begun()
        return PickState(
            self._arm.get_state(), self.task.name, self._script, self._target,
            self._event_ns, self._held_ns, self._success_ns,
        )  # fmt: skip

    def set_state(self, state: PickState) -> None:
        """Return to `state`."""
        self._switch_task(state.task)
        self._arm.set_state(state.arm)
        self._script, self._event_ns = state.script, state.event_ns
        self._target, self._held_ns, self._success_ns = state.target, state.held_ns, state.success_ns

    def _observe(self) -> Observation:
        readings = self.sensors()
        return {
            "pixels": dict(self.capture(self.cameras)),
            "agent_pos": np.append(readings.ee_pose, readings.gripper_pos),
            "sensors": {
                "joint_pos": readings.joint_pos,
                "joint_vel": readings.joint_vel,
                "gripper_pos": np.array([readings.gripper_pos]),
                "gripper_vel": np.array([readings.gripper_vel]),
                "ee_pose": readings.ee_pose,
                "wrench": readings.wrench,
            },
        }

    def _info(self) -> dict[str, Any]:
        return {"is_success": self.success, "instruction": self.instruction, **self.subgoals()}


def _has_screen() -> bool:
    """Whether a window can be opened; elsewhere than on Linux one always can."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
