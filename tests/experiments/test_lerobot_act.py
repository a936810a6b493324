"""Training LeRobot's ACT on MetaWorld's scripts."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from vlatency.experiments.lerobot_act import Args, main
from vlatency.experiments.shared.files import ROOT
from vlatency.sim.errors import UsageError

LEROBOT = ROOT / ".venv-lerobot/bin/python"
SHIPPED = ROOT / "assets/policies/act-metaworld"


def test_where_lerobot_is_missing_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make act"):
        main(Args(out=tmp_path))
    assert not any(tmp_path.iterdir())


def test_what_ships_says_where_it_comes_from_and_is_small() -> None:
    tasks = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
    assert tasks == sorted(Args().tasks)
    for task in tasks:
        record = json.loads((SHIPPED / task / "training.json").read_text())
        assert record["task"] == task
        assert record["demonstration_seed"] > record["held_out_seed"]
        assert 0 <= record["held_out_successes"] <= record["arguments"]["held_out"]
        assert sum(path.stat().st_size for path in (SHIPPED / task).iterdir()) < 3e6


@pytest.mark.lerobot
@pytest.mark.slow
@pytest.mark.skipif(not LEROBOT.exists(), reason="needs .venv-lerobot (make lerobot)")
def test_a_policy_is_trained_once_and_its_folder_is_what_lerobot_loads(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".venv/typing")}
    command = [str(LEROBOT), "-W", "ignore", str(ROOT / "experiments/lerobot_act.py"), "--tasks", "reach-v3"]
    command += ["--out", str(tmp_path), "--demonstrations", "2", "--steps", "2", "--held-out", "1"]
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "finished before" in done.stdout
    record = json.loads((tmp_path / "reach-v3/training.json").read_text())
    assert record["script_successes"] == 2
    assert json.loads((tmp_path / "reach-v3/config.json").read_text())["type"] == "act"
