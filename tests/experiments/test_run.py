"""The command line: bad input is one line, exit status 2, nothing on stdout, nothing written."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vlatency.experiments.run import Args, choose_films, resolve
from vlatency.experiments.shared import command, provenance
from vlatency.sim.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def typed(*args: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "80"}
    line = [sys.executable, str(ROOT / "experiments" / "run.py"), *args]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, env=env, timeout=120)


def test_help_answers_at_once() -> None:
    started = time.perf_counter()
    done = typed("--help")
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
    done = typed(*args, folder=tmp_path)
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
        (
            ["--encoding", "streams"],
            "and this is a CPU; encodings there are joint, batched, separate",
        ),
        (["--pool", "sum"], "mean, max, attention"),
        (["--attention", "linear"], "eager, sdpa, varlen, flash_attention_2, flash_attention_4"),
        (["--attention", "varlen"], "attentions there are eager, sdpa"),
        (["--quant", "int2"], "none, bnb-int8, bnb-nf4, int8-dynamic, fp8"),
        (["--compile", "cuda-graph"], "compiles there are none, compile"),
        (["--shortcuts", "prefix,magic"], "prefix, fused, device-views"),
        (["--preset", "slow"], "choose from fast"),
        (["--preset", "fast"], "attention varlen is torch's flash kernel for CUDA, and this is a CPU"),
        (["--reuse", "0"], "latest"),
        (["--reuse", "stagger", "--encoding", "joint"], "use encoding batched"),
        (["--latency", "fixed:-1,10"], "fixed:VL_MS,HEAD_MS"),
        (["--latency", "h300"], "insertion_vla"),
        (["--control-hz", "0"], "control-hz must be 0.1 to 500, not 0"),
        (["--control-hz", "nan"], "control-hz must be"),
        (["--episodes", "0"], "episodes must be at least 1, not 0"),
        (["--batch", "0"], "batch must be at least 1, not 0"),
        (["--device", "tpu"], "devices are cpu, cuda"),
        (["--videos", "-1"], "videos must be at least 0"),
        (["--seed", "-1"], "seed must be 0 to"),
        (["--execution", "jump"], "hold, chunk, switch, delay-aware, ensemble, roll-forward"),
        (["--execution", "rtc"], "add --head flow"),
        (["--head", "mouth"], "heads are regression, flow"),
        (["--servers", "three"], "servers are two, shared, shared-priority"),
        (["--perf-factor", "0"], "perf-factor must be above 0"),
        (["--camera-hz", "-3"], "camera-hz must be 0 (on demand) or 0.1 to 500, not -3"),
        (["--late", "never"], "choose from apply, drop"),
        (["--model", "gpt"], "models are tiny, tiny-s, qwen2-vl-2b, qwen2.5-vl-3b, qwen2.5-vl-7b, qwen3-vl-2b"),
        (["--model", "qwen2.5-vl-2b"], "there is no model 'qwen2.5-vl-2b'"),
        (
            ["--model", "qwen2.5-vl-3b"],
            "no trained policy ships for qwen2.5-vl-3b; give the folder of one with --policy",
        ),
        (["--model", "tiny", "--policy", "elsewhere"], "give --model or --policy, not both"),
    ],
)
def test_bad_values_name_the_good_ones(args: list[str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(command.parse(Args, args))
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_model_with_a_shipped_policy_is_that_policy() -> None:
    by_model, by_policy = (resolve(command.parse(Args, args)) for args in (["--model", "tiny"], ["--policy", "tiny"]))
    assert by_model == by_policy and by_model[1].name == "tiny"


def test_options_of_the_encode_change_the_setting_and_its_name() -> None:
    usual, _ = resolve(command.parse(Args, []))
    for args in (
        ["--quant", "fp8"],
        ["--attention", "eager"],
        ["--compile", "compile"],
        ["--encoding", "separate"],
        ["--shortcuts", "prefix"],
    ):
        setting, _ = resolve(command.parse(Args, args))
        assert setting.hash != usual.hash and f"-224-{args[1]}-" in setting.name
    both = [resolve(command.parse(Args, ["--shortcuts", text]))[0] for text in ("prefix,fused", "fused,prefix")]
    assert both[0] == both[1] and "-prefix+fused-" in both[0].name


def test_a_preset_on_a_gpu_is_the_options_it_stands_for() -> None:
    fast, _ = resolve(command.parse(Args, ["--preset", "fast", "--device", "cuda"]))
    options = "--attention varlen --quant fp8 --compile compile --shortcuts prefix,fused,device-views".split()
    assert fast == resolve(command.parse(Args, [*options, "--device", "cuda"]))[0]


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


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a policy that has learnt nothing: all that these tests need of it is its presence."""
    from vlatency.agent.vla.model.vla import VLA
    from vlatency.agent.vla.policy import VLAPolicy

    folder = tmp_path_factory.mktemp("untrained")
    VLAPolicy(VLA.tiny()).save_pretrained(folder)
    return folder


