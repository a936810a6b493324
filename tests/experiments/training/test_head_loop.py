"""A head's training leaves everything else as it was, and computes nothing twice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlatency.agent.optimization import Head
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.experiments.train_head import Args, main
from vlatency.experiments.training.encoded_features import draw_size
from vlatency.experiments.training.history import HISTORY_FILE
from vlatency.sim.errors import UsageError


@pytest.fixture(scope="module")
def args(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Args:
    out = tmp_path_factory.mktemp("head")
    torch.manual_seed(0)
    VLAPolicy(VLA.tiny()).save_pretrained(out / "policy")
    (out / "policy" / HISTORY_FILE).write_text('[{"command": "before"}]')
    return Args(policy=out / "policy", data=(folder,), out=out / "out", steps=3, batch=4)


@pytest.mark.gl
@pytest.mark.parametrize("head", ["regression", "flow"])
def test_a_training_changes_one_head_and_no_other_weight_and_repeats(args: Args, head: Head) -> None:
    args = replace(args, head=head, out=args.out.with_name(head))
    main(args)
    before, after = VLAPolicy.from_pretrained(args.policy), VLAPolicy.from_pretrained(args.out)
    weights = after.model.state_dict()
    changed = {name for name, old in before.model.state_dict().items() if not torch.equal(weights[name], old)}
    assert all(name.startswith("head.") for name in changed) and bool(changed) == (head == "regression")
    assert any(name.startswith("flow.") for name in weights) == (head == "flow")
    history = json.loads((args.out / HISTORY_FILE).read_text())
    assert [entry["command"] for entry in history][0] == "before" and len(history) == 2
    assert all(np.isfinite(value) for value in history[1]["score"].values())

    blocks = {path: path.stat().st_mtime_ns for path in args.out.glob("checkpoints/*/*.npy")}
    (args.out / "checkpoints" / f"{head}.safetensors").unlink()
    main(args)
    assert blocks and blocks == {path: path.stat().st_mtime_ns for path in args.out.glob("checkpoints/*/*.npy")}
    again = VLAPolicy.from_pretrained(args.out).model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


def test_large_images_are_seen_large_and_none_is_enlarged() -> None:
    rng = np.random.default_rng(0)
    small, large = np.full((4, 2), 224), np.tile([640, 360], (4, 1))
    assert {draw_size(small, rng) for _ in range(200)} == {(224, 224), (112, 112)}
    assert {draw_size(large, rng) for _ in range(200)} == {(448, 252), (640, 360)}
    assert {draw_size(np.concatenate([small, large]), rng) for _ in range(200)} == {(224, 224), (112, 112)}


@pytest.mark.gl
def test_an_ablated_head_is_new_and_stays_without(args: Args) -> None:
    args = replace(args, out=args.out.with_name("without"), without=("motion", "age"))
    main(args)
    assert VLAPolicy.from_pretrained(args.out).model.head.without == ("age", "motion")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"head": "flow", "anew": True}, "drop"),
    ],
)
def test_what_cannot_be_trained_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        main(replace(Args(), **wrong))
