"""A sweep measures every cell once, whatever was measured before and whenever it is killed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.builders.sweeps import SOFTWARE, SPEC, Killed, episode, measure_into, measured, none
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.run_folder import EPISODES
from vlatency.experiments.reporting.study import summarize_sweep
from vlatency.experiments.reporting.summary_text import text
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.measuring import forecast, missing
from vlatency.experiments.sweeps.plan import Plan
from vlatency.experiments.sweeps.plan_file import make_plan


def table(plan: Plan, cells: Cells) -> list[str]:
    return text(summarize_sweep(plan, cells, ""))


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob(EPISODES)}


@pytest.mark.slow
def test_a_killed_sweep_ends_like_one_that_was_not(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "episodes": 3, "across": {}})
    whole = measured(plan, tmp_path / "whole")
    for dies_after in (0, 1, 7, 2, 10):
        with pytest.raises(Killed):
            measured(plan, tmp_path / "killed", dies_after)
    again = measured(plan, tmp_path / "killed")
    assert table(plan, again) == table(plan, whole)
    assert files(again.root) == files(whole.root) and len(files(whole.root)) == len(plan.settings)


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "episodes": 2})
    measured(plan, tmp_path)
    measure_into(Cells(tmp_path, SOFTWARE), plan, none)
    more = make_plan("y", {**SPEC, "episodes": 3, "split": False, "across": {"task": ["small"]}})
    cells = Cells(tmp_path, SOFTWARE)
    assert [len(missing(setting, cells.rows(setting, 3), 3)) for setting in more.settings] == [1, 1, 1]


@pytest.mark.slow
def test_two_sweeps_share_cells_in_either_order(tmp_path: Path) -> None:
    one = make_plan("one", {**SPEC, "split": False, "episodes": 2})
    two = make_plan("two", {**SPEC, "split": False, "episodes": 3, "across": {"task": ["static"]}})
    assert set(two.settings) < set(one.settings)
    tables = []
    for name, order in (("ab", (one, two)), ("ba", (two, one))):
        for plan in order:
            cells = measured(plan, tmp_path / name)
        tables.append([table(plan, cells) for plan in (one, two)])
        assert len(files(cells.root)) == len(one.settings)
    assert tables[0] == tables[1]


def test_rows_of_other_software_are_not_used_and_said_to_be_there(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 2})
    measured(plan, tmp_path)
    other = Cells(tmp_path, {**SOFTWARE, "gl_renderer": "NVIDIA"})
    lines = forecast(plan, other, 2)
    assert (
        "12 episodes: 0 measured, 12 to go" in lines[1]
        and "12 rows of these cells come from other software" in lines[-1]
    )
    assert "about 18 s with 2 at a time" in lines[2]


def test_the_forecast_says_how_much_how_long_and_what_it_can_tell(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "episodes": 100, "looks": 4})
    lines = forecast(plan, Cells(tmp_path, SOFTWARE), 2)
    assert (
        lines[1]
        == "cells  14 (3 arms in 2 places, and 8 that tell late from wrong), 1400 episodes: 0 measured, 1400 to go"
    )
    assert lines[2].startswith("time   not known")
    assert lines[3].startswith("tells  at n = 100, if two arms differ on half of the seeds: 20 points; ")
    assert lines[5].startswith("looks  4")
    few = forecast(make_plan("x", {**SPEC, "episodes": 5}), Cells(tmp_path, SOFTWARE), 2)
    assert few[3] == "tells  at n = 5: nothing; at worst, corrected for 4 comparisons, nothing" and len(few) == 4
    assert list(tmp_path.iterdir()) == []


def test_what_is_decided_early_is_measured_no_further(tmp_path: Path) -> None:
    spec = {**SPEC, "split": False, "episodes": 24, "looks": 2, "across": {"task": ["static"]}}
    plan = make_plan("x", {**spec, "arms": {"pause": {"mode": "pause"}, "fails": {"views": 1}, "same": {}}})

    def run(jobs: Sequence[Job]) -> Iterator[Row]:
        for job in jobs:
            yield episode(job) | {"success": len(job.setting.optimization.cameras) == 3}

    cells = Cells(tmp_path, SOFTWARE)
    measure_into(cells, plan, run)
    assert [len(cells.rows(setting, 24)) for setting in plan.settings] == [24, 12, 24]
    lines = table(plan, cells)
    assert any("fails against pause" in line and "-100 points" in line and line.endswith("worse") for line in lines)
    measure_into(Cells(tmp_path, SOFTWARE), plan, none)
