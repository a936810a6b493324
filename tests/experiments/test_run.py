"""The command line: bad input is one line, exit status 2, nothing on stdout, nothing written."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vlatency.experiments.shared import provenance

ROOT = Path(__file__).resolve().parents[2]


def typed(*args: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "80"}
    line = [sys.executable, str(ROOT / "experiments" / "run.py"), *args]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, env=env, timeout=120)


def test_help_answers_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = typed("--help")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.0
    assert done.returncode == 0 and "--swap-instruction" in done.stdout and not done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--bogus"], "--bogus"),
        (["--views", "three"], "--views"),
        (["--episodes"], "--episodes"),
        (["--mode", "fast"], "pause, sync, async, all"),
        (["--policy", "/nowhere"], "no policy folder '/nowhere'"),
    ],
)
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    done = typed(*args, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.gl
def test_what_only_a_worker_finds_is_one_line_too(untrained: Path, tmp_path: Path) -> None:
    weights = tmp_path / "policy" / "model.safetensors"
    shutil.copytree(untrained, weights.parent)
    weights.write_bytes(weights.read_bytes()[:1000])
    for args, says in (
        (["--policy", str(untrained), "--speed", "0.1"], "conveyor, turntable"),
        (["--policy", str(weights.parent)], "model.safetensors is not a readable safetensors file"),
    ):
        done = typed(*args, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


@pytest.mark.gl
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
    args += ["--episodes", "1", "--out", "my run"]
    done = typed(*args, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0/1" in done.stdout and "next: python" in done.stdout
    assert "--out 'my run' --episodes 10" in done.stdout and "experiments/report.py 'my run'" in done.stdout
    run = tmp_path / "my run"
    lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
    assert [line["mode"] for line in lines] == ["pause", "async"]
    assert lines[0]["trajectory_hash"] == lines[1]["trajectory_hash"]
    assert [path.name for path in (run / "videos").iterdir()] == ["async-10000-failure.mp4"]
    assert len(json.loads((run / "summary.json").read_text())["results"]) == 2
    assert sorted(path.name for path in (run / "traces").iterdir()) == ["async-10000.json", "pause-10000.json"]
    names = [event["name"] for event in json.loads((run / "traces" / "async-10000.json").read_text())["traceEvents"]]
    assert names.count("encode") == lines[1]["encodes"]

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = typed(*args, folder=tmp_path)
    other = typed(*args, "--resume", "--res", "448", folder=tmp_path)
    assert (again.returncode, other.returncode) == (2, 2)
    assert "not empty" in again.stderr and "height (224 there, 448 here)" in other.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.gl
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
        found.append([{key: value for key, value in row.items() if key not in ("wall_s", "check")} for row in rows])
    assert found[0] == found[1] and len(found[0]) == 3
