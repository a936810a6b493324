"""Training by imitation: the optimizer's loop, the stages of a training, and the score."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vlatency.agent.vla.model.heads import Past, ViewBatch
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.shared.progress import bars
from vlatency.experiments.training import checkpoint
from vlatency.experiments.training.batches import draw_batch
from vlatency.experiments.training.demonstrations import Demonstrations, Indices, seconds_between
from vlatency.experiments.training.initial_model import early_layers
from vlatency.experiments.training.losses import joint_loss, vision_loss
from vlatency.sim.names import CAMERA_ORDER

WARMUP_STEPS = 200
EVERY_S = 60
"""The loss is printed and a checkpoint written whenever this many seconds have passed."""


@dataclass(frozen=True)
class Schedule:
    """How weights are optimised.

    Attributes:
        name: of the stage or of the head, for the progress bar.
        steps: their number.
        lr: highest learning rate.
        floor: the last learning rate, relative to the highest one.
        weight_decay: of AdamW.
        seed: each step has a random generator of its own, seeded by these numbers and the step's.
    """

    name: str
    steps: int
    lr: float
    floor: float
    weight_decay: float
    seed: tuple[int, ...]

    def rate(self, step: int) -> float:
        """The learning rate of a step: linear warm-up, then a cosine."""
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        return self.lr * warm * (self.floor + (1 - self.floor) * 0.5 * (1 + np.cos(np.pi * (step / self.steps))))


def optimise(
    module: torch.nn.Module, schedule: Schedule, loss_of: Callable[[np.random.Generator], torch.Tensor], path: Path
) -> None:
    """Train the parameters of `module` that require gradients, from the last checkpoint on.

    Args:
        module: is trained in place.
        schedule: its steps and learning rates.
        loss_of: gives the loss of one step, from the step's random generator.
        path: file of the checkpoint.

    Raises:
        UsageError: the checkpoint is damaged or of another model.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.lr, weight_decay=schedule.weight_decay)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = checkpoint.load(path, module, optimizer) if path.exists() else 0
    if start >= schedule.steps:
        return
    last, losses = time.monotonic(), list[float]()
    with bars() as progress:
        progress.add(schedule.name, schedule.steps, start)
        for step in range(start, schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            loss = loss_of(np.random.default_rng([*schedule.seed, step]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            losses.append(loss.item())
            progress.advance(schedule.name)
            if time.monotonic() - last > EVERY_S:
                print(f"  {schedule.name} {step + 1}/{schedule.steps}: loss {np.mean(losses):.3f}")
                checkpoint.save(path, module, optimizer, step + 1)
                last, losses = time.monotonic(), []
    checkpoint.save(path, module, optimizer, schedule.steps)


def train(model: VLA, demonstrations: Demonstrations, stage: Schedule, batch: int, checkpoints: Path) -> None:
    """Run one stage of a training: `vision` trains the vision tower alone, `joint` the whole model.

    Args:
        model: is trained in place.
        demonstrations: with images of every size that is shown.
        stage: its schedule, by the name of the stage.
        batch: the most moments that a step encodes, each read under two instructions.
        checkpoints: folder.

    Raises:
        UsageError: the checkpoint is damaged or of another model.
    """
    part = model.encoder if stage.name == "vision" else model
    learning = {id(parameter) for parameter in part.parameters()} - {id(layer) for layer in early_layers(model)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learning)

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        drawn = draw_batch(demonstrations, rng, model.config, batch)
        with torch.autocast("cpu", torch.bfloat16):
            if stage.name == "vision":
                return vision_loss(model, demonstrations, drawn)[0]
            return joint_loss(model, demonstrations, drawn)

    model.train()
    optimise(model, stage, loss_of, checkpoints / f"{stage.name}.safetensors")


def evaluate(model: VLA, demonstrations: Demonstrations, limit: int = 320) -> dict[str, float]:
    """Accuracy on about `limit` validation moments with the three default views.

    Returns:
        Errors of the target's position and of the next set-point [cm], and the share of right gripper commands.
    """
    cameras, views = CAMERA_ORDER[:3], [0, 1, 2]
    seen = demonstrations.validation[:: max(1, len(demonstrations.validation) // limit)]
    things = demonstrations.other(seen, np.random.default_rng(0))
    before = demonstrations.earlier(seen, np.full(len(seen), 2))
    before = np.where(before >= 0, before, seen)
    errors, steps, fingers = [], [], []

    def look(moments: Indices, things: Indices) -> ViewBatch:
        pixels = demonstrations.pixels(moments, views, (224, 224))
        readout = model.encoder(pixels, demonstrations.instructions(moments, things), cameras, "batched")
        return demonstrations.looks(readout.features, moments, views)

    model.eval()
    with torch.inference_mode():
        for block in np.array_split(np.arange(len(seen)), max(1, len(seen) // 16)):
            now, thing, earlier = seen[block], things[block], before[block]
            past = Past(look(earlier, thing), seconds_between(earlier, now))
            sensors, age_s = demonstrations.sensors(now), torch.zeros(len(now))
            output = model.head(look(now, thing), sensors, age_s, "attention", past)
            labels = demonstrations.labels(now, thing, model.config.chunk, seen=now)
            errors.append((output.target_in_hand - labels.target_in_hand).norm(dim=-1))
            steps.append((output.chunk_xyz - labels.chunk_xyz)[:, 0].norm(dim=-1))
            fingers.append(((output.gripper > 0).float() == labels.gripper)[:, 0].float())
    error, set_point = torch.cat(errors), torch.cat(steps)
    score = {
        "target_cm_median": 100 * float(error.median()),
        "target_cm_p90": 100 * float(error.quantile(0.9)),
        "set_point_cm_mean": 100 * float(set_point.mean()),
        "gripper_accuracy": float(torch.cat(fingers).mean()),
    }
    moving = torch.from_numpy(np.linalg.norm(demonstrations.moments.velocity[seen, things], axis=-1) > 0)
    if moving.any():
        score["set_point_cm_mean_where_moving"] = 100 * float(set_point[moving].mean())
    return score
