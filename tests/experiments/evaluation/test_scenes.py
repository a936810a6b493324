"""A seed is one scene in every arm, and a scene belongs to one seed."""

from dataclasses import replace

import pytest

from tests.builders.sweeps import SPEC
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.scenes import Scenes
from vlatency.experiments.sweeps.plan_file import make_plan
from vlatency.sim.errors import UsageError

SETTING = make_plan("x", {**SPEC, "across": {"task": ["static"]}}).settings[0]


def row(seed: int, scene: str, mode: str = "sync") -> Row:
    return {"mode": mode, "seed": seed, "scene": scene}


def test_arms_must_begin_with_the_same_scenes() -> None:
    scenes = Scenes()
    for mode in ("pause", "sync"):
        for seed in (1, 2):
            scenes.check(SETTING, row(seed, f"scene {seed}", mode))
    with pytest.raises(UsageError, match="seed 2 of static gave another scene in mode async"):
        scenes.check(SETTING, row(2, "scene 3", "async"))


def test_two_seeds_must_not_be_one_scene() -> None:
    scenes = Scenes()
    scenes.check(SETTING, row(1, "a"))
    scenes.check(replace(SETTING, task="other"), row(2, "a"))
    with pytest.raises(UsageError, match="seeds 1 and 3"):
        scenes.check(SETTING, row(3, "a"))


def test_rows_without_a_scene_are_our_own_tasks() -> None:
    scenes = Scenes()
    for seed in (1, 2):
        scenes.check(SETTING, {"mode": "sync", "seed": seed})
