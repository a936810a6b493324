"""The command recommend.py: a recommendation rests on measured cells, and says so when they cannot carry one."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders import studies
from tests.builders.studies import FAST, LATE, SHIP, write_sweep
from vlatency.experiments.recommend import Args, main
from vlatency.experiments.reporting import recommendation
from vlatency.experiments.reporting.question import Question
from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.sweeps.plan_file import presets
from vlatency.sim.errors import UsageError

PROFILE: dict[str, Any] = {
    "device": "a made-up GPU",
    "head_ms": 3,
    "overhead_ms": 1,
    "realised_tflops": 20,
    "encode": [
        {"views": 3, "width": 224, "height": 224, "encoding": "batched", "p50_ms": 30, "p95_ms": 50, "p99_ms": 60}
    ],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for name, spec in (("ship", SHIP), ("late", LATE), ("fast", FAST)):
        write_sweep(root, name, spec)
    (root / "gpu.json").write_text(json.dumps(PROFILE))
    return root


@pytest.fixture(autouse=True)
def few_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sixteen take seconds to plan."""
    few = {name: path for name, path in presets().items() if name in ("ablations", "reuse", "speed")}
    monkeypatch.setattr(recommendation, "presets", lambda: few)


def ask(root: Path, capsys: pytest.CaptureFixture[str], device: str, **options: Any) -> dict[str, str]:
    """What was printed: the answer and the lines behind it by title, the table as "table"."""
    main(Args(Question(device, cells=root / "cells", **options)))
    table, _, advice = capsys.readouterr().out.partition("\n\n")
    return {"table": table} | {line[:8].strip(): line[8:] for line in advice.splitlines()}


def test_three_devices_get_their_answers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"task": "conveyor", "min_success": 0.8}
    gpu = ask(root, capsys, str(root / "gpu.json"), **asked)
    assert gpu["answer"].startswith("ship 3 views, 224 px, batched, async (") and " 50 " in gpu["table"]
    assert re.search(r"VL p95 of \d+ ms", gpu["margin"]) and gpu["margin"].endswith("this device takes 50 ms")
    assert "a VL p95 above " in gpu["flips"] and "a made-up GPU, measured" in gpu["behind"]
    assert "measured with a head of 11 ms, this device takes 3" in gpu["behind"]
    assert "python experiments/sweep.py made-up" in gpu["cells"] and gpu["again"].startswith("python ")
    recorded = ask(root, capsys, "insertion_vla", **asked)
    assert recorded["answer"].startswith("ship ") and "dominated by 1" in recorded["table"]
    assert " no " in recorded["table"] and "stand-in for Qwen2.5-VL-3B" in recorded["behind"]
    slow = ask(root, capsys, "fixed:800,11", **asked)
    assert slow["answer"].startswith("cannot tell: the best that keeps up is 3 views") and "below 80%" in slow["answer"]
    assert "5 views, 224 px, batched, async" in slow["answer"] and "shorter latencies only" in slow["answer"]


SAME: dict[str, Any] = {
    "device": "a made-up GPU",
    "overhead_ms": 1,
    "realised_tflops": 20,
    "head": {"samples_ms": [10.0] * 100},
    "encode": [
        {"views": 3, "width": 224, "height": 224, "encoding": "batched", "samples_ms": [300.0] * 100},
    ],
}
RARE = [{**SAME["encode"][0], "samples_ms": [300.0] * 96 + [9000.0] * 4}]


