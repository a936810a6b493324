"""A run folder loses nothing and repeats nothing, whatever moment it is killed at."""

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders.sweeps import SETTING
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.evaluation.run_folder import CONFIG, EPISODES, SCHEMA, RunFolder, find_run
from vlatency.experiments.evaluation.setting import name_of
from vlatency.sim.errors import UsageError

SETTINGS = [replace(SETTING, timing=Timing(actions=SETPOINTS, mode="pause"))]
BELT = [replace(SETTINGS[0], task="conveyor")]
CONFIGURATION = {"schema": SCHEMA, "settings": [setting.as_json() for setting in SETTINGS], "episodes": 4}
NAME = name_of(SETTINGS)


def row(seed: int, mode: str = "pause") -> dict[str, Any]:
    return {"mode": mode, "seed": seed, "success": bool(seed % 2), "trajectory_hash": f"{seed:04x}"}


def filled(path: Path, count: int) -> RunFolder:
    run = RunFolder.create(path, CONFIGURATION)
    for seed in range(count):
        run.append(row(seed))
    return run


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 3)
    assert RunFolder(run.path).rows == run.rows == [row(0), row(1), row(2)]


def test_cut_at_any_byte_a_run_ends_equal(tmp_path: Path) -> None:
    whole = (filled(tmp_path / "whole", 3).path / EPISODES).read_bytes()
    run = filled(tmp_path / "cut", 0)
    for size in range(len(whole) + 1):
        (run.path / EPISODES).write_bytes(whole[:size])
        again = RunFolder(run.path)
        assert len(again.rows) == whole[:size].count(b"\n")
        for seed in range(len(again.rows), 3):
            again.append(row(seed))
        assert (run.path / EPISODES).read_bytes() == whole


def test_looking_at_a_run_changes_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "a", 2).path / EPISODES
    path.write_bytes(path.read_bytes()[:-5])
    before = path.read_bytes()
    RunFolder(tmp_path / "a")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage", [b"not json\n", b"[1]\n", b'{"seed": 1}\n', b"\0" * 1977 + b"\n", b"[" * 100_000 + b"\n", b"\xff\n"]
)
def test_damage_is_set_aside_and_costs_no_other_row(
    tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = filled(tmp_path / "a", 1).path / EPISODES
    good = path.read_bytes()
    path.write_bytes(good + damage + json.dumps(row(5)).encode() + b"\n" + good + b'{"mode": "pau')
    run = RunFolder(tmp_path / "a")
    assert run.rows == [row(0), row(5)] and path.read_bytes() != good
    run.append(row(1))
    assert RunFolder(run.path).rows == [row(0), row(5), row(1)]
    assert "3 damaged lines" in capsys.readouterr().err
    aside = path.with_suffix(".damaged").read_bytes()
    assert damage in aside and good in aside and b'{"mode": "pau' in aside


def test_a_byte_that_changes_anywhere_in_a_row_costs_that_row_and_no_other(tmp_path: Path) -> None:
    path = filled(tmp_path / "a", 3).path / EPISODES
    whole = path.read_bytes()
    first, second = (place for place, byte in enumerate(whole[:-1]) if byte == 10)
    for place in range(first + 1, second):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        rows = [{name: each.get(name) for name in row(0)} for each in RunFolder(tmp_path / "a").rows]
        assert rows in ([row(0), row(2)], [row(0), row(1), row(2)])  # the latter if only the checksum's name changed
    path.write_bytes(whole.replace(b'"seed": 1', b'"seed": 9').replace(b"\n", b"\r\n"))
    assert RunFolder(tmp_path / "a").rows == [row(0), row(2)]


def test_two_processes_never_write_to_one_run(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 2)
    other = RunFolder(run.path)
    with run.locked():
        run.append(row(2))
        with pytest.raises(UsageError, match="another process is writing"), other.locked():
            pass
    with other.locked():
        assert other.rows == [row(0), row(1), row(2)]


def test_runs_that_start_together_get_a_folder_each(tmp_path: Path) -> None:
    first = find_run(None, tmp_path, SETTINGS, 4, resume=False)
    second = find_run(None, tmp_path, SETTINGS, 4, resume=False)
    assert first == second and isinstance(first, Path) and isinstance(second, Path)
    with RunFolder.start(first, CONFIGURATION, numbered=True) as one:
        with RunFolder.start(second, CONFIGURATION, numbered=True) as two:
            assert (one.path.name, two.path.name) == (NAME, f"{NAME}-2")
        with pytest.raises(UsageError), RunFolder.start(first, CONFIGURATION, numbered=False):
            pass
    with pytest.raises(UsageError, match="just been started"), RunFolder.start(first, CONFIGURATION, numbered=False):
        pass


def test_a_config_in_which_a_byte_changed_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "a", 1).path / CONFIG
    path.write_text(path.read_text().replace('"seed": 10000', '"seed": 10001'))
    with pytest.raises(UsageError, match=CONFIG):
        RunFolder(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "[" * 100_000, '{"a": "\\ud800', "1" * 5000])
def test_a_damaged_config_is_refused(tmp_path: Path, text: str) -> None:
    filled(tmp_path / "a", 1)
    (tmp_path / "a" / CONFIG).write_text(text)
    with pytest.raises(UsageError, match=CONFIG):
        RunFolder(tmp_path / "a")


def test_resume_names_every_field_that_differs(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 1)
    other = [replace(BELT[0], optimization=replace(BELT[0].optimization, width=640))]
    with pytest.raises(UsageError) as error:
        find_run(run.path, tmp_path, other, 4, resume=True)
    assert "width (224 there, 640 here)" in str(error.value)
    assert "task (static there, conveyor here)" in str(error.value)
    assert "cameras" not in str(error.value)


