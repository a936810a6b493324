"""Films show what is worth seeing, and the very episodes that were measured."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.sweeps import SPEC, episode, measured
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.recording.video import write_frames
from vlatency.experiments.sweeps.filming import choose_episodes, choose_scenes, film, scenes_to_film
from vlatency.experiments.sweeps.plan_file import make_plan


def test_films_show_the_scenes_that_end_most_differently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "across": {"task": ["static"]}})
    cells = measured(plan, tmp_path)
    filmed: list[Job] = []

    def film_all(jobs: Sequence[Job]) -> Iterator[Row]:
        for job in jobs:
            filmed.append(job)
            path = Path(str(job.video))
            write_frames(path, (np.full((16, 32, 3), 25 * number, np.uint8) for number in range(9)))
            yield episode(job)

    (place,) = plan.places
    chosen = choose_scenes(plan, cells, place, 2)
    film(scenes_to_film(plan, cells, 2), film_all)
    assert not capsys.readouterr().err
    assert len(filmed) == 6 and {job.seed for job in filmed} == set(chosen)
    ends = {
        job.seed: {Path(str(other.video)).stem.split("-")[2] for other in filmed if other.seed == job.seed}
        for job in filmed
    }
    assert ends[chosen[0]] == {"success", "failure"}
    film(scenes_to_film(plan, cells, 2), film_all)
    assert len(filmed) == 6

    damaged = [Path(str(job.video)) for job in filmed[:3]]
    damaged[0].write_bytes(b"")
    damaged[1].write_bytes(damaged[1].read_bytes()[:-100])
    damaged[2].unlink()
    film(scenes_to_film(plan, cells, 2), film_all)
    assert [Path(str(job.video)) for job in filmed[6:]] == damaged


def test_a_film_that_shows_another_episode_is_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "across": {"task": ["static"]}})
    cells = measured(plan, tmp_path)
    seed = choose_scenes(plan, cells, plan.places[0], 1)[0]

    def otherwise(jobs: Sequence[Job]) -> Iterator[Row]:
        yield from ({**episode(job), "trajectory_hash": "another"} for job in jobs)

    film(scenes_to_film(plan, cells, 1), otherwise)
    assert capsys.readouterr().err.count(f"async, seed {seed} did not repeat") == 3


def rows(mode: str, outcomes: str) -> list[dict[str, Any]]:
    return [{"mode": mode, "seed": seed, "success": mark == "+"} for seed, mark in enumerate(outcomes)]


def picked(rows: list[dict[str, Any]], count: int) -> list[tuple[str, int, bool]]:
    return [(row["mode"], row["seed"], row["success"]) for row in choose_episodes(rows, count)]


def test_films_are_a_success_and_a_failure() -> None:
    mixed = rows("pause", "+++") + rows("sync", "---") + rows("async", "-+-")
    assert picked(mixed, 2) == [("async", 1, True), ("async", 0, False)]
    assert picked(mixed, 4) == [("async", 1, True), ("async", 0, False), ("pause", 0, True), ("sync", 0, False)]
    assert picked(mixed, 0) == []


def test_where_nothing_fails_successes_are_filmed() -> None:
    assert picked(rows("pause", "++"), 5) == [("pause", 0, True), ("pause", 1, True)]
