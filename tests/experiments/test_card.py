"""A model card says what runs and sweeps of that very policy measured, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders.studies import run_row, write_run
from tests.builders.sweeps import SETTING, SOFTWARE, measured
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.execution import RealTimeChunking
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.card import Args, main
from vlatency.experiments.evaluation.policies import hash_policy
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.study import summarize_sweep, write_sweep
from vlatency.experiments.sweeps.plan import AS_IS, Cell, Plan
from vlatency.experiments.training.history import HISTORY_FILE
from vlatency.sim.errors import UsageError

BEGINNING = {
    "command": "python experiments/train.py",
    "config": {"seed": 3},
    "moments": 40,
    "score": {"target_cm_median": 0.75},
    "versions": {"torch": "2.13.0"},
}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return make_policy(tmp_path / "mine", [BEGINNING])


def make_policy(folder: Path, history: list[dict[str, Any]], **config: Any) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(folder.name.encode())
    (folder / HISTORY_FILE).write_text(json.dumps(history))
    (folder / "config.json").write_text(PolicyConfig(flow_width=288, **config).to_json())
    return folder


def setting_of(sha256: str) -> Setting:
    timing = Timing(actions=SETPOINTS, mode="async", latency=FixedLatency(400, 11), execution=RealTimeChunking())
    optimization = Optimization(cameras=("top", "wrist"), width=112, height=112)
    return replace(
        SETTING,
        task="conveyor",
        speed=0.05,
        optimization=optimization,
        timing=timing,
        head="flow",
        policy_sha256=sha256,
    )


def make_run(folder: Path, sha256: str, **change: Any) -> Path:
    """Three of four succeed."""
    rows = [run_row("async", 10_000 + seed, seed != 3, 500.0, 0) for seed in range(4)]
    setting = replace(setting_of(sha256), **change)
    about = {"name": "assets/policies/tiny", "kind": "stand-in", "parameters": 1_900_000}
    command = "python experiments/run.py --task conveyor"
    return write_run(folder, rows, [setting], command=command, policy=about, episodes=4).path


def make_sweep(root: Path, *policies: Path) -> Path:
    """A sweep that compares policies."""
    place = (("task", "static"),)
    cells = tuple(Cell(place, p.name, AS_IS, replace(SETTING, policy_sha256=hash_policy(p)), str(p)) for p in policies)
    plan = Plan("controls", "what black images leave", 2, 1, tuple(p.name for p in policies), (place,), cells)
    store = measured(plan, root / "cells")
    assert store.software == SOFTWARE
    return write_sweep(summarize_sweep(plan, store, "python experiments/sweep.py controls"), store)


def test_a_card_holds_the_runs_figures_and_commands(policy: Path, tmp_path: Path) -> None:
    main(Args(policy, (make_run(tmp_path / "run", hash_policy(policy), blackout=True),)))
    said = (policy / "README.md").read_text()
    (row,) = (line for line in said.splitlines() if line.startswith("| conveyor at 0.05 m/s"))
    assert "| async, head flow; execution rtc | 2, 112x112 | fixed:400,11 | black images |" in row
    assert row.endswith("| 3/4 | 30.1 to 95.4 % | 3.1 s |")
    assert "    python experiments/run.py --task conveyor" in said.splitlines()
    assert "1.90 M parameters" in said and "target_cm_median 0.75" in said and "flow matching" in said


def test_the_example_of_a_card_imports_what_there_is(policy: Path, tmp_path: Path) -> None:
    main(Args(policy, (make_run(tmp_path / "run", hash_policy(policy)),)))
    lines = [line.strip() for line in (policy / "README.md").read_text().splitlines()]
    imports = [line for line in lines if line.startswith("from vlatency.")]
    assert len(imports) == 2
    for line in imports:
        exec(line)


def test_a_card_says_what_began_with_published_weights(tmp_path: Path) -> None:
    eyes = {"stem_channels": 0, "vision_encoder": "efficientnet-lite0", "vision_weights": "runs/efficientnet-lite0"}
    seeing = make_policy(tmp_path / "seeing", [BEGINNING], **eyes)
    main(Args(seeing, (make_run(tmp_path / "run", hash_policy(seeing)),)))
    said = (seeing / "README.md").read_text()
    assert "not trained from scratch: efficientnet-lite0" in said and "convolutions" not in said


def test_a_run_of_other_weights_is_refused(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a run of other weights"):
        main(Args(policy, (make_run(tmp_path / "run", "another"),)))
    assert not (policy / "README.md").exists()


def test_a_card_needs_a_run(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name at least one run"):
        main(Args(policy, (make_sweep(tmp_path / "runs", policy),)))


def test_a_sweep_stands_there_as_it_is_printed(policy: Path, tmp_path: Path) -> None:
    grown = make_policy(tmp_path / "grown", [BEGINNING, BEGINNING])
    sweep = make_sweep(tmp_path / "runs", policy, grown)
    main(Args(policy, (make_run(tmp_path / "run", hash_policy(policy)), sweep)))
    said = (policy / "README.md").read_text()
    assert "## What black images leave" in said and "    python experiments/sweep.py controls\n" in said
    assert "grown against mine" in said and "2/2" in said


def test_a_sweep_of_an_unrelated_policy_is_refused(policy: Path, tmp_path: Path) -> None:
    stranger = make_policy(tmp_path / "stranger", [{**BEGINNING, "moments": 41}])
    with pytest.raises(UsageError, match="stranger, which was not trained from this policy"):
        main(Args(policy, (make_sweep(tmp_path / "runs", policy, stranger),)))
