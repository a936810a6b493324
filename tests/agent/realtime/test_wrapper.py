"""The clock around an ordinary Gymnasium loop."""

import importlib.util
from typing import Any

import gymnasium
import numpy as np
import pytest

from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.execution import Switch
from vlatency.agent.realtime.requests import Infer
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.agent.realtime.wrapper import RealTime
from vlatency.envs.adapter import GymPlant
from vlatency.envs.mapping import parse_mapping
from vlatency.experiments.shared.files import ROOT
from vlatency.sim.actions import ActionSpec
from vlatency.sim.errors import UsageError

STEP_NS = 20_000_000
TWO = ActionSpec(("absolute", "absolute"), STEP_NS)
DELTAS = ActionSpec(("delta", "delta"), STEP_NS, hold="zero")


class Recorder(gymnasium.Env[Any, Any]):
    """Its observation is the number of steps so far; it ends after 50."""

    def __init__(self) -> None:
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(0, 100, (1,))
        self.taken: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.taken = []
        return np.array([0.0]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken.append(round(float(action[0]), 2))
        count = len(self.taken)
        return np.array([float(count)]), 1.0, count == 50, False, {"count": count}


def steer(observation: np.ndarray) -> np.ndarray:
    return 0.3 * np.tanh(observation[4:6] * 20 - observation[6:8] * 0.1)


def test_zero_latency_is_the_environment_itself_bit_for_bit() -> None:
    plain, timed = gymnasium.make("Reacher-v5"), RealTime(gymnasium.make("Reacher-v5"), 0, TWO)
    (one, _), (other, info) = plain.reset(seed=3), timed.reset(seed=3)
    assert info["time_s"] == 0
    for count in range(1, 51):
        left, right = plain.step(steer(one).astype(np.float32)), timed.step(steer(other))
        one, other = left[0], right[0]
        np.testing.assert_array_equal(one, other)
        assert left[1:4] == right[1:4]
        assert right[4]["time_s"] == pytest.approx(0.02 * count)
    assert right[3]


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        (TWO, [0, 0, 0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2]),
        (DELTAS, [0, 0, 0, 0, 0, 0.1, 0, 0, 0, 0, 0.2, 0, 0, 0, 0]),
    ],
)
def test_an_action_takes_effect_after_its_latency_and_is_held_as_its_meaning_says(
    spec: ActionSpec, taken: list[float]
) -> None:
    inner = Recorder()
    env = RealTime(inner, 100, spec)
    assert env.reset(seed=0)[0] == [0]
    for action in (0.1, 0.2, 0.3):
        observation, reward, terminated, truncated, info = env.step([action, 0.0])
        assert (reward, terminated, truncated) == (5.0, False, False)
    assert (observation, info["time_s"], info["count"]) == ([15], 0.3, 15)
    assert inner.taken == taken


def test_between_two_steps_an_action_waits_for_the_next_one() -> None:
    inner = Recorder()
    env = RealTime(inner, 50, TWO)
    env.reset(seed=0)
    assert env.step([0.1, 0.0])[0] == [3]
    env.step([0.2, 0.0])
    assert inner.taken == [0, 0, 0, 0.1, 0.1, 0.1]


def test_a_chunk_is_carried_out_row_by_row() -> None:
    inner = Recorder()
    env = RealTime(inner, 40, DELTAS, execution=Switch())
    env.reset(seed=0)
    env.step([[0.1, 0.0], [0.2, 0.0]])
    env.step([[0.3, 0.0]])
    assert inner.taken == [0, 0, 0.1, 0.2]


def test_an_episode_ends_while_the_policy_thinks() -> None:
    env = RealTime(Recorder(), 700, TWO)
    env.reset(seed=0)
    assert env.step([0.1, 0.0])[2] is False
    observation, reward, terminated, _, _ = env.step([0.2, 0.0])
    assert (observation, reward, terminated) == ([50], 15.0, True)
    assert env.trace is not None
    assert len(env.trace.commands) == 1
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step([0.1, 0.0])


class Steering:
    def infer(self, requests: list[Infer]) -> list[np.ndarray]:
        return [np.atleast_2d(steer(request.readings.observation)) for request in requests]


