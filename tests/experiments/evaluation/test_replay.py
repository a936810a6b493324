"""Episodes of a run, once more."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.builders.short_episodes import Rule, job, open_world
from vlatency.agent.realtime.cost.latency import FixedLatency, NoLatency
from vlatency.agent.realtime.timing import Mode
from vlatency.envs.pick import PickEnv
from vlatency.experiments.evaluation import episodes
from vlatency.experiments.evaluation.configuration import parse_options
from vlatency.experiments.evaluation.episodes import Job, RunError, run_episode
from vlatency.experiments.evaluation.replay import Replay, record_episode
from vlatency.experiments.recording.lerobot_dataset import CLOCK, RecordedEpisode, pixels

pytestmark = pytest.mark.gl


@pytest.fixture(scope="module")
def world() -> Iterator[PickEnv]:
    env = open_world()
    yield env
    env.close()


@pytest.fixture(autouse=True)
def rule(world: PickEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "worlds_and_policy", lambda setting, policy: ([world], Rule()))


def again(done: Job, size: tuple[int, int] = (64, 36)) -> RecordedEpisode:
    return record_episode(Replay(done, run_episode(done)["trajectory_hash"], ("top",), size))


def column(recorded: RecordedEpisode, name: str) -> np.ndarray:
    return recorded.clock[:, CLOCK.index(name)]


@pytest.mark.parametrize("mode", ["pause", "async"])
def test_an_episode_repeats_while_it_is_recorded_and_each_frame_is_a_control_tick(mode: Mode) -> None:
    recorded = again(job(mode))
    assert np.diff(column(recorded, "sim_time")) == pytest.approx(0.1)
    assert recorded.state.shape == recorded.action.shape == (len(recorded.tasks), 5)
    assert pixels(recorded.images["top"][0]).shape == (36, 64, 3)


def test_an_episode_that_does_not_repeat_is_refused() -> None:
    with pytest.raises(RunError, match="seed 10003"):
        record_episode(Replay(job(), "another", ("top",), (64, 36)))


def test_without_latency_each_action_is_based_on_the_image_of_its_frame() -> None:
    recorded = again(job("async", latency=NoLatency()))
    assert np.array_equal(column(recorded, "sim_time"), column(recorded, "capture_time"))
    assert not column(recorded, "latency").any() and not column(recorded, "feature_age").any()
    assert len(recorded.tasks) == 8


def test_at_400_ms_sync_begins_with_its_first_action_and_each_is_that_old() -> None:
    recorded = again(job("sync", latency=FixedLatency(400.0, 0.0)))
    assert column(recorded, "sim_time")[0] == pytest.approx(0.4)
    assert column(recorded, "latency") == pytest.approx(0.4)
    assert column(recorded, "capture_time") == pytest.approx([0.0] * 4)


def in_the_middle(observation: object) -> list[float]:
    """A script."""
    return [0.5, 0.0, 0.25, 0.0, 0.0]


def test_an_episode_of_a_script_is_recorded_through_cameras_that_the_script_does_not_have(
    world: PickEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episodes, "idle_worlds", lambda setting: [world])
    options = {"policy": f"script:{__name__}:in_the_middle", "latency": "fixed:200", "mode": "async"}
    ((setting,), policy) = parse_options(options).settings(10_000, 1)
    done = Job(setting, policy, 10_000)
    recorded = record_episode(Replay(done, run_episode(done)["trajectory_hash"], ("front",), (64, 36)))
    assert set(recorded.images) == {"front"}
    assert column(recorded, "latency").min() == pytest.approx(0.2)
    assert recorded.action == pytest.approx(np.tile([0.5, 0.0, 0.25, 0.0, 0.0], (len(recorded.tasks), 1)))


def test_images_have_the_size_that_is_asked_for() -> None:
    recorded = again(replace(job()), (640, 360))
    assert pixels(recorded.images["top"][0]).shape == (360, 640, 3)
