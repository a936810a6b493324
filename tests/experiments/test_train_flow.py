"""The flow head's training leaves everything else as it was, and computes nothing twice."""

import json

import numpy as np
import pytest
import torch

from agent.vla.policy import VLA, VLAPolicy
from experiments.collect import Config as Collect
from experiments.collect import Job, write
from experiments.train import HISTORY_FILE
from experiments.train_flow import Config, main
from sim.errors import UsageError


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("flow")
    write(Job(Collect(out=folder / "demos", per_shard=2, every=8, seed=5), 0))
    torch.manual_seed(0)
    VLAPolicy(VLA.tiny()).save_pretrained(folder / "policy")
    (folder / "policy" / HISTORY_FILE).write_text('[{"command": "before"}]')
    return Config(policy=folder / "policy", data=(folder / "demos",), out=folder / "out", steps=3, batch=4)


def test_a_training_adds_the_head_and_changes_no_other_weight_and_repeats(config: Config) -> None:
    main(config)
    before, after = VLAPolicy.from_pretrained(config.policy), VLAPolicy.from_pretrained(config.out, head="flow")
    weights = after.model.state_dict()
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    history = json.loads((config.out / HISTORY_FILE).read_text())
    assert [entry["command"] for entry in history][0] == "before" and len(history) == 2
    assert all(np.isfinite(value) for value in history[1]["score"].values())

    blocks = {path: path.stat().st_mtime_ns for path in config.out.glob("checkpoints/*/*.npy")}
    (head,) = config.out.glob("checkpoints/*/flow.safetensors")
    head.unlink()
    main(config)
    assert blocks and blocks == {path: path.stat().st_mtime_ns for path in config.out.glob("checkpoints/*/*.npy")}
    again = VLAPolicy.from_pretrained(config.out, head="flow").model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


def test_no_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="steps"):
        main(Config(steps=0))
