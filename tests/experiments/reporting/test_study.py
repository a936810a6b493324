"""A study is made anew from the episodes in its folder, of a run as of a sweep."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.builders.studies import RUN_ROWS, write_run, write_sweep
from vlatency.experiments.evaluation.run_folder import SCHEMA
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.shared import checked_json
from vlatency.sim.errors import UsageError

LATE: dict[str, Any] = {"common": {"views": 3, "res": 224, "mode": "async"}, "episodes": 2}


def test_a_run_is_a_study_of_its_modes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", RUN_ROWS[:50])
    (run.path / "videos").mkdir()
    (run.path / "videos" / "sync-10003-failure.mp4").touch()
    study = read_study(run.path)
    assert study.summary.plan.arms == ("pause", "sync", "async") and study.summary.by_mode
    assert [result.n for result in study.summary.results] == [20, 20, 10]
    assert [(film.arm, film.seed, film.outcome) for film in study.films] == [("sync", 10_003, "failure")]


def test_films_of_a_sweep_are_found_with_their_cells(folders: dict[str, Path]) -> None:
    films = read_study(folders["ship"]).films
    assert [(film.arm, film.seed) for film in films] == [(arm, 10_000) for arm in ("current", "+ 224 px", "+ async")]


def test_figures_follow_the_episodes_and_not_what_was_written_before(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", RUN_ROWS[:30])
    (run.path / "summary.json").write_text("stale")
    assert [result.n for result in read_study(run.path).summary.results] == [20, 10, 0]


def test_arms_that_do_not_execute_alike_differ_in_more_than_latency(tmp_path: Path) -> None:
    arms: dict[str, Any] = {"0 ms": {"latency": "fixed:0,11"}, "400 ms": {"latency": "fixed:400,11"}}
    assert read_study(write_sweep(tmp_path, "late", {**LATE, "arms": arms})).summary.only_latency_differs
    arms["400 ms"] = {**arms["400 ms"], "execution": "chunk:4"}
    assert not read_study(write_sweep(tmp_path, "mixed", {**LATE, "arms": arms})).summary.only_latency_differs


def test_summary_json_and_sweep_json_say_their_schema(folders: dict[str, Path], summaries: dict[str, Summary]) -> None:
    for name in ("sweep.json", "summary.json"):
        assert json.loads((folders["ship"] / name).read_text())["schema"] == SCHEMA
    assert summaries["ship"].as_json()["schema"] == SCHEMA


@pytest.mark.parametrize("name", ["config.json", "sweep.json"])
def test_an_older_schema_is_refused_in_one_line(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    if name == "config.json":
        write_run(folder)
    else:
        shutil.copytree(folders["fast"], folder)
    content = checked_json.loads((folder / name).read_text())
    del content["schema"]
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(UsageError, match=rf"{name} is of schema 1, and this version reads {SCHEMA}"):
        read_study(folder)


def test_a_sweep_without_its_cells_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["fast"], tmp_path / "sweep")
    with pytest.raises(UsageError, match="episodes are not in"):
        read_study(tmp_path / "sweep")


def test_a_damaged_sweep_is_named(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"schema": SCHEMA, "plan": {}}))
    with pytest.raises(UsageError, match="cannot be used"):
        read_study(tmp_path)
