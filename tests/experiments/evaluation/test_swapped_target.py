"""What the policy is told instead of the target, on the scripts of scenes alone."""

import numpy as np
import pytest

from vlatency.envs.events import Switch
from vlatency.envs.script import draw_script
from vlatency.envs.tasks import TASKS
from vlatency.experiments.evaluation.worlds import swapped_target

SEEDS = range(10_000, 10_200)


@pytest.mark.parametrize("task", TASKS)
def test_another_object_of_the_scene_is_named(task: str) -> None:
    for seed in SEEDS:
        script = draw_script(TASKS[task], np.random.default_rng(seed))
        assert 0 < swapped_target(script, seed) < len(script.things)


def test_the_instruction_switches_in_every_swapped_scene() -> None:
    for seed in SEEDS:
        script = draw_script(TASKS["switched"], np.random.default_rng(seed))
        assert isinstance(script.event, Switch)
        assert swapped_target(script, seed) not in (0, script.event.to)


def test_which_object_is_named_depends_on_the_seed() -> None:
    script = draw_script(TASKS["clutter"], np.random.default_rng(0))
    assert {swapped_target(script, seed) for seed in SEEDS} == set(range(1, len(script.things)))
