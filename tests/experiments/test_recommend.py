"""A recommendation rests on measured cells, and says so when they cannot carry one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.studies import FAST, LATE, SHIP, write_sweep
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import Charged, parse_latency
from vlatency.agent.realtime.cost.schema import CONTENTION
from vlatency.experiments.analysis.paired import wilson
from vlatency.experiments.recommend import Args, find_device, main
from vlatency.experiments.reporting.candidates import dominated, make_options, rank
from vlatency.experiments.reporting.interpolation import Measured, believe, cliff, read_cells
from vlatency.experiments.reporting.recommendation import needed
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        for name, spec in (("ship", SHIP), ("late", LATE), ("fast", FAST)):
            write_sweep(root, name, spec)
    (root / "gpu.json").write_text(json.dumps(PROFILE))
    return root


def ask(root: Path, capsys: pytest.CaptureFixture[str], device: str, **options: Any) -> dict[str, str]:
    """What was printed: the answer and the lines behind it by title, the table as "table"."""
    main(Args(device, cells=str(root / "cells"), **options))
    table, _, advice = capsys.readouterr().out.partition("\n\n")
    return {"table": table} | {line[:8].strip(): line[8:] for line in advice.splitlines()}


def test_three_devices_get_their_answers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"task": "conveyor", "min_success": 0.8}
    gpu = ask(root, capsys, str(root / "gpu.json"), **asked)
    assert gpu["answer"].startswith("ship 3 views, 224 px, batched, async (") and "VL p95    50 ms" in gpu["table"]
    assert gpu["margin"].startswith("holds until VL p95 is ") and gpu["margin"].endswith("this device takes 50 ms")
    assert "a VL p95 above " in gpu["flips"] and "a made-up GPU, measured" in gpu["behind"]
    assert "measured with a head of 11 ms, this device takes 3" in gpu["behind"]
    assert gpu["cells"] == "measured by python experiments/sweep.py made-up" and gpu["again"].startswith("python ")
    recorded = ask(root, capsys, "insertion_vla", **asked)
    assert recorded["answer"].startswith("ship ") and "dominated by 1" in recorded["table"]
    assert "too slow" in recorded["table"] and "stand-in for Qwen2.5-VL-3B" in recorded["behind"]
    slow = ask(root, capsys, "fixed:800,11", **asked)
    assert slow["answer"].startswith("cannot tell: the best that keeps up is 3 views") and "below 80%" in slow["answer"]
    assert slow["answer"].endswith("but 5 views, 224 px, batched, async was measured at shorter latencies only")


def test_none_is_said_only_where_all_that_keep_up_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path, "late", LATE)
    slow = ask(tmp_path, capsys, "fixed:800,11", task="conveyor", min_success=0.8)
    assert slow["answer"].startswith("none: the best that keeps up is 3 views") and slow["answer"].endswith("below 80%")


def test_few_episodes_cannot_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, "few", {**LATE, "episodes": 5})
    said = ask(tmp_path, capsys, "fixed:200,11")
    assert said["answer"].startswith("cannot tell: 3 views, 224 px, batched, async (100 % [57, 100], n = 5)")
    assert said["answer"].endswith("about 35 episodes would tell with a chance of 80%, if that is its rate")


def test_what_was_never_measured_is_not_made_up(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask(root, capsys, "insertion_vla", task="turntable")["answer"]
    assert said.startswith("cannot tell: nothing is measured on turntable at 10 Hz")
    said = ask(root, capsys, "insertion_vla", task="conveyor", speed=0.05)["answer"]
    assert said.endswith("(its measured speeds are 0, 0.04, 0.08, 0.15)")
    assert ask(root, capsys, "insertion_vla", task="turntable")["next"] == "python experiments/sweep.py budgets"
    assert "speed" in ask(root, capsys, "insertion_vla", task="conveyor", speed=0.05)["next"]
    assert "no sweep that ships" in ask(root, capsys, "insertion_vla", task="conveyor", speed=0.06)["next"]
    assert "next" not in ask(root, capsys, "insertion_vla", task="conveyor")
    with pytest.raises(UsageError, match="--cells: there is no folder"):
        ask(root / "none", capsys, "insertion_vla")
    beyond = ask(root, capsys, "fixed:5000,11")
    assert (
        beyond["answer"] == "cannot tell: every configuration was measured at shorter latencies than this device's only"
    )
    assert "not measured at this latency, only from 0 to 800 ms" in beyond["table"]


def test_a_device_faster_than_all_measured_does_at_least_as_well(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ask(root, capsys, "h100", task="conveyor", min_success=0.8)
    assert said["answer"].startswith("ship ") and "not measured" not in said["table"]
    assert said["answer"].endswith(", if its real VL p95 stays below 400 ms: no device beats its roofline")
    assert "VL p95 at least" in said["table"] and "enough at best" in said["table"]
    assert "ms at best" in said["margin"]
    assert "(at least 40/40 at VL p95 116 ms)" in said["table"] and "roofline" in said["behind"]


def test_a_faster_belt_can_flip_the_answer(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask(root, capsys, "fixed:400,11", task="conveyor", speed=0.0, min_success=0.8)
    assert said["answer"].startswith("ship") and "; --speed 0.08, where success is " in said["flips"]
    assert said["margin"].startswith("holds at all tested VL p95, up to 400 ms")


def test_cells_of_other_software_are_not_used_and_said_to_be_there(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path, "late", {**LATE, "episodes": 5})
    path = sorted(tmp_path.glob("cells/*/config.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"software": {"gl_renderer": "another"}}))
    os.utime(path, (1, 1))
    assert (len(read_cells(tmp_path / "cells")[0]), read_cells(tmp_path / "cells")[1]) == (7, 1)
    assert "note: 1 cells come from other software" in ask(tmp_path, capsys, "fixed:200,11")["table"]


def cell(p95_ms: float, k: int, n: int, **setting: Any) -> Measured:
    whole = {"optimization": {"width": 224, "height": 224, "cameras": ["top"], "encoding": "batched"}, **setting}
    return Measured(
        whole, Charged(p95_ms, p95_ms, 11), k, n, "command", {"folder": "tiny", "parameters": 1, "stand_in": True}
    )


def test_between_two_latencies_only_monotony_is_taken_for_granted() -> None:
    cells = [cell(0, 20, 20), cell(400, 10, 20)]
    found = believe(cells, Charged(100, 100, 11))
    assert found and found.success.estimate == pytest.approx(0.875)
    assert (found.success.low, found.success.high) == (wilson(10, 20).low, wilson(20, 20).high)
    assert found.describe() == "between 20/20 at VL p95 0 ms and 10/20 at VL p95 400 ms"
    at = believe(cells, Charged(401, 401, 11))
    assert at and at.cells == (cells[1],)
    bound = believe(cells[1:], Charged(100, 100, 11))
    assert bound and (bound.success.low, bound.success.high) == (wilson(10, 20).low, 1.0)
    assert bound.describe() == "at least 10/20 at VL p95 400 ms"
    assert believe(cells, Charged(500, 500, 11)) is None


@pytest.mark.parametrize("device", [Charged(100, 100, 30), Charged(100, 500, 11), Charged(500, 100, 11)])
def test_a_cell_vouches_only_for_a_device_that_is_no_slower_in_anything(device: Charged) -> None:
    assert believe([cell(400, 20, 20)], device) is None


def test_a_cell_of_the_same_encode_with_a_slower_head_is_a_bound() -> None:
    found = believe([cell(400, 20, 20)], Charged(400, 400, 3))
    assert found and found.how == "at least"


def test_what_is_charged_are_percentiles_of_preprocessing_and_encode_times_the_factor(tmp_path: Path) -> None:
    (tmp_path / "gpu.json").write_text(json.dumps(PROFILE))
    optimization = Optimization(cameras=("top", "wrist", "front"), width=224, height=224, encoding="batched")
    model = parse_latency(str(tmp_path / "gpu.json"), optimization, 2.0)
    assert model.charged == Charged(60.0, 100.0, 6.0)


def test_recommend_reads_what_was_charged_and_not_the_profile_of_today(tmp_path: Path) -> None:
    write_sweep(tmp_path, "late", {**LATE, "episodes": 2})
    path = sorted(tmp_path.glob("cells/*/config.json"))[0]
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"charged": {"vl_p50_ms": 1.0, "vl_p95_ms": 2.0, "head_ms": 3.0}}))
    assert Charged(1.0, 2.0, 3.0) in [each.charged for each in read_cells(tmp_path / "cells")[0]]
    del config["charged"]
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"config\.json cannot be used.*remove the folder"):
        read_cells(tmp_path / "cells")


def test_the_policy_asked_about_is_the_only_one_that_answers(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask(root, capsys, "insertion_vla", task="conveyor", policy="tiny-lite0")
    assert said["answer"].startswith("cannot tell: nothing is measured") and "of other policies" in said["table"]


def test_the_cliff_needs_two_latencies() -> None:
    assert cliff([cell(100, 5, 20)], 0.5) is None
    fall = cliff([cell(0, 20, 20), cell(200, 19, 20), cell(400, 2, 20)], 0.5)
    assert fall and fall.estimate is not None and (fall.low, fall.high) == (200, 400)


def test_an_option_is_struck_out_only_by_one_that_is_told_to_be_better_and_is_no_slower() -> None:
    settings = {"servers": "two", "reuse": "latest", "policy_sha256": "ab"}
    cells = [cell(100, k, 20, modes=[mode], **settings) for k, mode in ((18, "async"), (20, "sync"), (5, "sync"))]
    options = make_options(cells[:2], "fixed:100,11") + make_options(cells[2:], "fixed:100,11")
    assert dominated(options) == [None, None, 0]  # 18 of 20 is not told from 20 of 20
    # Of what is only known to be at least so good, nobody knows that it is worse.
    assert dominated([*options[:2], *make_options(cells[2:], "fixed:90,11")]) == [None, None, None]
    assert [option.rate_hz >= 10 for option in rank(options, 10.0)] == [True, False, False]


def test_a_bound_is_called_one_wherever_the_option_is_named() -> None:
    settings = {"servers": "two", "reuse": "latest", "policy_sha256": "ab", "modes": ["async"]}
    (option,) = make_options([cell(400, 20, 20, **settings)], "fixed:100,11")
    assert "(at least 100 % [84, 100], n = 20)" in option.describe()


def test_on_one_gpu_the_head_keeps_less_of_a_pace_while_an_encode_runs() -> None:
    rates = {}
    for servers in ("one", "two"):
        settings = {"servers": servers, "reuse": "latest", "policy_sha256": "ab", "modes": ["async"]}
        (option,) = make_options([cell(100, 20, 20, **settings)], "fixed:100,11")
        rates[servers] = option.rate_hz
    assert rates["two"] == pytest.approx(CONTENTION * rates["one"])


def test_the_episodes_said_to_be_needed_tell_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(3)
    for rate in (0.97, 0.8):
        n = needed(rate, 0.9)
        assert n
        told = 0
        for k in rng.binomial(n, rate, 2000):
            interval = wilson(int(k), n)
            told += interval.low >= 0.9 if rate > 0.9 else interval.high < 0.9
        assert 0.77 < told / 2000 < 0.88
    assert needed(1.0, 0.9) == 35 and needed(0.9, 0.9) is None


def test_a_device_may_be_a_profile_or_of_the_roofline() -> None:
    assert find_device("insertion_vla") == "insertion_vla"
    with pytest.raises(UsageError, match="unknown latency 'abacus'.*insertion_vla"):
        find_device("abacus")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--device", "abacus"], "unknown latency 'abacus'"),
        (["--device", "insertion_vla", "--min-success", "90"], "min-success must be above 0 and below 1, not 90"),
        (["--device", "insertion_vla", "--control-hz", "0"], "control-hz must be 0.1 to 500"),
        (["--device", "insertion_vla", "--task", "belt"], "unknown task 'belt'"),
        (["--device", "insertion_vla", "--speed", "0.1"], "in task 'static'"),
        ([], "--device"),
    ],
)
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    line = [sys.executable, str(root / "experiments" / "recommend.py"), *args]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1 and says in done.stderr
