"""A sweep measures every cell once, whatever was measured before and whenever it is killed."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.evaluation.test_setting import SETTING
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.experiments import sweep
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.run_folder import EPISODES, Row
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.sweep_table import text
from vlatency.experiments.sweeps.cell_store import Cells, address, canonical
from vlatency.experiments.sweeps.filming import film, scenes
from vlatency.experiments.sweeps.plan import LATE, WRONG, Cell, Plan, make_plan, presets, read_plan
from vlatency.experiments.sweeps.verdicts import as_json, break_evens, decided, letters, splits, verdicts
from vlatency.sim.errors import UsageError

SOFTWARE = {"versions": {"mujoco": "3.17.0"}, "gl_renderer": "fake", "source_sha256": "ab"}
SPEC: dict[str, Any] = {
    "episodes": 8,
    "common": {"latency": "insertion_vla", "mode": "async"},
    "across": {"task": ["static", "small"]},
    "split": True,
    "arms": {"3 views": {"views": 3}, "2 views": {"views": 2}, "1 view": {"views": 1}},
}


BELT: dict[str, Any] = {"across": {"task": ["conveyor"], "speed": [0.0, 0.1]}}


class Killed(Exception):
    pass


def episode(job: Job) -> Row:
    """One view fails more often, and so does what is late; the seed is the scene."""
    setting = job.setting
    chance = 0.9 - 0.3 * (len(setting.optimization.cameras) == 1) - setting.vl_ms / 400
    return {"mode": job.mode, "seed": job.seed, "success": random.Random(job.seed).random() < chance, "wall_s": 3.0}


def runner(dies_after: int | None = None) -> Callable[[Sequence[Job]], Iterator[Row]]:
    def run(jobs: Sequence[Job]) -> Iterator[Row]:
        for place, job in enumerate(jobs):
            if place == dies_after:
                raise Killed
            yield episode(job)

    return run


def describe(cell: Cell) -> dict[str, Any]:
    return {"setting": cell.setting.as_json(), "hash": cell.setting.hash}


def measure(plan: Plan, root: Path, dies_after: int | None = None) -> Cells:
    cells = Cells(root, SOFTWARE)
    sweep.measure(plan, cells, runner(dies_after), describe)
    return cells


def table(plan: Plan, cells: Cells) -> list[str]:
    return text(plan, {setting: cells.rows(setting, plan.episodes) for setting in plan.settings})


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob(EPISODES)}


def test_a_killed_sweep_ends_like_one_that_was_not(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "episodes": 3, "across": {}})
    whole = measure(plan, tmp_path / "whole")
    for dies_after in (0, 1, 7, 2, 10):
        with pytest.raises(Killed):
            measure(plan, tmp_path / "killed", dies_after)
    again = measure(plan, tmp_path / "killed")
    assert table(plan, again) == table(plan, whole)
    assert files(again.root) == files(whole.root) and len(files(whole.root)) == len(plan.settings)


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "episodes": 2})
    measure(plan, tmp_path)
    sweep.measure(plan, Cells(tmp_path, SOFTWARE), none, describe)
    more = make_plan("y", {**SPEC, "episodes": 3, "split": False, "across": {"task": ["small"]}})
    assert [len(Cells(tmp_path, SOFTWARE).missing(setting, 3)) for setting in more.settings] == [1, 1, 1]


def none(jobs: Sequence[Job]) -> Iterator[Row]:
    assert not jobs
    return iter(())


def test_two_sweeps_share_cells_in_either_order(tmp_path: Path) -> None:
    one = make_plan("one", {**SPEC, "split": False, "episodes": 2})
    two = make_plan("two", {**SPEC, "split": False, "episodes": 3, "across": {"task": ["static"]}})
    assert set(two.settings) < set(one.settings)
    tables = []
    for name, order in (("ab", (one, two)), ("ba", (two, one))):
        for plan in order:
            cells = measure(plan, tmp_path / name)
        tables.append([table(plan, cells) for plan in (one, two)])
        assert len(files(cells.root)) == len(one.settings)
    assert tables[0] == tables[1]


def test_a_cell_is_its_setting_software_and_latencies() -> None:
    assert address(SETTING, SOFTWARE) == address(replace(SETTING), dict(reversed(SOFTWARE.items())))
    others = [
        address(replace(SETTING, task="small"), SOFTWARE),
        address(SETTING, {**SOFTWARE, "gl_renderer": "NVIDIA"}),
        address(SETTING, {**SOFTWARE, "versions": {"mujoco": "4.0.1"}}),
    ]
    assert len({address(SETTING, SOFTWARE), *others}) == 4


def test_a_profile_with_other_figures_is_another_cell(tmp_path: Path) -> None:
    profile = tmp_path / "mine.json"
    start = (
        '{"device": "d", "head_ms": 10, "overhead_ms": 1, "realised_tflops": 1, "encode": [{"views": 3, "width": 224,'
    )
    setting = replace(SETTING, latency=str(profile))
    found = []
    for samples in ("[50, 60, 70]", "[10, 60, 99]"):
        profile.write_text(f'{start} "height": 224, "encoding": "batched", "samples_ms": {samples}}}]}}')
        found.append(address(setting, SOFTWARE))
    assert found[0] != found[1]


def test_a_mode_is_one_cell_whatever_it_makes_no_use_of() -> None:
    pause = replace(SETTING, modes=("pause",))
    assert canonical(pause) == canonical(replace(pause, latency="fixed:9,9", vl_ms=9.0, reuse="3", perf_factor=2.0))
    sync = replace(SETTING, modes=("sync",))
    assert canonical(sync) == canonical(replace(sync, reuse="3")) != canonical(replace(sync, perf_factor=2.0))
    moving = replace(SETTING, modes=("async",), reuse="3")
    assert canonical(moving) == moving


def test_the_world_waits_alike_whatever_the_rig_and_a_fixed_latency_whatever_is_encoded() -> None:
    paused = replace(SETTING, modes=("pause",))
    assert canonical(replace(paused, robot=RobotTiming(camera_hz=10.0))) == canonical(paused)
    fixed = replace(SETTING, modes=("async",), latency="fixed:100,11")
    other = replace(SETTING.optimization, quant="bnb-nf4")
    assert canonical(replace(fixed, latency_of=other)) == canonical(fixed)


def test_rows_of_other_software_are_not_used_and_said_to_be_there(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 2})
    measure(plan, tmp_path)
    other = Cells(tmp_path, {**SOFTWARE, "gl_renderer": "NVIDIA"})
    lines = sweep.forecast(plan, other, 2)
    assert (
        "12 episodes: 0 measured, 12 to go" in lines[1]
        and "12 rows of these cells come from other software" in lines[-1]
    )
    assert "about 18 s with 2 at a time" in lines[2]


def test_the_forecast_says_how_much_how_long_and_what_it_can_tell(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "episodes": 100, "looks": 4})
    lines = sweep.forecast(plan, Cells(tmp_path, SOFTWARE), 2)
    assert (
        lines[1]
        == "cells  14 (3 arms in 2 places, and 8 that tell late from wrong), 1400 episodes: 0 measured, 1400 to go"
    )
    assert lines[2].startswith("time   not known")
    assert lines[3].startswith("tells  at n = 100, if two arms differ on half of the seeds: 20 points; ")
    assert lines[5].startswith("looks  4")
    few = sweep.forecast(make_plan("x", {**SPEC, "episodes": 5}), Cells(tmp_path, SOFTWARE), 2)
    assert few[3] == "tells  at n = 5: nothing; at worst, corrected for 4 comparisons, nothing" and len(few) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_second_sweep_may_not_write_at_the_same_time(tmp_path: Path) -> None:
    with Cells(tmp_path, SOFTWARE).locked():
        with pytest.raises(UsageError, match="another sweep is writing"), Cells(tmp_path, SOFTWARE).locked():
            pass


def rows_of(plan: Plan, success: Callable[[Cell, int], bool]) -> dict[Setting, list[Row]]:
    found = {}
    for cell in plan.cells:
        seeds = range(cell.setting.seed, cell.setting.seed + plan.episodes)
        found[cell.setting] = [{"seed": seed, "success": success(cell, seed - cell.setting.seed)} for seed in seeds]
    return found


def test_late_or_wrong_finds_what_was_put_there() -> None:
    plan = make_plan("x", {**SPEC, "episodes": 40, "across": {"task": ["static"]}})
    views = {3: 40, 2: 40, 1: 10}
    rows = rows_of(plan, lambda cell, number: number < views[len(cell.setting.optimization.cameras)])
    found = splits(plan, rows)
    (place,) = plan.places
    assert found[place, "1 view"].wrong.significant and not found[place, "1 view"].late.significant
    lines = "\n".join(text(plan, rows))
    assert "features worse" in lines and "1 view against 3 views: -75 points" in lines
    assert [cell.part for cell in plan.cells] == ["", "", LATE, WRONG, "", LATE, WRONG]
    assert as_json(plan, rows)["cells"][2]["late_or_wrong"]["wrong"]["difference"]["estimate"] == -0.75


def test_where_features_are_the_same_no_cell_is_added() -> None:
    arms = {"latest": {}, "every 15": {"reuse": 15}}
    plan = make_plan("x", {**SPEC, "arms": arms, "across": {}})
    assert len(plan.cells) == 4 and len(plan.settings) == 2


def test_verdicts_share_one_holm_table() -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 20})
    chance = {3: 20, 2: 14, 1: 14}
    rows = rows_of(plan, lambda cell, number: number < chance[len(cell.setting.optimization.cameras)])
    found = verdicts(plan, rows)
    assert len(found) == 4 and not any(result.significant for result in found.values())  # one alone: p = 0.031


def outcomes_of(table: dict[str, list[bool]]) -> Callable[[Cell, int], bool]:
    """Success by arm (and part of a split) and place in the row of seeds."""
    return lambda cell, place: table[cell.part or cell.arm][place]


def test_letters_allow_for_all_pairs_of_their_place() -> None:
    plan = make_plan("x", {**SPEC, "episodes": 20, "across": {"task": ["static"]}, "split": False})
    # Of 6 seeds lost, none gained, McNemar says 0.031: no 5 % after Holm over three pairs. Of 8 it says 0.008.
    table = {"3 views": [True] * 20, "2 views": [True] * 20, "1 view": [False] * 6 + [True] * 14}
    place = plan.places[0]
    assert letters(plan, rows_of(plan, outcomes_of(table)), place) == {"3 views": "a", "2 views": "a", "1 view": "a"}
    table["1 view"] = [False] * 8 + [True] * 12
    assert letters(plan, rows_of(plan, outcomes_of(table)), place) == {"3 views": "a", "2 views": "a", "1 view": "b"}


def test_a_split_allows_for_all_its_tests() -> None:
    arms = {"a": {"views": 3}, "b": {"views": 1}}
    plan = make_plan("x", {**SPEC, "episodes": 20, "across": {"task": ["static"]}, "arms": arms})
    table = {"a": [True] * 20, "b": [True] * 20, LATE: [False] * 6 + [True] * 14, WRONG: [True] * 20}
    (split,) = splits(plan, rows_of(plan, outcomes_of(table))).values()
    assert split.late.p_value == pytest.approx(2 * 0.03125) and not split.late.significant


def test_looks_share_the_level_among_the_comparisons() -> None:
    spec = {**SPEC, "episodes": 20, "looks": 2, "split": False}
    plan = make_plan("x", spec)
    table = {"3 views": [True] * 20, "2 views": [True] * 20, "1 view": [False] * 7 + [True] * 13}
    rows = rows_of(plan, outcomes_of(table))
    assert not decided(plan, rows, plan.places[0], "1 view")  # 7 lost: p = 0.016
    arms = {name: SPEC["arms"][name] for name in ("3 views", "1 view")}
    alone = make_plan("x", {**spec, "across": {"task": ["static"]}, "arms": arms})
    assert decided(alone, rows_of(alone, outcomes_of(table)), alone.places[0], "1 view")


def test_break_even_is_taken_along_its_option() -> None:
    spec = {**SPEC, "split": False, "across": {"task": ["conveyor"], "speed": [0.02, 0.05, 0.1]}, "episodes": 20}
    plan = make_plan("x", {**spec, "break_even": {"over": "speed", "threshold": 0.5}})
    rows = rows_of(plan, lambda cell, number: number < 20 - 200 * (cell.setting.speed or 0))
    assert set(break_evens(plan, rows)) == {((("task", "conveyor"),), arm) for arm in plan.arms}
    never = rows_of(plan, lambda cell, number: True)
    assert {fit.describe() for fit in break_evens(plan, never).values()} == {"above 0.1"}
    assert any("3 views, task conveyor: above 0.1" in line for line in text(plan, never))


def test_what_is_decided_early_is_measured_no_further(tmp_path: Path) -> None:
    spec = {**SPEC, "split": False, "episodes": 24, "looks": 2, "across": {"task": ["static"]}}
    plan = make_plan("x", {**spec, "arms": {"pause": {"mode": "pause"}, "fails": {"views": 1}, "same": {}}})

    def run(jobs: Sequence[Job]) -> Iterator[Row]:
        for job in jobs:
            yield episode(job) | {"success": len(job.setting.optimization.cameras) == 3}

    cells = Cells(tmp_path, SOFTWARE)
    sweep.measure(plan, cells, run, describe)
    assert [len(cells.rows(setting, 24)) for setting in plan.settings] == [24, 12, 24]
    lines = table(plan, cells)
    assert any(line.startswith("  fails against pause: -100 points") and line.endswith("worse") for line in lines)
    sweep.measure(plan, Cells(tmp_path, SOFTWARE), none, describe)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("arms:\n  a: {views: 3}\n  a: {views: 2}\n")
    with pytest.raises(UsageError, match="twice.yaml: 'a' is there twice in one mapping"):
        read_plan(str(path))


def test_every_preset_is_named_in_the_help_and_can_be_planned() -> None:
    source = Path(sweep.__file__).read_text()
    said = source[source.index("sweep: tyro.conf.Positional[str]") : source.index("episodes: int")]
    for name in presets():
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", said)
        plan = read_plan(name)
        assert plan.about and len(plan.arms) > 1 and plan.comparisons > 0


def test_the_smoke_sweep_is_part_of_no_long_one() -> None:
    assert read_plan("smoke").episodes * len(read_plan("smoke").settings) <= 60
    assert read_plan("smoke", episodes=3, looks=2).looks == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arms": {}}, "no arms"),
        ({"arms": {"a": {"wings": 2}}}, "unknown 'wings'; options are task, speed, views"),
        ({"arms": {"a": {"views": "many"}}}, "views cannot be 'many'"),
        ({"arms": {"a": {"views": 9}}}, "a, task static: views must be 1 to 5, not 9"),
        ({"arms": {"a": {"mode": "all"}}}, "mode must be one of pause, sync, async"),
        ({"arms": {"a": {"task": "static"}}}, "task is both across all arms and one arm's own"),
        ({"across": {"task": ["belt"]}}, "unknown task 'belt'"),
        ({"across": {"task": "static"}}, "across: task needs a list"),
        ({"across": {"speed": [0.1]}}, "nothing rides in task 'static'"),
        ({"episodes": 0}, "episodes must be a whole number of at least 1"),
        ({"looks": 30}, "looks must be 1 to 8, not 30"),
        ({"break_even": {"over": "speed"}}, "break_even: over must name an option"),
        ({"break_even": {"over": "task"}}, "several numbers of, not task"),
        ({"break_even": {"over": ["task"]}}, "several numbers of, not ['task']"),
        ({"break_even": {"over": "speed", "threshold": 1}, **BELT}, "threshold must be above 0 and below 1, not 1"),
        ({"break_even": {"over": "speed", "treshold": 0.5}, **BELT}, "unknown 'treshold'"),
        ({"across": {"task": [["static"]]}}, "across: task needs single values"),
        ({"across": {"task": [{"a": 1}]}}, "across: task needs single values"),
        ({"across": {"task": ["static", "static"]}}, "across: task has a value twice"),
        ({"across": {"task": ["conveyor"], "speed": [1, 1.0]}}, "across: speed has a value twice"),
        ({"split": "no"}, "split must be true or false, not 'no'"),
        ({"about": 3}, "about must be text, not 3"),
        ({"arms": {1: {"views": 3}}}, "arms: a name must be text, not 1"),
        ({"arms": {"a": {"views": 3}, "b": {"views": 3}}}, "arms: b measures the same as a"),
        ({"arms": ["a"]}, "expected names with values"),
        ({"episodes": True}, "episodes must be a whole number"),
        ({"episodes": 1.5}, "episodes must be a whole number"),
        ({"looks": "3"}, "looks must be a whole number"),
    ],
)
def test_a_bad_sweep_is_one_line(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        make_plan("x", {**SPEC, **change})
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("args", "says"), [(["big"], "no sweep 'big'"), (["smoke", "--looks", "9"], "looks must be")])
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    line = [sys.executable, str(root / "experiments" / "sweep.py"), *args]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert (done.returncode, done.stdout) == (2, "") and list(tmp_path.iterdir()) == []
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr


def test_what_a_sweep_writes_tells_which_cells_it_used(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 2})
    cells = measure(plan, tmp_path / "cells")
    folder = sweep.write(plan, cells)
    assert folder.parent == tmp_path and folder.name == f"sweep-x-{plan.hash[:4]}"
    used = json.loads((folder / "sweep.json").read_text())["cells"]
    assert all((tmp_path / "cells" / cell["folder"] / EPISODES).is_file() for cell in used) and len(used) == 6
    assert len(json.loads((folder / "summary.json").read_text())["cells"]) == 6
    assert "task small" in (folder / "summary.md").read_text()


def test_an_unknown_sweep_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sweep 'big'; give a YAML file, or one of axis-latency, "):
        read_plan("big")
    broken = tmp_path / "broken.yaml"
    broken.write_text("arms: [1")
    with pytest.raises(UsageError, match="is no YAML"):
        read_plan(str(broken))
    broken.write_text("legs: 2")
    with pytest.raises(UsageError, match="unknown 'legs'; a sweep's keys are about, episodes"):
        read_plan(str(broken))


def test_films_show_the_scenes_that_end_most_differently(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "across": {"task": ["static"]}})
    cells = measure(plan, tmp_path)
    filmed: list[Job] = []

    def film_all(jobs: Sequence[Job]) -> Iterator[Row]:
        for job in jobs:
            filmed.append(job)
            path = Path(str(job.video))
            path.parent.mkdir(exist_ok=True)
            path.touch()
            yield episode(job)

    (place,) = plan.places
    chosen = scenes(plan, cells, place, 2)
    assert film(plan, cells, film_all, 2) == []
    assert len(filmed) == 6 and {job.seed for job in filmed} == set(chosen)
    ends = {
        job.seed: {Path(str(other.video)).stem.split("-")[2] for other in filmed if other.seed == job.seed}
        for job in filmed
    }
    assert ends[chosen[0]] == {"success", "failure"}
    film(plan, cells, film_all, 2)
    assert len(filmed) == 6


def test_a_film_that_shows_another_episode_is_said_to(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "across": {"task": ["static"]}})
    cells = measure(plan, tmp_path)
    seed = scenes(plan, cells, plan.places[0], 1)[0]

    def otherwise(jobs: Sequence[Job]) -> Iterator[Row]:
        yield from ({**episode(job), "trajectory_hash": "another"} for job in jobs)

    assert film(plan, cells, otherwise, 1) == [f"async, seed {seed} did not repeat when filmed"] * 3
