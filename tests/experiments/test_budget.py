"""The command that searches a limit: every axis, kill and resume, and what it refuses. Its episodes are made up."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.builders.sweeps import SOFTWARE
from vlatency.experiments.budget import Args, main
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.facts import Facts
from vlatency.experiments.evaluation.options import EngineOptions
from vlatency.experiments.shared.command import parse
from vlatency.experiments.sweeps.limit_search import AXES, RECORD
from vlatency.sim.errors import UsageError


class Killed(Exception):
    """Ends a search in the middle."""


class InProcess:
    """An engine without processes, on which episodes succeed until the limit of each axis."""

    def __init__(self, die_after: int = 10**9) -> None:
        self.jobs: list[Job] = []
        self.die_after = die_after

    def call(self, function: Callable[[Job], Any], job: Job) -> Facts:
        return Facts("Pick it up", (640, 360), SOFTWARE, "stand-in", 0, None)

    def map(self, function: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[dict[str, Any]]:
        for job in jobs:
            if len(self.jobs) >= self.die_after:
                raise Killed
            self.jobs.append(job)
            timing, speed = job.setting.timing, job.setting.speed
            late = timing.latency.vl_ms > 700 or timing.latency.head_ms > 120
            late |= timing.robot.camera_delay_ms > 300 or timing.robot.actuation_ms > 200 or (speed or 0) > 0.07
            yield {"success": random.Random(job.seed).random() < (0.2 if late else 0.98)}


def searched(monkeypatch: pytest.MonkeyPatch, args: list[str], die_after: int = 10**9) -> InProcess:
    engine = InProcess(die_after)

    @contextmanager
    def opened(self: EngineOptions, gpu: bool) -> Iterator[InProcess]:
        yield engine

    monkeypatch.setattr(EngineOptions, "open", opened)
    main(parse(Args, args))
    return engine


@pytest.mark.parametrize(
    ("axis", "limit", "more"),
    [
        ("vl-latency", 700, []),
        ("head-latency", 120, []),
        ("camera-delay", 300, []),
        ("actuation", 200, []),
        ("speed", 0.07, ["--task", "conveyor", "--latency", "fixed:100,11"]),
    ],
)
def test_the_limit_of_each_axis_is_found(
    axis: str, limit: float, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    engine = searched(monkeypatch, ["--axis", axis, "--out", str(tmp_path), *more])
    said = capsys.readouterr().out
    found = next(line for line in said.splitlines() if line.startswith("limit")).split()
    low, high = float(found[1]), float(found[3])
    assert low <= limit <= high
    assert high - low <= (AXES["vl-latency"].high if axis == "vl-latency" else 1e9) / 16 + 1e-6
    assert len(engine.jobs) < 600
    assert f"{len(engine.jobs)} episodes" in said


def test_no_scene_is_used_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [job.seed for job in searched(monkeypatch, ["--out", str(tmp_path)]).jobs]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("die_after", [0, 7, 10, 55])
def test_killed_anywhere_a_search_goes_on_and_ends_equal(
    die_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = searched(monkeypatch, ["--out", str(tmp_path / "whole")])
    with pytest.raises(Killed):
        searched(monkeypatch, ["--out", str(tmp_path / "cut")], die_after)
    rest = searched(monkeypatch, ["--out", str(tmp_path / "cut")])
    assert (tmp_path / "cut" / RECORD).read_text() == (tmp_path / "whole" / RECORD).read_text()
    assert [job.seed for job in rest.jobs] == [job.seed for job in whole.jobs][die_after // 10 * 10 :]


def test_a_finished_search_goes_on_with_more_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ["--out", str(tmp_path), "--most"]
    assert len(searched(monkeypatch, [*args, "20"]).jobs) == 20
    assert len(searched(monkeypatch, [*args, "20"]).jobs) == 0
    assert len(searched(monkeypatch, [*args, "50"]).jobs) == 30


def test_a_search_declared_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched(monkeypatch, ["--out", str(tmp_path), "--most", "10"])
    for other in (["--min-success", "0.8"], ["--axis", "actuation"], ["--task", "shape"], ["--high", "800"]):
        with pytest.raises(UsageError, match="another"):
            searched(monkeypatch, ["--out", str(tmp_path), *other])
    (tmp_path / RECORD).write_text(json.dumps({"axis": "x"}) + "\n{")
    with pytest.raises(UsageError, match="cannot be used"):
        searched(monkeypatch, ["--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--latency", "fixed:x"], "fixed"),
        (["--mode", "sync,async"], "one mode"),
        (["--mode", "pause"], "pause"),
        (["--min-success", "1"], "min-success"),
        (["--low", "500", "--high", "100"], "below high"),
        (["--width", "1"], "width"),
        (["--most", "5"], "most"),
        (["--axis", "camera-delay", "--high", "20000"], "camera-delay"),
        (["--policy", "nobody"], "nobody"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    args: list[str], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=word) as error:
        searched(monkeypatch, [*args, "--out", str(tmp_path)])
    assert "\n" not in str(error.value)
    assert not (tmp_path / RECORD).exists()


def test_all_axes_end_in_one_figure_the_worst_millisecond_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    searched(monkeypatch, ["--all-axes", "--out", str(tmp_path), "--latency", "fixed:100,11"])
    bars = capsys.readouterr().out.splitlines()[-5:-1]
    assert [line.split()[0] for line in bars] == ["head-latency", "actuation", "camera-delay", "vl-latency"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(line.split()[0] for line in bars)
    lengths = [line.count("#") for line in bars]
    assert lengths == sorted(lengths)


def test_what_is_not_varied_stays_as_the_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = searched(monkeypatch, ["--axis", "head-latency", "--latency", "fixed:150,30", "--out", str(tmp_path)]).jobs
    assert {job.setting.timing.latency.vl_ms for job in jobs} == {150}
    assert len({job.setting.timing.latency.head_ms for job in jobs}) > 2
