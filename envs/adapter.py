"""Any Gymnasium environment as a plant in simulated time, with the environment's own step as the resolution of time."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlatency.envs.mapping import CONDITION, Mapping
from vlatency.envs.observations import find_part, join_state, leaves
from vlatency.envs.views import Size, Views, physics_inside
from vlatency.sim.clock import s_to_ns
from vlatency.sim.errors import UsageError
from vlatency.sim.readings import Observed

TOLERANCE = 0.01
"""Two statements of how long a step takes contradict each other from this difference on."""
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Reset = Callable[[Any, int], tuple[Any, dict[str, Any]]]


class GymPlant:
    """A `sim.plant.Plant` around an environment that only has `step`.

    A command is the action of every step until the next command. What is in force when nothing else follows is the
    business of whoever commands (`ActionSpec.hold`). Nothing moves before `reset`.

    Args:
        env: the environment.
        mapping: what its steps, actions, cameras and results mean.
        reset: starts an episode from a seed; None: `env.reset(seed=seed)`.

    Raises:
        UsageError: environment and mapping do not go together, or two statements of how long a step takes contradict
            each other.

    Example:
        >>> from vlatency.envs.mapping import parse_mapping
        >>> table = {"step_s": 0.05, "time_limit_s": 5.0, "kinds": ["absolute x7"], "success": ["reward_dist > -0.1"]}
        >>> plant = GymPlant(gymnasium.make("Pusher-v5"), parse_mapping(table, "Pusher-v5"))
        >>> plant.reset(seed=1)
        >>> plant.command(np.zeros(7))
        >>> plant.advance_to(1)
        >>> plant.now_ns
        50000000
    """

    def __init__(self, env: gymnasium.Env[Any, Any], mapping: Mapping, reset: Reset | None = None) -> None:
        if not isinstance(env, gymnasium.Env):
            raise UsageError(f"a plant is one environment, not a {type(env).__name__}; make a plant of each")
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise UsageError(f"actions must be a Box, not {type(space).__name__}")
        if space.shape != (mapping.actions.size,):
            raise UsageError(
                f"this environment's actions have shape {space.shape}, and its mapping has {mapping.actions.size} kinds"
            )
        _check_rate(env, mapping)
        self.env, self.mapping = env, mapping
        self.cameras = tuple(mapping.cameras)
        self.step_ns = mapping.actions.row_ns
        self._limit_ns = s_to_ns(mapping.time_limit_s)
        self._space = space
        self._reset = reset or (lambda env, seed: env.reset(seed=seed))
        self._views = Views(env, mapping.cameras, mapping.hidden_groups)
        self._scenes: dict[int, str] = {}
        self.done = True
        self.steps = 0

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`: the same scene, whatever happened before.

        Raises:
            UsageError: it is not the same scene as before, or that of another seed; or a camera is not there.
        """
        self._observation: Any
        self.info: dict[str, Any]
        self._observation, self.info = self._reset(self.env, seed)
        self.steps, self.done, self.total_reward = 0, False, 0.0
        self.success_ns: int | None = None
        self._digest = hashlib.sha256()
        self._take_in()
        self._action = self._first_action()
        self.scene = self._scene()
        self._check_scene(seed)
        self.instruction = self._instruct()
        self._views.check(self._observation)

    # The plant.

    @property
    def now_ns(self) -> int:
        """Simulated time since the start of the episode [ns]."""
        return self.steps * self.step_ns

    @property
    def success(self) -> bool:
        """Whether the task is done, as `mapping.success` and `mapping.success_at` say."""
        return self.success_ns is not None

    @property
    def trajectory_hash(self) -> str:
        """SHA-256 over all actions and observations, equal for equal sequences of them."""
        return self._digest.hexdigest()

    def advance_to(self, t_ns: int) -> None:
        """Advance to the first step at or after `t_ns`, or to the end of the episode. ValueError in the past."""
        if t_ns < self.now_ns:
            raise ValueError(f"cannot advance to {t_ns} ns: it is already {self.now_ns} ns")
        while self.now_ns < t_ns and not self.done:
            self._step()

    def _step(self) -> None:
        started_s = self._clock_s() if self.steps == 0 else None
        self._observation, reward, terminated, truncated, self.info = self.env.step(self._action)
        if started_s is not None:
            self._check_clock(self._clock_s() - started_s)
        self.steps += 1
        self.total_reward += float(reward)
        self._digest.update(self._action.tobytes())
        self._take_in()
        if not self._succeeded({**self.info, "terminated": terminated, "reward": reward}):
            self.success_ns = None
        elif self.success_ns is None:
            self.success_ns = self.now_ns
        over = self.success and self.mapping.success_at == "first"
        self.done = bool(over or terminated or truncated or self.now_ns >= self._limit_ns)

    def command(self, action: ArrayLike) -> None:
        """Use `action`, clipped to the limits, from now on. ValueError unless it is finite and has the right shape."""
        values = np.asarray(action, dtype=np.float64)
        if values.shape != self._space.shape or not np.isfinite(values).all():
            raise ValueError(f"an action of this environment is {self._space.shape} finite numbers, not {action!r}")
        self._action = np.clip(values, self._space.low, self._space.high).astype(self._space.dtype)

    def capture(self, cameras: Sequence[str], size: Size | None = None) -> dict[str, NDArray[np.uint8]]:
        """Views of the present state, uint8 (height, width, 3) each, by name. Nothing else is drawn.

        Args:
            cameras: names of `mapping.cameras`.
            size: width and height [px]; None: as the mapping says.

        Raises:
            UsageError: there is no such camera, or it gives no image.
        """
        return self._views.draw(cameras, self._observation, size or self.mapping.size)

    def sensors(self) -> Any:
        """The current observation, in the place of `sim.readings.Readings`."""
        return Observed(self.now_ns, self._observation, join_state(self._observation, self.mapping.state))

    def close(self) -> None:
        """Free the environment and the GL contexts."""
        self._views.close()
        self.env.close()

    # What the mapping says.

    def _succeeded(self, result: dict[str, Any]) -> bool:
        for condition in self.mapping.success:
            match = CONDITION.fullmatch(condition)
            assert match is not None, condition
            if match["key"] in result:
                value = result[match["key"]]
                return _COMPARE[match["sign"]](float(value), float(match["bound"])) if match["sign"] else bool(value)
        wanted, known = " or ".join(self.mapping.success), ", ".join(sorted(result))
        raise UsageError(
            f"nothing says whether the task is done: there is no {wanted}; success can name one of {known}"
        )

    def _first_action(self) -> NDArray[Any]:
        """The action before the first command: no motion, as far as the mapping tells."""
        spec = self.mapping.actions
        values = np.array(spec.noop) if spec.noop else spec.held(spec.origin)
        if not spec.noop and self.mapping.start:
            present = np.asarray(find_part(self._observation, self.mapping.start), np.float64).ravel()
            count = int((~spec.relative).sum())
            if present.size != count:
                raise UsageError(
                    f"start '{self.mapping.start}' has {present.size} numbers, and the action {count} absolute ones"
                )
            values[~spec.relative] = present
        return np.clip(values, self._space.low, self._space.high).astype(self._space.dtype)

    def _instruct(self) -> str:
        inner = self.env.unwrapped
        said = (getattr(inner, name, None) for name in ("task_description", "language_instruction"))
        fallback = self.mapping.name or (self.env.spec.id if self.env.spec else type(inner).__name__)
        return self.mapping.instruction or next((text for text in said if isinstance(text, str) and text), fallback)

    # Time and scenes.

    def _clock_s(self) -> float:
        """The simulator's own time [s]; NaN if it has none."""
        inside = physics_inside(self.env)
        return float(inside[1].time) if inside else float("nan")

    def _check_clock(self, took_s: float) -> None:
        stated_s = self.mapping.step_s
        if took_s > 0 and abs(took_s - stated_s) > TOLERANCE * stated_s:  # not for NaN
            raise UsageError(
                f"a step takes {stated_s:g} s by the mapping's step_s and {took_s:g} s by MuJoCo's clock; "
                "correct step_s, or the wrappers around the environment"
            )

    def _take_in(self) -> None:
        for values in leaves(self._observation):
            self._digest.update(values.tobytes())

    def _scene(self) -> str:
        """SHA-256 over all that an episode begins with, as far as it can be seen."""
        digest = self._digest.copy()
        inside = physics_inside(self.env)
        if inside is not None:
            model, data = inside
            for values in (data.qpos, data.qvel, data.mocap_pos, data.mocap_quat, model.body_pos):
                digest.update(values.tobytes())
        return digest.hexdigest()

    def _check_scene(self, seed: int) -> None:
        before = self._scenes.setdefault(seed, self.scene)
        name = self.mapping.name or "this environment"
        if before != self.scene:
            raise UsageError(
                f"seed {seed} of {name} gave another scene than before, so runs could not be compared; "
                "give a 'reset' that starts from the seed alone"
            )
        same = [each for each, scene in self._scenes.items() if scene == self.scene and each != seed]
        if same:
            raise UsageError(
                f"seeds {same[0]} and {seed} of {name} give the same scene, so more episodes would tell nothing new; "
                "run one episode, or give a 'reset' that draws the scene from the seed"
            )


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


