"""Any Gymnasium environment as a plant in simulated time, with the environment's own step as the resolution of time."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlatency.sim.clock import s_to_ns
from vlatency.sim.errors import UsageError


@dataclass(frozen=True, eq=False)
class Observed:
    """Takes the place of sensor readings: the environment's own observation.

    Attributes:
        t_ns: simulated time [ns].
        observation: as `step` returned it.
    """

    t_ns: int
    observation: Any


class GymPlant:
    """A `sim.plant.Plant` around an environment that only has `step`.

    A command is the action of every step until the next command; before the first one, the action is the permitted one
    nearest to zero. The environment decides what an action means and how many numbers it has.

    Args:
        env: The environment. For images it must be made with render_mode="rgb_array"; it has one view, which every
            camera name stands for.
        seed: Seed of the reset that starts the episode.
        instruction: The instruction for the policy.
        step_s: Simulated seconds per step. It can be left out where the environment says so itself: it has a `dt`, no
            frame rate that differs from it, and no wrapper around it that may make several steps of one.

    Raises:
        UsageError: The duration of a step is not known for sure, or the action space is not a Box.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        seed: int | None = None,
        instruction: str = "",
        step_s: float | None = None,
    ) -> None:
        if not isinstance(env, gymnasium.Env):
            raise UsageError(f"a plant is one environment, not a {type(env).__name__}; make a plant of each")
        if not isinstance(env.action_space, gymnasium.spaces.Box):
            raise UsageError(f"actions must be a Box, not {type(env.action_space).__name__}")
        step_s = declared_step_s(env) if step_s is None else step_s
        if not 1e-6 <= step_s <= 1000:  # also refuses NaN
            raise UsageError(f"step_s must be 1e-6 to 1000 s, not {step_s:g}")
        self.env = env
        self.instruction = instruction
        self.step_ns = s_to_ns(step_s)
        self.total_reward = 0.0
        self.steps = 0
        self.done = False
        space = env.action_space
        self._action: NDArray[Any] = np.clip(0.0, space.low, space.high).astype(space.dtype)
        self._digest = hashlib.sha256()
        self._observation, self.info = env.reset(seed=seed)

    @property
    def now_ns(self) -> int:
        """Simulated time since the start of the episode [ns]."""
        return self.steps * self.step_ns

    @property
    def trajectory_hash(self) -> str:
        """SHA-256 over all actions and observations, equal for equal sequences of them."""
        return self._digest.hexdigest()

    def advance_to(self, t_ns: int) -> None:
        """Advance to the first step at or after `t_ns`, or to the end of the episode. ValueError in the past."""
        if t_ns < self.now_ns:
            raise ValueError(f"cannot advance to {t_ns} ns: it is already {self.now_ns} ns")
        while self.now_ns < t_ns and not self.done:
            self._observation, reward, terminated, truncated, self.info = self.env.step(self._action)
            self.total_reward += float(reward)
            self.steps += 1
            self.done = terminated or truncated
            self._digest.update(self._action.tobytes())
            for values in _leaves(self._observation):
                self._digest.update(values.tobytes())

    def command(self, action: ArrayLike) -> None:
        """Use `action`, clipped to the limits, from now on. ValueError unless it is finite and has the right shape."""
        space = self.env.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        values = np.asarray(action, dtype=np.float64)
        if values.shape != space.shape or not np.isfinite(values).all():
            raise ValueError(f"an action of this environment is {space.shape} finite numbers, not {action!r}")
        self._action = np.clip(values, space.low, space.high).astype(space.dtype)

    def capture(self, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        """The environment's current image (H, W, 3) under every name. Nothing is drawn if there are no names.

        Raises:
            UsageError: The environment renders no such image.
        """
        if not cameras:
            return {}
        image: Any = self.env.render()
        if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
            found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UsageError(
                f"an image must be uint8 (height, width, 3), and this environment renders {found}; "
                "make it with render_mode='rgb_array'"
            )
        return dict.fromkeys(cameras, image)

    def sensors(self) -> Any:
        """The current observation, in the place of `sim.readings.Readings`."""
        return Observed(self.now_ns, self._observation)


_ONE_STEP = (
    gymnasium.wrappers.TimeLimit,
    gymnasium.wrappers.OrderEnforcing,
    gymnasium.wrappers.PassiveEnvChecker,
    gymnasium.wrappers.RecordEpisodeStatistics,
    gymnasium.wrappers.RescaleAction,
    gymnasium.wrappers.ClipAction,
    gymnasium.wrappers.RenderCollection,
)
"""Wrappers that are known to make one step of one."""


def declared_step_s(env: gymnasium.Env[Any, Any]) -> float:
    """How long a step takes [s], as the environment itself says; nothing is guessed.

    Raises:
        UsageError: It does not say so, two of its statements differ by more than 1 %, or a wrapper may change it.
    """
    dt, fps = getattr(env.unwrapped, "dt", None), env.metadata.get("render_fps")
    film = f" (render_fps {fps} is the rate of a film)" if fps else ""
    if not isinstance(dt, int | float) or not dt > 0:
        raise UsageError(f"how long does a step of this environment take? It has no dt{film}; give step_s")
    if isinstance(fps, int | float) and fps > 0 and abs(1 / fps - dt) > 0.01 * dt:
        raise UsageError(f"a step takes {dt:g} s by dt and {1 / fps:g} s by render_fps {fps:g}; give step_s")
    layer: Any = env
    while layer is not env.unwrapped:
        if not isinstance(layer, _ONE_STEP) and type(layer).step is not gymnasium.Wrapper.step:
            name = type(layer).__name__
            raise UsageError(f"{name} may make several steps of {dt:g} s out of one; give step_s")
        layer = layer.env
    return float(dt)


def _leaves(observation: Any) -> list[NDArray[Any]]:
    """The arrays of an observation, in order, out of nested dictionaries and tuples."""
    if isinstance(observation, dict):
        return [leaf for key in sorted(observation) for leaf in _leaves(observation[key])]
    if isinstance(observation, tuple):
        return [leaf for part in observation for leaf in _leaves(part)]
    return [np.asarray(observation)]
