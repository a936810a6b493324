"""An arm is shipped only if it keeps up, is surely good enough, and is not worse than the reference."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import studies
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.reporting.headline import answer
from vlatency.experiments.reporting.shipping import CANNOT_TELL, Answer, Least
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.reporting.summary import Summary

SLOW_AND_FAST = {"sync": {"mode": "sync"}, "async": {"mode": "async"}}
VIEWS = {f"{views} views": {"mode": "async", "views": views} for views in (3, 2, 1)}
COMMON = {"latency": "fixed:400,11", "res": 224}


def views(job: Job) -> int:
    return len(job.setting.optimization.cameras)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """A sweep with given arms, of whose episodes the first so many succeed in each cell."""

    def write(successes: Callable[[Job], int], arms: dict[str, Any], **spec: Any) -> Summary:
        monkeypatch.setattr(studies, "chance", lambda job: float(job.seed - 10_000 < successes(job)))
        spec = {"episodes": 60, "common": COMMON, "arms": arms, **spec}
        return read_study(studies.write_sweep(tmp_path / str(len(list(tmp_path.iterdir()))), "made-up", spec)).summary

    return write


def test_an_arm_that_always_fails_is_not_shipped_because_it_is_fast(study: Callable[..., Summary]) -> None:
    # sync 98 % at 2.4 Hz, async 0 of 60 at 91 Hz: the first line once said "Ship: async".
    summary = study(lambda job: 59 * (job.setting.mode == "sync"), SLOW_AND_FAST)
    floors: Sequence[Least] = (0.9, 0.5, 0.01, "reference")
    for least in floors:
        found = answer(summary, least)
        assert found.short == "None" and "async succeeds in 0 %" in found.sentence
        assert "sync, the reference, succeeds in 98 %" in found.sentence and "2.4 Hz" in found.sentence


def test_what_is_surely_good_enough_is_shipped_and_the_floor_is_the_users(study: Callable[..., Summary]) -> None:
    summary = study(lambda job: 60 - 6 * (3 - views(job)), VIEWS)
    assert answer(summary, 0.9).short == "Ship: 3 views"
    found = answer(summary, 0.97)
    assert found.short == CANNOT_TELL and "may be above or below 97 %" in found.sentence
    assert "more would decide with a chance of 80%" in found.sentence
    assert answer(study(lambda job: 20, VIEWS), 0.9).short == "None"


def test_what_is_significantly_worse_than_the_reference_is_not_shipped_however_good_it_is(
    study: Callable[..., Summary],
) -> None:
    arms = {"sync": {"mode": "sync"}, "async": {"mode": "async"}}
    summary = study(lambda job: 400 if job.setting.mode == "sync" else 388, arms, episodes=400)
    found = answer(summary, 0.9)
    assert found.short == "None" and "significantly worse than sync (-3 points" in found.sentence


def test_a_place_where_success_is_too_low_is_not_made_up_for_by_others(study: Callable[..., Summary]) -> None:
    def successes(job: Job) -> int:
        return 60 if job.setting.task == "static" or views(job) == 3 else 40

    arms = {"1 view": {"mode": "async", "views": 1}, "2 views": {"mode": "async", "views": 2}}
    found = answer(study(successes, arms, across={"task": ["static", "conveyor"]}), 0.7)
    assert found.short == CANNOT_TELL  # 83 % on average, 67 % on the belt, which may be 70 %
    found = answer(study(successes, arms, across={"task": ["static", "conveyor"]}), 0.85)
    assert found.short == "None" and "below 85 % on conveyor" in found.sentence


def test_places_do_not_make_more_of_the_same_scenes(study: Callable[..., Summary]) -> None:
    one = answer(study(lambda job: 60, SLOW_AND_FAST)).sentence
    four = answer(study(lambda job: 60, SLOW_AND_FAST, across={"task": ["static", "small", "shape", "clutter"]}))
    assert "100 % [94, 100] of 60" in one and "100 % [94, 100] of 240 episodes on 4 tasks" in four.sentence


def test_the_reference_may_be_the_floor_but_few_episodes_are_not_enough(study: Callable[..., Summary]) -> None:
    def asked(sync: int, later: int, episodes: int) -> Answer:
        summary = study(lambda job: sync if job.setting.mode == "sync" else later, SLOW_AND_FAST, episodes=episodes)
        return answer(summary, "reference")

    assert asked(59, 57, 60).short == "Ship: async"
    assert asked(0, 0, 60).short == "None"  # no worse than a reference that never succeeds
    few = asked(5, 1, 5)  # McNemar: 0.12
    assert few.short == CANNOT_TELL and "perhaps much worse" in few.sentence and "episodes of each" in few.sentence


def test_none_is_said_only_if_every_arm_that_may_keep_up_is_measured(study: Callable[..., Summary]) -> None:
    summary = study(lambda job: 20, VIEWS)
    rest = [
        replace(each, k=0, n=0, success=None, rows=()) if each.arm == "1 views" else each for each in summary.results
    ]
    found = answer(replace(summary, results=tuple(rest)))
    assert found.short == CANNOT_TELL and "Not measured in every place yet: 1 views" in found.sentence


def test_no_arm_is_shipped_that_does_not_keep_up(study: Callable[..., Summary]) -> None:
    arms = {f"{count} views": {"mode": "sync", "views": count} for count in (3, 1)}
    found = answer(study(lambda job: 60, arms, common={**COMMON, "latency": "fixed:100,11"}))
    assert found.short == "None" and "10 Hz" in found.sentence and "9 Hz" in found.sentence


def test_interim_looks_cost_as_much_as_options(study: Callable[..., Summary]) -> None:
    one = answer(study(lambda job: 60, SLOW_AND_FAST, episodes=60)).sentence
    five = answer(study(lambda job: 60, SLOW_AND_FAST, episodes=60, looks=5)).sentence
    assert "[94, 100]" in one and "[92, 100]" in five
