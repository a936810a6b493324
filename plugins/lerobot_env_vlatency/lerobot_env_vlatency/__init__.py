"""vlatency's pick tasks as an environment of LeRobot.

LeRobot imports packages by this prefix, and environments by the name that the configuration below registers:

    lerobot-eval --env.discover_packages_path=lerobot_env_vlatency --env.type=vlatency --policy.path=CHECKPOINT
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vlatency.agent.realtime.wrapper import RealTime
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.sim import gl

CONTROL_HZ = 10
POSE = 5
"""Numbers of a state and of an action: x, y, z [m], yaw [rad], and the gripper, 0 open to 1 closed."""


class LeRobotPick(gymnasium.Wrapper[dict[str, Any], NDArray[Any], dict[str, Any], NDArray[Any]]):
    """A pick task with the observations, attributes and sizes that LeRobot's evaluation expects.

    Args:
        task: name of the pick task.
        cameras: views in an observation.
        size: side of their images [px].
        latency: from an observation until its action takes effect, in simulated time [ms].
        render_mode: for LeRobot's films.
    """

    def __init__(
        self, task: str, cameras: tuple[str, ...], size: int, latency: float = 0.0, render_mode: str = "rgb_array"
    ) -> None:
        gl.configure()  # before MuJoCo is imported
        from vlatency.envs.pick import HOME_POSE, PickEnv

        env = PickEnv(task, cameras, CONTROL_HZ, render_mode)
        home = dataclasses.replace(SETPOINTS, noop=(*HOME_POSE.tolist(), 0.0))
        super().__init__(RealTime(env, latency, home) if latency else env)
        self.task, self._size = task, size
        self._max_episode_steps = round(env.task.time_limit_s * CONTROL_HZ)
        views = {name: spaces.Box(0, 255, (size, size, 3), np.uint8) for name in cameras}
        pose = spaces.Box(-np.inf, np.inf, (POSE,), np.float64)
        self.observation_space = spaces.Dict({"pixels": spaces.Dict(views), "agent_pos": pose})

    @property
    def task_description(self) -> str:
        """The instruction."""
        return str(self.env.unwrapped.task_description)  # type: ignore[attr-defined]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._small(observation), info

    def step(self, action: ArrayLike) -> Any:
        """Follow a set-point for one control period."""
        observation, *rest = self.env.step(np.asarray(action))
        return self._small(observation), *rest

    def _small(self, observation: dict[str, Any]) -> dict[str, Any]:
        views = {
            name: np.asarray(Image.fromarray(view).resize((self._size, self._size), Image.Resampling.BILINEAR))
            for name, view in observation["pixels"].items()
        }
        return {"pixels": views, "agent_pos": observation["agent_pos"]}


# No wrapper around it: LeRobot looks for task_description on the outermost environment.
gymnasium.register(id="lerobot_env_vlatency/Pick-v0", entry_point=LeRobotPick, order_enforce=False)


@EnvConfig.register_subclass("vlatency")
@dataclass
class VlatencyEnv(EnvConfig):
    """The options of `--env.type=vlatency`.

    Attributes:
        task: name of the pick task.
        fps: control ticks a second; only 10.
        cameras: views in an observation.
        size: side of their images [px].
        latency: from an observation until its action takes effect, in simulated time [ms]. The arm holds its set-point
            meanwhile. Each action pays it, so let each be inferred: `--policy.n_action_steps=1`.
    """

    task: str = "static"
    fps: int = CONTROL_HZ
    cameras: tuple[str, ...] = ("top", "wrist")
    size: int = 96
    latency: float = 0.0

    def __post_init__(self) -> None:
        if self.fps != CONTROL_HZ:
            raise ValueError(f"--env.fps must be {CONTROL_HZ}, not {self.fps}")
        shapes = {f"pixels/{name}": (FeatureType.VISUAL, (self.size, self.size, 3)) for name in self.cameras}
        shapes |= {"agent_pos": (FeatureType.STATE, (POSE,)), "action": (FeatureType.ACTION, (POSE,))}
        self.features = {name: PolicyFeature(*feature) for name, feature in shapes.items()}
        self.features_map = {f"pixels/{name}": f"observation.images.{name}" for name in self.cameras}
        self.features_map |= {"agent_pos": "observation.state", "action": "action"}

    @property
    def package_name(self) -> str:
        """What LeRobot imports."""
        return __name__

    @property
    def gym_id(self) -> str:
        """One for all tasks."""
        return f"{__name__}/Pick-v0"

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments of `LeRobotPick`."""
        return {"task": self.task, "cameras": tuple(self.cameras), "size": self.size, "latency": self.latency}