@pytest.mark.parametrize("mode", ["pause", "sync", "async"])
@pytest.mark.parametrize("ms", [0.0, 30.0, 170.0])
def test_it_is_the_clock_of_the_commands(mode: Mode, ms: float) -> None:
    table = {"step_s": 0.02, "time_limit_s": 1.0, "kinds": ["absolute x2"], "success": ["reward > 1"]}
    plant: Any = GymPlant(gymnasium.make("Reacher-v5"), parse_mapping(table, "Reacher-v5"))
    plant.reset(4)
    timing = Timing(mode, 50.0, FixedLatency(ms, 0), actions=TWO, stages=1)
    (trace,) = run_episodes([episode(plant, (), timing, np.random.default_rng(0))], Steering())
    env = RealTime(gymnasium.make("Reacher-v5"), ms, TWO, mode)
    observation, _ = env.reset(seed=4)
    done, total = False, 0.0
    while not done:
        observation, reward, terminated, truncated, _ = env.step(steer(observation))
        done, total = terminated or truncated, total + reward
    np.testing.assert_array_equal(observation, plant.sensors().observation)
    assert total == pytest.approx(plant.total_reward)
    assert env.trace is not None
    assert env.trace.commands == trace.commands


def reacher() -> RealTime:
    return RealTime(gymnasium.make("Reacher-v5"), FixedLatency(130, 0), TWO, "async")


def test_in_a_vector_environment_each_is_what_it_is_alone() -> None:
    alone = [reacher() for _ in range(3)]
    together = gymnasium.vector.SyncVectorEnv([reacher] * 3)
    seen = np.stack([env.reset(seed=seed)[0] for seed, env in enumerate(alone)])
    observations, _ = together.reset(seed=[0, 1, 2])
    for _ in range(6):
        np.testing.assert_array_equal(observations, seen)
        results = [env.step(steer(each)) for env, each in zip(alone, seen, strict=True)]
        seen = np.stack([result[0] for result in results])
        observations, rewards, _, _, info = together.step(np.stack([steer(each) for each in observations]))
        np.testing.assert_array_equal(rewards, [result[1] for result in results])
        np.testing.assert_array_equal(info["time_s"], [result[4]["time_s"] for result in results])


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UsageError, match="Box of 2 numbers"):
        RealTime(gymnasium.make("CartPole-v1"), 0, TWO)
    with pytest.raises(UsageError, match="Box of 2 numbers"):
        RealTime(gymnasium.make("Pusher-v5"), 0, TWO)
    for latency in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="0 ms or more"):
            RealTime(Recorder(), latency, TWO)
    env = RealTime(gymnasium.make("Reacher-v5"), 0, ActionSpec(("absolute",) * 2, 2_000_000))
    env.reset(seed=0)
    with pytest.raises(UsageError, match="row_ns=20000000"):
        env.step([0.0, 0.0])


@pytest.mark.parametrize("action", [[0.0], [0.0, float("nan")], [[[0.0, 0.0]]], np.zeros((0, 2))])
def test_a_bad_action_is_refused(action: Any) -> None:
    env = RealTime(Recorder(), 0, TWO)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step([0.0, 0.0])
    env.reset(seed=0)
    with pytest.raises(ValueError, match="2 finite numbers"):
        env.step(action)


def example(path: str) -> str:
    text = (ROOT / path).read_text()
    (code,) = [
        block for block in (each.split("```")[0] for each in text.split("```python\n")[1:]) if "RealTime" in block
    ]
    return code


def test_the_guide_is_short_and_its_example_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    assert (ROOT / "docs/your-environment.md").read_text().count("\n") <= 40
    exec(example("docs/your-environment.md"), {})
    assert "0.1 s" in capsys.readouterr().out


@pytest.mark.suites
@pytest.mark.skipif(not importlib.util.find_spec("gymnasium_robotics"), reason="make suites installs the environments")
def test_the_example_of_the_readme_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    code = example("README.md")
    assert sum(bool(line) for line in code.splitlines()) <= 11
    exec(code, {})
    assert "6 actions in 2.0 s" in capsys.readouterr().out