def _rate_hz(env: gymnasium.Env[Any, Any]) -> tuple[str, float] | None:
    """The control rate [Hz] that an environment states in so many words, and under which name."""
    for name in ("control_freq", "control_hz"):
        value = getattr(env.unwrapped, name, None)
        if isinstance(value, int | float) and value > 0:
            return name, float(value)
    return None


def _check_rate(env: gymnasium.Env[Any, Any], mapping: Mapping) -> None:
    rate = _rate_hz(env)
    if rate and abs(1 / rate[1] - mapping.step_s) > TOLERANCE * mapping.step_s:
        raise UsageError(
            f"a step takes {mapping.step_s:g} s by the mapping's step_s and {1 / rate[1]:g} s by the environment's "
            f"{rate[0]} {rate[1]:g}; correct step_s, or the wrappers around the environment"
        )


def declared_step_s(env: gymnasium.Env[Any, Any]) -> float:
    """How long a step takes [s], as the environment itself says; nothing is guessed.

    Raises:
        UsageError: It does not say so, two of its statements differ by more than 1 %, or a wrapper may change it.
    """
    dt, fps, rate = getattr(env.unwrapped, "dt", None), env.metadata.get("render_fps"), _rate_hz(env)
    said = {"dt": float(dt)} if isinstance(dt, int | float) and dt > 0 else {}
    if rate:
        said[f"{rate[0]} {rate[1]:g}"] = 1 / rate[1]
    if not said:
        film = f" (render_fps {fps} is the rate of a film)" if fps else ""
        raise UsageError(f"how long does a step of this environment take? It has no dt{film}; give step_s")
    if isinstance(fps, int | float) and fps > 0:
        said[f"render_fps {fps:g}"] = 1 / fps
    first = next(iter(said))
    for name, value in said.items():
        if abs(value - said[first]) > TOLERANCE * said[first]:
            raise UsageError(f"a step takes {said[first]:g} s by {first} and {value:g} s by {name}; give step_s")
    layer: Any = env
    while layer is not env.unwrapped:
        if not isinstance(layer, _ONE_STEP) and type(layer).step is not gymnasium.Wrapper.step:
            name = type(layer).__name__
            raise UsageError(f"{name} may make several steps of {said[first]:g} s out of one; give step_s")
        layer = layer.env
    return said[first]