def test_what_only_a_worker_finds_is_one_line_too(untrained: Path, tmp_path: Path) -> None:
    weights = tmp_path / "policy" / "model.safetensors"
    shutil.copytree(untrained, weights.parent)
    weights.write_bytes(weights.read_bytes()[:1000])
    for args, says in (
        (["--policy", str(untrained), "--task", "belt"], "tasks are static"),
        (["--policy", str(untrained), "--speed", "0.1"], "tasks with one are conveyor, turntable"),
        (["--policy", str(weights.parent)], "model.safetensors is not a readable safetensors file"),
    ):
        done = typed(*args, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


@pytest.mark.slow
def test_a_run_from_start_to_end(untrained: Path, tmp_path: Path) -> None:
    args = [
        "--policy",
        str(untrained),
        "--views",
        "1",
        "--mode",
        "pause,async",
        "--latency",
        "none",
        "--videos",
        "1",
        "--trace",
    ]
    args += ["--episodes", "1", "--out", "run"]
    done = typed(*args, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pause    0/1" in done.stdout and "next: python" in done.stdout
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
    assert [line["mode"] for line in lines] == ["pause", "async"]
    assert lines[0]["trajectory_hash"] == lines[1]["trajectory_hash"]
    assert [path.name for path in (run / "videos").iterdir()] == ["async-10000-failure.mp4"]
    assert len(json.loads((run / "summary.json").read_text())["cells"]) == 2
    assert sorted(path.name for path in (run / "traces").iterdir()) == ["async-10000.json", "pause-10000.json"]
    names = [event["name"] for event in json.loads((run / "traces" / "async-10000.json").read_text())["traceEvents"]]
    assert names.count("encode") == lines[1]["encodes"]

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = typed(*args, folder=tmp_path)
    other = typed(*args, "--resume", "--res", "448", folder=tmp_path)
    assert (again.returncode, other.returncode) == (2, 2)
    assert "not empty" in again.stderr and "height (224 there, 448 here)" in other.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_episodes_depend_neither_on_the_number_of_workers_nor_on_the_batch_size(
    untrained: Path, tmp_path: Path
) -> None:
    args = ["--policy", str(untrained), "--views", "1", "--mode", "async", "--latency", "fixed:1500,300"]
    args += ["--execution", "delay-aware", "--servers", "shared", "--episodes", "3", "--videos", "0"]
    found = []
    for workers, batch in (("1", "1"), ("2", "2")):
        out = f"{workers}-{batch}"
        done = typed(*args, "--workers", workers, "--batch", batch, "--out", out, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        rows = [json.loads(line) for line in (tmp_path / out / "episodes.jsonl").read_text().splitlines()]
        found.append([{key: value for key, value in row.items() if key != "wall_s"} for row in rows])
    assert found[0] == found[1] and len(found[0]) == 3
