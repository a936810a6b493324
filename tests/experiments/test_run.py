"""The command line: bad input is one line, exit status 2, nothing on stdout, nothing written."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments import cli, provenance
from experiments.run import Args, choose_films, resolve
from sim.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def command(*args: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    line = [sys.executable, str(ROOT / "experiments" / "run.py"), *args]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, env=env, timeout=120)


def test_help_answers_at_once() -> None:
    started = time.perf_counter()
    done = command("--help")
    assert time.perf_counter() - started < 1.5
    assert done.returncode == 0 and "--swap-instruction" in done.stdout and not done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--bogus"], "--bogus"),
        (["--views", "three"], "--views"),
        (["--episodes"], "--episodes"),
        (["--mode", "fast"], "modes are pause, sync, async, all"),
        (["--policy", "/nowhere"], "no policy folder '/nowhere'"),
    ],
)
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    done = command(*args, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--views", "0"], "views must be 1 to 5, not 0"),
        (["--views", "6"], "views must be 1 to 5, not 6"),
        (["--cameras", "elbow"], "top, wrist, front, left, right"),
        (["--cameras", "top,top"], "top, wrist, front, left, right"),
        (["--res", "abc"], "640x360"),
        (["--res", "0"], "640x360"),
        (["--encoding", "zip"], "joint, batched"),
        (["--pool", "sum"], "mean, max, attention"),
        (["--reuse", "0"], "latest"),
        (["--latency", "fixed:-1,10"], "fixed:VL_MS,HEAD_MS"),
        (["--latency", "h300"], "insertion_vla"),
        (["--control-hz", "0"], "control-hz must be 0.1 to 500, not 0"),
        (["--control-hz", "nan"], "control-hz must be"),
        (["--episodes", "0"], "episodes must be at least 1, not 0"),
        (["--workers", "-1"], "workers must be at least 0"),
        (["--videos", "-1"], "videos must be at least 0"),
        (["--seed", "-1"], "seed must be 0 to"),
    ],
)
def test_bad_values_name_the_good_ones(args: list[str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(cli.parse(Args, args))
    assert says in str(error.value) and "\n" not in str(error.value)


def rows(mode: str, outcomes: str) -> list[dict[str, Any]]:
    return [{"mode": mode, "seed": seed, "success": mark == "+"} for seed, mark in enumerate(outcomes)]


def picked(rows: list[dict[str, Any]], count: int) -> list[tuple[str, int, bool]]:
    return [(row["mode"], row["seed"], row["success"]) for row in choose_films(rows, count)]


def test_films_are_a_success_and_a_failure() -> None:
    mixed = rows("pause", "+++") + rows("sync", "---") + rows("async", "-+-")
    assert picked(mixed, 2) == [("async", 1, True), ("async", 0, False)]
    assert picked(mixed, 4) == [("async", 1, True), ("async", 0, False), ("pause", 0, True), ("sync", 0, False)]
    assert picked(mixed, 0) == []


def test_where_nothing_fails_successes_are_filmed() -> None:
    assert picked(rows("pause", "++"), 5) == [("pause", 0, True), ("pause", 1, True)]


def test_the_next_command_continues_this_run() -> None:
    argv = ["experiments/run.py", "--episodes", "20", "--out", "my runs", "--resume"]
    expected = "python experiments/run.py --out 'my runs' --episodes 200 --resume"
    assert provenance.with_episodes(argv, 200) == expected
    assert provenance.with_episodes(["r.py", "--episodes=20"], 200) == "python r.py --episodes 200 --resume"