def test_resume_continues_the_named_run(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 2)
    found = find_run(run.path, tmp_path, SETTINGS, 4, resume=True)
    assert isinstance(found, RunFolder) and found.rows == run.rows


def test_resume_before_anything_was_written_starts_the_run(tmp_path: Path) -> None:
    assert find_run(tmp_path / "new", tmp_path, SETTINGS, 4, resume=True) == tmp_path / "new"


def test_a_folder_with_something_in_it_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        find_run(tmp_path, tmp_path, SETTINGS, 4, resume=False)
    with pytest.raises(UsageError, match="holds no run"):
        find_run(tmp_path, tmp_path, SETTINGS, 4, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_same_command_again_gets_its_own_folder_and_resume_the_last(tmp_path: Path) -> None:
    assert find_run(None, tmp_path, SETTINGS, 4, resume=False) == tmp_path / NAME
    filled(tmp_path / NAME, 1)
    assert find_run(None, tmp_path, SETTINGS, 4, resume=False) == tmp_path / NAME
    filled(tmp_path / f"{NAME}-2", 1)
    found = find_run(None, tmp_path, SETTINGS, 4, resume=True)
    assert isinstance(found, RunFolder) and found.path == tmp_path / f"{NAME}-2"


def test_resume_without_a_run_says_what_is_there_instead(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run to resume"):
        find_run(None, tmp_path, SETTINGS, 4, resume=True)
    filled(tmp_path / NAME, 1)
    with pytest.raises(UsageError, match=r"was run with another configuration: task \(static there, conveyor here\)"):
        find_run(None, tmp_path, BELT, 4, resume=True)


def test_what_a_run_leaves_that_is_killed_before_it_begins_is_in_nobodys_way(tmp_path: Path) -> None:
    for name in (NAME, "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".lock").touch()
        (tmp_path / name / f".{CONFIG}.4711.part").write_text('{"sche')
    assert find_run(tmp_path / "mine", tmp_path, SETTINGS, 4, resume=True) == tmp_path / "mine"
    assert find_run(tmp_path / "mine", tmp_path, SETTINGS, 4, resume=False) == tmp_path / "mine"
    with pytest.raises(UsageError, match="no run to resume"):
        find_run(None, tmp_path, SETTINGS, 4, resume=True)
    filled(tmp_path / f"{NAME}-2", 1)
    (tmp_path / f"{NAME}-3").mkdir()
    found = find_run(None, tmp_path, SETTINGS, 4, resume=True)
    assert isinstance(found, RunFolder) and found.path == tmp_path / f"{NAME}-2"


def test_the_lock_is_followed_by_reading_anew(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 1)
    stale = RunFolder(run.path)
    run.extend(10)
    with stale.locked(), pytest.raises(UsageError, match="10 episodes"):
        stale.check_continues(SETTINGS, 6)


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="not a folder"):
            find_run(out, tmp_path, SETTINGS, 4, resume=False)


def test_episodes_can_be_raised_and_not_lowered(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 1)
    run.extend(10)
    assert json.loads((run.path / CONFIG).read_text())["episodes"] == 10
    with pytest.raises(UsageError, match="10 episodes"):
        RunFolder(run.path).check_continues(SETTINGS, 4)


def test_a_failed_write_leaves_no_row_behind(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 1)
    with pytest.raises(ValueError):
        run.append(row(1) | {"sim_time_s": float("nan")})
    assert RunFolder(run.path).rows == [row(0)]


def test_a_full_disk_names_the_file_and_costs_no_row(tmp_path: Path) -> None:
    run = filled(tmp_path / "a", 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((run.path / EPISODES).stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="episodes.jsonl"):
            run.append(row(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    again = RunFolder(run.path)
    again.append(row(2))
    assert RunFolder(run.path).rows == [row(0), row(1), row(2)]


def test_a_profile_that_was_edited_between_a_kill_and_resume_is_refused(tmp_path: Path) -> None:
    """Its medians stay the same: only the content tells."""
    path, point = tmp_path / "mine.json", {"views": 3, "width": 224, "height": 224, "encoding": "batched"}

    def settings(samples: list[int]) -> list[Any]:
        profile = {"device": "d", "head_ms": 10, "overhead_ms": 1, "realised_tflops": 1}
        path.write_text(json.dumps(profile | {"encode": [point | {"samples_ms": samples}]}))
        latency = parse_latency(str(path), SETTING.optimization)
        return [
            replace(SETTING, timing=Timing(actions=SETPOINTS, mode=mode, latency=latency))
            for mode in ("pause", "async")
        ]

    before = settings([50, 60, 70])
    config = {"schema": SCHEMA, "settings": [setting.as_json() for setting in before], "episodes": 4}
    run = RunFolder.create(tmp_path / "run", config)
    assert isinstance(find_run(run.path, tmp_path, before, 4, resume=True), RunFolder)
    with pytest.raises(UsageError, match=r"mine\.json has changed") as error:
        find_run(run.path, tmp_path, settings([10, 60, 990]), 4, resume=True)
    assert "\n" not in str(error.value)


def test_a_run_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    old = {"setting": {"task": "static", "modes": ["pause"]}, "episodes": 4}
    (tmp_path / CONFIG).write_text(json.dumps(old))
    with pytest.raises(UsageError, match="schema 1") as error:
        RunFolder(tmp_path)
    assert "\n" not in str(error.value)
