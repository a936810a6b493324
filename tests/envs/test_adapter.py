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
    timing = Timing(mode, 1e9 / plant.step_ns, FixedLatency(vl_ms, 0), Every(1))
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


def test_what_cannot_be_a_plant_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match="must be a Box, not Discrete"):
        GymPlant(gymnasium.make("CartPole-v1"))
    env = gymnasium.make("MountainCarContinuous-v0")
    env.unwrapped.metadata = {}
    with pytest.raises(UsageError, match="give step_s"):
        GymPlant(env)


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
