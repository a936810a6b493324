"""Any Gymnasium environment runs in simulated time."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Every
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.envs.adapter import GymPlant
from vlatency.sim import gl
from vlatency.sim.actions import ActionSpec
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError

Rule = Callable[[np.ndarray], np.ndarray]


def steer(observation: np.ndarray) -> np.ndarray:
    """A rule for Reacher-v5: turn towards where the target is."""
    return 0.3 * np.tanh(observation[4:6] * 20 - observation[6:8] * 0.1)


def balance(observation: np.ndarray) -> np.ndarray:
    """A rule that keeps InvertedPendulum-v5 upright, if it is asked in time."""
    x, angle, x_rate, angle_rate = observation
    return np.array([0.05 * x + 3.0 * angle + 0.1 * x_rate + 0.4 * angle_rate])


class Ruled:
    """A fake policy: the observation at the exposure is its features."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def encode(self, requests: list[Encode]) -> list[object]:
        observed: list[Any] = [request.readings for request in requests]
        return [each.observation for each in observed]

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        return [np.tile(self.rule(np.asarray(request.features)), (8, 1)) for request in requests]


def play(name: str, rule: Rule, mode: Mode, vl_ms: float = 0.0, cameras: tuple[str, ...] = ()) -> GymPlant:
    plant: Any = GymPlant(gymnasium.make(name, render_mode="rgb_array" if cameras else None), seed=5)
    timing = Timing(
        mode, 1e9 / plant.step_ns, FixedLatency(vl_ms, 0), Every(1), actions=ActionSpec(("absolute",), plant.step_ns)
    )
    run_episodes([episode(plant, cameras, timing, np.random.default_rng(0))], Ruled(rule))
    plant.env.close()
    return plant


@pytest.mark.parametrize(("name", "rule"), [("Reacher-v5", steer), ("InvertedPendulum-v5", balance)])
def test_the_paused_world_is_the_ordinary_loop_bit_for_bit_and_so_is_zero_latency(name: str, rule: Rule) -> None:
    env = gymnasium.make(name)
    observation, _ = env.reset(seed=5)
    total, done, steps = 0.0, False, 0
    while not done:
        action = rule(observation).astype(env.action_space.dtype)
        assert env.action_space.contains(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done, steps = total + float(reward), terminated or truncated, steps + 1
    paused = play(name, rule, "pause")
    assert (paused.total_reward, paused.steps) == (total, steps)
    np.testing.assert_array_equal(paused.sensors().observation, observation)
    for mode in ("sync", "async"):
        assert play(name, rule, mode).trajectory_hash == paused.trajectory_hash


def test_latency_tips_a_pendulum_over_that_stands_without() -> None:
    assert play("InvertedPendulum-v5", balance, "async").steps == 1000
    late = play("InvertedPendulum-v5", balance, "async", vl_ms=300)
    assert late.steps < 100
    assert late.trajectory_hash == play("InvertedPendulum-v5", balance, "async", vl_ms=300).trajectory_hash


def test_time_goes_in_steps_of_the_environment() -> None:
    plant = GymPlant(gymnasium.make("Reacher-v5"), seed=1)
    assert plant.step_ns == ms_to_ns(20)
    plant.advance_to(1)
    assert plant.now_ns == ms_to_ns(20)
    with pytest.raises(ValueError, match="already"):
        plant.advance_to(0)
    assert GymPlant(gymnasium.make("Reacher-v5"), step_s=0.5).step_ns == ms_to_ns(500)


@pytest.mark.parametrize("action", [[0.0], [0.0, float("nan")], [[0.0, 0.0]]])
def test_a_bad_action_is_refused(action: list[Any]) -> None:
    with pytest.raises(ValueError, match="an action of this environment is"):
        GymPlant(gymnasium.make("Reacher-v5")).command(action)


class Made(gymnasium.Env[Any, Any]):
    """An environment as others make them."""

    def __init__(self, mode: str | None = None, low: float = -1.0, dt: Any = None, fps: Any = None) -> None:
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps}
        self.render_mode, self.dt = mode, dt
        self.action_space = gymnasium.spaces.Box(low, 1.0, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-9, 9, (2,))
        self.taken: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken.append(action)
        return np.zeros(2, np.float32), 1.0, len(self.taken) >= 50, False, {}

    def render(self) -> Any:
        return np.zeros((8, 9, 3), np.uint8) if self.render_mode else None


class Skip(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Four steps of the environment a step."""

    def step(self, action: Any) -> Any:
        return [self.env.step(action) for _ in range(4)][-1]


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (Made(fps=80), "render_fps 80 is the rate of a film"),
        (Made(), "give step_s"),
        (Made(fps=0), "give step_s"),
        (Made(dt=0.0), "give step_s"),
        (Made(dt=0.05, fps=80), "0.05 s by dt and 0.0125 s by render_fps 80"),
        (Skip(Made(dt=0.05)), "Skip may make several steps"),
    ],
)
def test_how_long_a_step_takes_is_asked_and_never_guessed(env: Any, says: str) -> None:
    with pytest.raises(UsageError, match="give step_s") as error:
        GymPlant(env)
    assert says in str(error.value)
    assert GymPlant(env, step_s=0.2).step_ns == ms_to_ns(200)


def test_a_step_is_what_the_environment_says_through_wrappers_that_keep_it() -> None:
    from gymnasium.wrappers import ClipAction, RecordEpisodeStatistics, RescaleAction, TimeLimit

    env: Any = RecordEpisodeStatistics(
        TimeLimit(ClipAction(RescaleAction(Made(dt=0.05, fps=20), np.float32(-1.0), np.float32(1.0))), 7)
    )
    assert GymPlant(env).step_ns == ms_to_ns(50)


def test_the_first_action_lies_inside_the_box() -> None:
    env = Made(low=0.2, dt=0.05)
    GymPlant(env).advance_to(1)
    assert env.action_space.contains(env.taken[0])


@pytest.mark.parametrize("mode", [None, "list"])
def test_what_renders_no_image_says_how_it_would(mode: str | None) -> None:
    env: Any = Made(dt=0.05) if mode is None else gymnasium.wrappers.RenderCollection(Made("rgb_array", dt=0.05))
    plant = GymPlant(env)
    plant.advance_to(1)
    with pytest.raises(UsageError, match="render_mode='rgb_array'"):
        plant.capture(("top",))


def test_an_environment_that_cannot_be_a_plant_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="must be a Box, not Discrete"):
        GymPlant(gymnasium.make("CartPole-v1"))
    vector: Any = gymnasium.vector.SyncVectorEnv([lambda: Made(dt=0.05)] * 2)
    with pytest.raises(UsageError, match="one environment, not a SyncVectorEnv"):
        GymPlant(vector)
    with pytest.raises(UsageError, match="step_s must be"):
        GymPlant(Made(), step_s=float("nan"))


@pytest.mark.gl
def test_views_are_what_the_environment_renders() -> None:
    gl.configure()
    plant = GymPlant(gymnasium.make("Pusher-v5", render_mode="rgb_array", width=64, height=48), seed=2)
    before = plant.capture(("any", "name"))
    plant.command(np.ones(7))
    plant.advance_to(ms_to_ns(500))
    after = plant.capture(("any",))["any"]
    assert before["any"].shape == (48, 64, 3)
    assert before["any"].dtype == np.uint8
    np.testing.assert_array_equal(before["any"], before["name"])
    assert (before["any"] != after).any()
    plant.env.close()
