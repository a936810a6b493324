"""A model card says what runs and sweeps of that very policy measured, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.experiments import card
from vlatency.experiments.evaluation.setting import hash_policy
from vlatency.experiments.training.history import HISTORY_FILE
from vlatency.sim.errors import UsageError

BEGINNING = {
    "command": "python experiments/train.py",
    "config": {"seed": 3},
    "moments": 40,
    "score": {"target_cm_median": 0.75},
    "versions": {"torch": "2.13.0"},
}
TABLE = "task static\n  arm     k/n\n  all   38/40"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return make_policy(tmp_path / "mine", [BEGINNING])


def make_policy(folder: Path, history: list[dict[str, Any]], **config: Any) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(folder.name.encode())
    (folder / HISTORY_FILE).write_text(json.dumps(history))
    (folder / "config.json").write_text(PolicyConfig(flow_width=288, **config).to_json())
    return folder


def make_run(folder: Path, sha256: str, **setting: Any) -> Path:
    folder.mkdir(parents=True)
    whole = {
        "task": "conveyor",
        "optimization": {"cameras": ["top", "wrist"], "width": 112, "height": 112},
        "policy_sha256": sha256,
        "blackout": False,
        "swap_instruction": False,
        "speed": 0.05,
        "latency": "fixed:400,11",
        "head": "flow",
        "execution": "rtc",
    } | setting
    config = {
        "command": "python experiments/run.py --task conveyor",
        "setting": whole,
        "machine": {"cores": 2},
        "gl_renderer": "llvmpipe",
        "policy": {"parameters": 1_900_000},
    }
    cell = {"mode": "async", "k": 3, "n": 4, "ci_low": 0.3, "ci_high": 0.954, "time_to_success_s": 2.25}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").write_text(json.dumps({"cells": [cell]}))
    return folder


def make_sweep(root: Path, policies: dict[str, str]) -> Path:
    """A sweep whose cells are of these policies, each a folder and its hash."""
    cells = []
    for number, (folder, sha256) in enumerate(policies.items()):
        cells.append({"folder": f"cell{number}", "setting": {"policy_sha256": sha256}})
        (root / "cells" / f"cell{number}").mkdir(parents=True)
        (root / "cells" / f"cell{number}" / "config.json").write_text(json.dumps({"policy": {"folder": folder}}))
    sweep = {"about": "what black images leave", "command": "python experiments/sweep.py controls", "cells": cells}
    (root / "sweep-controls").mkdir()
    (root / "sweep-controls" / "sweep.json").write_text(json.dumps(sweep))
    (root / "sweep-controls" / "summary.md").write_text(f"# controls\n\n```\n{TABLE}\n```\n")
    return root / "sweep-controls"


def test_a_card_holds_the_runs_figures_and_commands(policy: Path, tmp_path: Path) -> None:
    card.main(card.Args(policy, (make_run(tmp_path / "run", hash_policy(policy), blackout=True),)))
    text = (policy / "README.md").read_text()
    (row,) = (line for line in text.splitlines() if line.startswith("| conveyor at 0.05 m/s"))
    assert "| async, head flow; execution rtc | 2, 112x112 | fixed:400,11 | black images |" in row
    assert row.endswith("| 3/4 | 30.0 to 95.4 % | 2.2 s |")
    assert "    python experiments/run.py --task conveyor" in text.splitlines()
    assert "1.90 M parameters" in text and "target_cm_median 0.75" in text and "flow matching" in text


def test_a_card_says_what_began_with_published_weights(tmp_path: Path) -> None:
    eyes = {"stem_channels": 0, "vision_encoder": "efficientnet-lite0", "vision_weights": "runs/efficientnet-lite0"}
    seeing = make_policy(tmp_path / "seeing", [BEGINNING], **eyes)
    card.main(card.Args(seeing, (make_run(tmp_path / "run", hash_policy(seeing)),)))
    text = (seeing / "README.md").read_text()
    assert "One part did not begin from scratch: efficientnet-lite0" in text and "convolutions" not in text


def test_a_run_of_other_weights_is_refused(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a run of other weights"):
        card.main(card.Args(policy, (make_run(tmp_path / "run", "another"),)))
    assert not (policy / "README.md").exists()


def test_a_sweep_stands_there_as_it_was_printed(policy: Path, tmp_path: Path) -> None:
    grown = make_policy(tmp_path / "grown", [BEGINNING, BEGINNING])
    sweep = make_sweep(tmp_path / "runs", {str(policy): hash_policy(policy), str(grown): "grown"})
    card.main(card.Args(policy, (make_run(tmp_path / "run", hash_policy(policy)), sweep)))
    text = (policy / "README.md").read_text()
    assert f"## What black images leave\n\n```\n{TABLE}\n```\n\n    python experiments/sweep.py controls\n" in text


def test_a_sweep_of_an_unrelated_policy_is_refused(policy: Path, tmp_path: Path) -> None:
    stranger = make_policy(tmp_path / "stranger", [{**BEGINNING, "moments": 41}])
    with pytest.raises(UsageError, match="stranger, which was not trained from this policy"):
        card.main(card.Args(policy, (make_sweep(tmp_path / "runs", {str(stranger): "strange"}),)))
