"""A training repeats bit for bit, continues after an interruption, and trains only what its stage names."""

from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from vlatency.agent.vla.model.config import QWEN
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.model.zoo import LIGHT_ENCODERS, MODELS, Tiny
from vlatency.experiments.train import Args
from vlatency.experiments.training import checkpoint, loop
from vlatency.experiments.training.demonstrations import Demonstrations
from vlatency.experiments.training.loop import Schedule, evaluate, optimise, train
from vlatency.sim.errors import UsageError


def linear() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def test_an_interrupted_training_continues_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "EVERY_S", -1)  # a checkpoint after each step
    schedule = Schedule("toy", 6, lr=0.01, floor=0.01, weight_decay=0.02, seed=(3,))
    calls = 0

    def run(model: torch.nn.Linear, path: Path, killed_at: int | None = None) -> torch.Tensor:
        nonlocal calls
        calls = 0

        def loss_of(rng: np.random.Generator) -> torch.Tensor:
            nonlocal calls
            if calls == killed_at:
                raise KeyboardInterrupt
            calls += 1
            return model(torch.from_numpy(rng.normal(size=(8, 4))).float()).square().mean()

        optimise(model, schedule, loss_of, path)
        return model.weight

    whole = run(linear(), tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        run(linear(), tmp_path / "part.safetensors", killed_at=3)
    again = run(linear(), tmp_path / "part.safetensors")
    assert torch.equal(whole, again) and calls == 3
    assert torch.equal(run(linear(), tmp_path / "part.safetensors"), whole) and calls == 0


def test_the_learning_rate_rises_and_falls_to_its_floor() -> None:
    schedule = Schedule("toy", 1000, lr=2.0, floor=0.1, weight_decay=0, seed=())
    rates = [schedule.rate(step) for step in range(1000)]
    top = int(np.argmax(rates))
    assert rates[0] == pytest.approx(2 / loop.WARMUP_STEPS, rel=0.01)
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0.2, rel=0.01)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"not safetensors")
    model = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match=path.name) as error:
        checkpoint.load(path, model, torch.optim.AdamW(model.parameters()))
    assert "\n" not in str(error.value)


@pytest.mark.gl
def test_a_training_repeats_and_its_first_stage_leaves_the_head_as_it_was(large_folder: Path, tmp_path: Path) -> None:
    demonstrations = Demonstrations([large_folder])

    def trained(name: str, vision_steps: int, joint_steps: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = VLA.tiny()
        for number, (stage, steps) in enumerate((("vision", vision_steps), ("joint", joint_steps))):
            schedule = Schedule(stage, steps, 1e-3, floor=0.01, weight_decay=0.02, seed=(0, number))
            train(model, demonstrations, schedule, 2, tmp_path / name)
        assert all(np.isfinite(value) for value in evaluate(model, demonstrations, limit=2).values())
        return model.state_dict()

    new, vision, joint = trained("new", 0, 0), trained("vision", 1, 0), trained("joint", 1, 1)
    changed = {name for name in new if not torch.equal(new[name], vision[name])}
    assert changed and all(name.startswith("encoder.") for name in changed)
    assert any(not torch.equal(vision[name], joint[name]) for name in joint if name.startswith("head."))
    again = trained("vision", 1, 1)  # the first stage is there already
    assert all(torch.equal(again[name], joint[name]) for name in joint)


def test_the_command_line_knows_every_size_and_vision_encoder() -> None:
    hints = get_type_hints(Args)
    assert set(get_args(hints["size"])) == {name for name, row in MODELS.items() if isinstance(row, Tiny)}
    assert set(get_args(hints["vision_encoder"])) == {"", QWEN, *LIGHT_ENCODERS}
