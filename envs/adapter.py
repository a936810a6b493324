"""Any Gymnasium environment as a plant in simulated time; the clock's resolution is then the environment's own step."""

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
    """What takes the place of sensor readings: the environment's own observation."""

    t_ns: int
    observation: Any


class GymPlant:
    """A `sim.plant.Plant` around an environment that only has `step`.

    A command is repeated as the action of every step until the next one; before the first, the action is zero. What an
    action means, and how wide it is, is the environment's affair. The wrapped environment is at `env`.

    Args:
        env: made with render_mode="rgb_array" if cameras are to be asked for; it has one view, whatever its name.
        seed: of the reset that begins the episode.
        instruction: what the policy is told.
        step_s: simulated seconds a step takes; by default the environment's `dt`, or 1 / its render_fps.

    Raises:
        UsageError: the duration of a step is not known, or the actions are not a box.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        seed: int | None = None,
        instruction: str = "",
        step_s: float | None = None,
    ) -> None:
        if not isinstance(env.action_space, gymnasium.spaces.Box):
            raise UsageError(f"actions must be a Box, not {type(env.action_space).__name__}")
        if step_s is None:
            step_s = getattr(env.unwrapped, "dt", None) or 1 / env.metadata.get("render_fps", 0.0001)
        if not 1e-6 <= step_s <= 1000:
            raise UsageError("how long does a step of this environment take? give step_s")
        self.env = env
        self.instruction = instruction
        self.step_ns = s_to_ns(step_s)
        self.total_reward = 0.0
        self.steps = 0
        self.done = False
        self._action: NDArray[Any] = np.zeros(env.action_space.shape, env.action_space.dtype)
        self._digest = hashlib.sha256()
        self._observation, self.info = env.reset(seed=seed)

    @property
    def now_ns(self) -> int:
        """Simulated time since the episode began [ns]."""
        return self.steps * self.step_ns

    @property
    def trajectory_hash(self) -> str:
        """Equal for equal sequences of actions and observations."""
        return self._digest.hexdigest()

    def advance_to(self, t_ns: int) -> None:
        """Step to the first step boundary at or after `t_ns`, or to the end of the episode; ValueError in the past."""
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
        """Repeat `action` from now on, within the limits; ValueError unless finite and of the environment's shape."""
        space = self.env.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        values = np.asarray(action, dtype=np.float64)
        if values.shape != space.shape or not np.isfinite(values).all():
            raise ValueError(f"an action of this environment is {space.shape} finite numbers, not {action!r}")
        self._action = np.clip(values, space.low, space.high).astype(space.dtype)

    def capture(self, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        """What the environment renders now, under every name; nothing is drawn for no camera."""
        return dict.fromkeys(cameras, np.asarray(self.env.render(), dtype=np.uint8)) if cameras else {}

    def sensors(self) -> Any:
        """The observation now, in the place of `sim.readings.Readings`."""
        return Observed(self.now_ns, self._observation)


def _leaves(observation: Any) -> list[NDArray[Any]]:
    """The arrays of an observation, dictionaries and tuples taken apart in order."""
    if isinstance(observation, dict):
        return [leaf for key in sorted(observation) for leaf in _leaves(observation[key])]
    if isinstance(observation, tuple):
        return [leaf for part in observation for leaf in _leaves(part)]
    return [np.asarray(observation)]
