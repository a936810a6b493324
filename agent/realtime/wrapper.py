"""The clock around an ordinary Gymnasium loop: `RealTime(env, latency=300, actions=...)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.episode import Episode, episode
from vlatency.agent.realtime.execution import Execution, Hold
from vlatency.agent.realtime.requests import Infer
from vlatency.agent.realtime.timing import Latency, Mode, Timing
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.sim.actions import ActionSpec
from vlatency.sim.clock import NS_PER_S, ns_to_s
from vlatency.sim.errors import UsageError
from vlatency.sim.readings import Observed

TOLERANCE = 0.01


class RealTime(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that does not wait for its policy.

    The loop around it stays as it is. But the world goes on while the policy thinks, in simulated time: an action that
    answers an observation takes effect when the latency has passed, what `actions.hold` says is done meanwhile, and
    `step` returns what is observed when the policy can look again. It is the clock that the commands of this project
    use, so zero latency is the environment without this wrapper, bit for bit.

    Args:
        env: the environment. Images in its observations are those of the moment when the policy looks.
        latency: from an observation until its action takes effect [ms], or a model of it.
        actions: what the numbers of an action mean and how long a step takes.
        mode: sync: the policy looks again when its action takes effect. async: when it is free. pause: the world waits.
        execution: what becomes of an action, or of a chunk (rows, size) if the policy gives one.

    Raises:
        UsageError: these do not go together.

    Example:
        >>> from vlatency.sim.actions import ActionSpec
        >>> spec = ActionSpec(("absolute", "absolute"), row_ns=20_000_000)
        >>> env = RealTime(gymnasium.make("Reacher-v5"), latency=100, actions=spec)
        >>> observation, info = env.reset(seed=1)
        >>> observation, reward, terminated, truncated, info = env.step([0.1, 0.0])
        >>> info["time_s"]
        0.1
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        latency: float | Latency,
        actions: ActionSpec,
        mode: Mode = "sync",
        execution: Execution = Hold(),
    ) -> None:
        super().__init__(env)
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or space.shape != (actions.size,):
            raise UsageError(f"actions must be a Box of {actions.size} numbers, as `actions` says, not {space}")
        model = FixedLatency(float(latency), 0.0) if isinstance(latency, int | float) else latency
        if not 0 <= model.vl_ms < float("inf"):
            raise UsageError(f"latency must be 0 ms or more, not {model.vl_ms:g}")
        rate = NS_PER_S / actions.row_ns
        self.timing = Timing(mode, rate, model, execution=execution, actions=actions, stages=1)
        self.trace: EpisodeTrace | None = None
        """Of the last episode that ended."""
        self._episode: Episode | None = None
        self._rng = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode. The seed also draws the latencies, of this episode and of those that follow unseeded."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._world = _World(self.env, self.timing.actions, observation, info)
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._episode = episode(self._world, (), self.timing, self._rng)
        next(self._episode)
        return observation, {**info, "time_s": 0.0}

    def step(self, action: ArrayLike) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Answer the last observation with an action (size,) or a chunk (rows, size).

        Returns:
            What is observed when the policy looks next, the sum of the rewards until then, and `info` with `time_s`,
            the simulated time [s].

        Raises:
            ValueError: not such an action.
            gymnasium.error.ResetNeeded: no episode is going on.
        """
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("call reset() first: no episode is going on")
        world, size = self._world, self.timing.actions.size
        rows = np.atleast_2d(np.asarray(action, dtype=np.float64))
        if rows.ndim != 2 or rows.shape[1] != size or not len(rows) or not np.isfinite(rows).all():
            raise ValueError(f"an action is {size} finite numbers, or rows of them, not {action!r}")
        world.rewarded = 0.0
        try:
            request = self._episode.send(rows)
        except StopIteration as end:
            self.trace, self._episode = end.value, None
        else:
            assert isinstance(request, Infer)
        info = {**world.info, "time_s": ns_to_s(world.now_ns)}
        return world.observation, world.rewarded, world.terminated, world.truncated, info


class _World:
    """The wrapped environment as a plant, with its step as the resolution of time."""

    instruction = ""

    def __init__(
        self, env: gymnasium.Env[Any, Any], actions: ActionSpec, observation: Any, info: dict[str, Any]
    ) -> None:
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        self.env, self.observation, self.info = env, observation, info
        self.terminated = self.truncated = False
        self.rewarded = 0.0
        self._space, self._step_ns, self._steps = env.action_space, actions.row_ns, 0
        self.command(np.array(actions.noop) if actions.noop else actions.held(actions.origin))

    @property
    def now_ns(self) -> int:
        return self._steps * self._step_ns

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated

    def advance_to(self, t_ns: int) -> None:
        while self.now_ns < t_ns and not self.done:
            before_s = _clock_s(self.env)
            self.observation, reward, self.terminated, self.truncated, self.info = self.env.step(self._action)
            stated_s, took_s = ns_to_s(self._step_ns), _clock_s(self.env) - before_s
            if took_s > 0 and abs(took_s - stated_s) > TOLERANCE * stated_s:  # not for NaN
                raise UsageError(
                    f"a step takes {stated_s:g} s by `actions.row_ns` and {took_s:g} s by the simulator's clock; "
                    f"give row_ns={round(took_s * NS_PER_S)}"
                )
            self._steps += 1
            self.rewarded += float(reward)

    def command(self, action: ArrayLike) -> None:
        self._action = np.clip(action, self._space.low, self._space.high).astype(self._space.dtype)

    def capture(self, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        return {}

    def sensors(self) -> Any:
        return Observed(self.now_ns, self.observation, np.zeros(0, np.float32))


def _clock_s(env: gymnasium.Env[Any, Any]) -> float:
    """The time of a MuJoCo simulation inside [s]; NaN if there is none."""
    return float(getattr(getattr(env.unwrapped, "data", None), "time", float("nan")))
