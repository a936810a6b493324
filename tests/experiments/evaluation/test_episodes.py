"""One episode in the real world, with a policy that follows a fixed rule."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.short_episodes import Rule, job, open_world
from vlatency.agent.realtime.cost.latency import FixedLatency, NoLatency
from vlatency.agent.realtime.timing import MODES
from vlatency.envs.pick import PickEnv
from vlatency.experiments.evaluation import episodes
from vlatency.experiments.evaluation.episodes import run_episode, run_together
from vlatency.experiments.evaluation.feature_ages import HISTOGRAM, USED_HISTOGRAM
from vlatency.experiments.evaluation.worlds import lay_out

pytestmark = pytest.mark.gl


@pytest.fixture(scope="module")
def world() -> Iterator[PickEnv]:
    env = open_world()
    yield env
    env.close()


@pytest.fixture
def worlds(world: PickEnv, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[PickEnv]]:
    """The worlds of the process that stand idle."""
    idle = [world]
    monkeypatch.setattr(episodes, "open_world", open_world)
    yield idle
    for env in idle:
        if env is not world:
            env.close()


@pytest.fixture
def rule(worlds: list[PickEnv], monkeypatch: pytest.MonkeyPatch) -> Rule:
    rule = Rule()
    monkeypatch.setattr(episodes, "worlds_and_policy", lambda setting, policy: (worlds, rule))
    return rule


def scientific(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "wall" not in key}


def test_an_episode_repeats_and_its_row_is_json(rule: Rule) -> None:
    first, second = run_episode(job()), run_episode(job())
    assert scientific(first) == scientific(second)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert (first["seed"], first["mode"], first["success"], first["ticks"]) == (10_003, "async", False, 8)
    assert first["sim_time_s"] == pytest.approx(0.8)
    assert first["missed"] == 2 and first["feature_age_ms_p50"] >= 130


def test_at_400_ms_sync_uses_features_that_are_400_ms_old_at_ticks_that_see_older_ones(rule: Rule) -> None:
    row = run_episode(job("sync", latency=FixedLatency(400.0, 11.0)))
    assert (row["used_feature_age_ms_p50"], row["used_feature_age_ms_p95"]) == (400.0, 400.0)
    assert row["feature_age_ms_p50"] > 400
    assert sum(row[USED_HISTOGRAM]) == 1 and sum(row[HISTOGRAM]) == 4


def test_a_row_says_whether_the_target_has_left_the_workspace(rule: Rule, world: PickEnv) -> None:
    row = run_episode(job())
    assert not row["target_gone"] and row["looks_in_reach"] == row["encodes"]
    target = world.target
    world.lay_out(replace(world.script, things=(replace(target, y=0.5), *world.things[1:])))
    assert not world.in_reach(0) and world.in_reach(1)


def test_episodes_that_advance_together_are_those_that_advance_alone(rule: Rule, worlds: list[PickEnv]) -> None:
    jobs = [replace(job(mode), seed=seed) for mode in MODES[::2] for seed in (10_003, 10_004)]
    alone = [scientific(run_episode(each)) for each in jobs]
    assert len({row["trajectory_hash"] for row in alone}) == 4 and len(worlds) == 1
    for _ in range(2):  # in worlds that are opened, and in those that other episodes have left
        assert [scientific(row) for row in run_together(jobs[:3])] == alone[:3]
        assert len(worlds) == 3


def test_a_scene_that_is_laid_out_is_that_of_a_reset_and_nothing_is_drawn(
    world: PickEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reset(seed=7)
    script, state = world.script, world.get_state().arm.physics
    world.reset(seed=8)
    monkeypatch.setattr(world.arm.renderer, "render", None)
    lay_out(job().setting, 7, world)
    assert world.script == script
    assert np.array_equal(world.get_state().arm.physics, state)


def test_filming_changes_nothing(rule: Rule, tmp_path: Path) -> None:
    for mode in MODES[::2]:
        path = tmp_path / f"{mode}.mp4"
        assert scientific(run_episode(replace(job(mode), video=str(path)))) == scientific(run_episode(job(mode)))
        assert path.stat().st_size > 1000


def test_without_latency_async_is_pause(rule: Rule) -> None:
    rows = [run_episode(job(mode, latency=NoLatency())) for mode in MODES[::2]]
    assert rows[0]["trajectory_hash"] == rows[1]["trajectory_hash"]


def test_latency_changes_the_trajectory_and_not_the_scene(rule: Rule) -> None:
    fast, slow = run_episode(job("sync", latency=FixedLatency(10.0, 1.0))), run_episode(job("sync"))
    assert fast["trajectory_hash"] != slow["trajectory_hash"]
    one, two = (request.images["top"] for request in rule.seen if request.readings.t_ns == 0)
    assert np.array_equal(one, two)


def test_blackout_hides_the_views_and_nothing_else(rule: Rule) -> None:
    row = run_episode(job(blackout=True))
    assert all(not request.images["top"].any() for request in rule.seen)
    assert all(request.instruction == row["instruction"] for request in rule.seen)


def test_a_swapped_instruction_names_another_object_of_the_same_scene(rule: Rule, world: PickEnv) -> None:
    plain = run_episode(job())
    things = world.things
    swapped = run_episode(job(swap_instruction=True))
    assert world.things == things and world.target in things[1:]
    assert swapped["instruction"] == world.instruction != plain["instruction"]
    assert (swapped["instructed_lifted"], swapped["former_target_lifted"]) == (False, False)
    one, two = (request.images["top"] for request in rule.seen if request.readings.t_ns == 0)
    assert np.array_equal(one, two)
    assert run_episode(job(swap_instruction=True))["instruction"] == swapped["instruction"]


def test_what_breaks_is_told_in_one_line(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "act", lambda requests: [np.full((8, 5), np.nan)])
    with pytest.raises(episodes.RunError, match=r"^pause, seed 10003: ValueError: an action is .* \(plant.py:\d+\)$"):
        run_episode(job("pause"))
    monkeypatch.setattr(rule, "act", lambda requests: 1 / 0)
    with pytest.raises(episodes.RunError, match=r"^pause, seed 10003 or async, seed 10003: ZeroDivisionError: "):
        run_together([job("pause"), job("async")])