@pytest.mark.parametrize(
    ("change", "slower"),
    [
        ({"cold_start_ms": 11_900}, "the first encode"),
        ({"encode": RARE}, "the encode at the slowest 4 %"),
        ({"head": {"samples_ms": [10.0] * 51 + [5000.0] * 49}}, "keeps 10 Hz"),
        ({"contention": 2.4}, "contention 2.4"),
    ],
)
def test_what_its_cells_were_spared_is_not_shipped(
    change: dict[str, Any],
    slower: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(studies, "chance", lambda job: float(job.seed % 100 > 0))
    measured, other = tmp_path / "measured.json", tmp_path / "other.json"
    measured.write_text(json.dumps({**SAME, "contention": 1.0}))
    other.write_text(json.dumps({**SAME, "contention": 1.0, **change}))
    common = {"latency": str(measured), "mode": "async", "views": 3, "res": 224}
    write_sweep(tmp_path, "one", {"episodes": 400, "common": common, "arms": {"only": {}}})
    assert ask(tmp_path, capsys, str(measured))["answer"].startswith("ship 3 views, 224 px, batched, async (99 %")
    said = ask(tmp_path, capsys, str(other))
    assert slower in said.get("because", said["answer"]) and not said["answer"].startswith("ship")
    assert "keeps 10 Hz" in slower or (said["answer"].startswith("cannot tell") and str(other) in said["next"])


def test_cells_of_a_profile_that_was_edited_since_are_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "gpu.json"
    profile.write_text(json.dumps(SAME))
    common = {"latency": str(profile), "mode": "async", "views": 3, "res": 224}
    write_sweep(tmp_path, "one", {"episodes": 40, "common": common, "arms": {"only": {}}})
    profile.write_text(json.dumps({**SAME, "cold_start_ms": 11_900}))
    said = ask(tmp_path, capsys, str(profile))
    assert said["answer"].startswith("cannot tell: 3 views") and "note: 1 cell" in said["table"]
    assert "has changed" in said["because"] and str(profile) in said["next"]


def test_none_is_said_only_where_all_that_keep_up_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path, "late", LATE)
    slow = ask(tmp_path, capsys, "fixed:800,11", task="conveyor", min_success=0.8)
    assert slow["answer"].startswith("none: the best that keeps up is 3 views") and slow["answer"].endswith("below 80%")


def test_few_episodes_cannot_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, "few", {**LATE, "episodes": 5})
    said = ask(tmp_path, capsys, "fixed:200,11")
    assert said["answer"].startswith("cannot tell: 3 views, 224 px, batched, async (100 % [48, 100], n = 5)")
    assert "about 36 episodes" in said["answer"]


@pytest.mark.slow
def test_what_was_never_measured_is_not_made_up(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask(root, capsys, "insertion_vla", task="turntable")["answer"]
    assert said.startswith("cannot tell: nothing is measured on turntable at 10 Hz")
    said = ask(root, capsys, "insertion_vla", task="conveyor", speed=0.05)["answer"]
    assert "0, 0.04, 0.08, 0.15" in said
    assert "sweep.py speed" in ask(root, capsys, "insertion_vla", task="conveyor", speed=0.05)["next"]
    assert "no sweep that ships" in ask(root, capsys, "insertion_vla", task="conveyor", speed=0.06)["next"]
    assert "next" not in ask(root, capsys, "insertion_vla", task="conveyor", min_success=0.8)
    with pytest.raises(UsageError, match="--cells: there is no folder"):
        ask(root / "none", capsys, "insertion_vla")
    beyond = ask(root, capsys, "fixed:5000,11")
    assert beyond["answer"].startswith("cannot tell: ") and "shorter latencies" in beyond["answer"]
    assert "not measured" in beyond["table"] and "only 0 to 800 ms" in beyond["table"]


def test_a_device_faster_than_all_measured_does_at_least_as_well(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ask(root, capsys, "h100", task="conveyor", min_success=0.8)
    assert said["answer"].startswith("ship ") and "not measured" not in said["table"]
    assert "stays below 400 ms" in said["answer"] and "roofline" in said["answer"]
    assert ">= " in said["table"] and "yes at best" in said["table"]
    assert "ms at best" in said["margin"]
    assert "at least 40/40 at 116 ms" in said["table"] and "roofline" in said["behind"]


def test_a_faster_belt_can_flip_the_answer(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask(root, capsys, "fixed:400,11", task="conveyor", speed=0.0, min_success=0.8)
    assert said["answer"].startswith("ship") and "; --speed 0.08, where success is " in said["flips"]
    assert "every tested VL p95, up to 400 ms" in said["margin"]


def test_the_policy_asked_about_is_the_only_one_that_answers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask(root, capsys, "insertion_vla", task="conveyor", policy="tiny-lite0")
    assert said["answer"].startswith("cannot tell: nothing is measured") and "of other policies" in said["table"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--device", "abacus"], "unknown latency 'abacus'"),
        (["--device", "insertion_vla", "--min-success", "90"], "min-success must be above 0 and below 1, not 90"),
        (["--device", "insertion_vla", "--control-hz", "0"], "control-hz must be 0.1 to 500"),
        (["--device", "insertion_vla", "--task", "belt"], "belt"),
        (["--device", "insertion_vla", "--speed", "0.1"], "in task 'static'"),
        ([], "--device"),
    ],
)
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "experiments" / "recommend.py"), *args]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1 and says in done.stderr
