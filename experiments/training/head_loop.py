"""Training a head alone, on features that the encoder has computed once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vlatency.agent.optimization import Head, Pool
from vlatency.agent.vla.model.flow import CHANNELS, sample
from vlatency.agent.vla.model.heads import STEP_SCALE, Past, SensorBatch, ViewBatch
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.training.batches import Draw, draw_ages
from vlatency.experiments.training.demonstrations import Demonstrations, Indices, Labels, seconds_between
from vlatency.experiments.training.encoded_features import SLOTS, Encoded
from vlatency.experiments.training.loop import Schedule, optimise
from vlatency.experiments.training.losses import head_loss

GAPS, GAP_SHARES = (0, 1, 2, 3, 4, 5, 6), (0.2, 0.1, 0.35, 0.15, 0.08, 0.06, 0.06)
"""How many images lie between an earlier and a later look, 0 for no earlier one, and how often."""


@dataclass(frozen=True)
class HeadBatch:
    """Inputs of a head at B moments, and what it should answer."""

    looks: ViewBatch
    sensors: SensorBatch
    age_s: torch.Tensor
    pool: Pool
    past: Past
    labels: Labels

    @property
    def inputs(self) -> tuple[ViewBatch, SensorBatch, torch.Tensor, Pool, Past]:
        """The arguments of the head."""
        return self.looks, self.sensors, self.age_s, self.pool, self.past

    @property
    def chunk(self) -> torch.Tensor:
        """(B, chunk, 6) the expert's chunk as the flow head states it: steps, cosine and sine, gripper -1 or 1."""
        labels = self.labels
        fingers = 2 * labels.gripper.unsqueeze(-1) - 1
        return torch.cat([labels.chunk_xyz / STEP_SCALE, labels.chunk_yaw, fingers], dim=-1)


@dataclass(frozen=True)
class HeadData:
    """Demonstrations with their features, from which a head's batches are made."""

    model: VLA
    demonstrations: Demonstrations
    encoded: Encoded

    def draw(self, rng: np.random.Generator, size: int) -> HeadBatch:
        """Draw a batch of `size` training moments, with views, pools, ages and gaps as in a joint training."""
        draw = Draw.random(rng)
        seen, slot = rng.choice(self.demonstrations.training, size), rng.integers(0, SLOTS, size)
        now = self.demonstrations.later(seen, draw_ages(size, rng))
        earlier = self.demonstrations.earlier(seen, rng.choice(GAPS, size, p=GAP_SHARES))
        return self._batch(seen, earlier, now, slot, draw.cameras, draw.pool)

    def validation(self) -> HeadBatch:
        """The validation moments: three views, the other object, an earlier look 0.6 s before, new features."""
        seen = self.demonstrations.validation
        earlier = self.demonstrations.earlier(seen, np.full(len(seen), 2))
        slot = np.ones(len(seen), dtype=np.int64)
        return self._batch(seen, earlier, seen, slot, self.model.config.cameras[:3], "attention")

    def _batch(
        self, seen: Indices, earlier: Indices, now: Indices, slot: Indices, cameras: tuple[str, ...], pool: Pool
    ) -> HeadBatch:
        """A batch of looks at the moments `seen` and `earlier` (-1: none) under instruction `slot`; all are (B,)."""
        encoded, views = self.encoded, self.model.config.view_ids(cameras)
        row = np.searchsorted(encoded.moments, seen)
        before = np.searchsorted(encoded.moments, np.where(earlier < 0, seen, earlier))
        things = encoded.things[row, slot]
        # If the instruction changed in between, there is no earlier look.
        same = things == encoded.things[before, slot]
        gap_s = seconds_between(np.where(same, encoded.moments[before], seen), seen)

        def looks(rows: Indices) -> ViewBatch:
            features = torch.from_numpy(encoded.features[rows, slot][:, views])
            return self.demonstrations.looks(features, encoded.moments[rows], views)

        return HeadBatch(
            looks=looks(row),
            sensors=self.demonstrations.sensors(now),
            age_s=seconds_between(seen, now),
            pool=pool,
            past=Past(looks(before), gap_s),
            labels=self.demonstrations.labels(now, things, self.model.config.chunk, seen=seen),
        )


def train_head(head: Head, data: HeadData, schedule: Schedule, batch: int, path: Path) -> None:
    """Train one head of the model, from the last checkpoint on.

    Args:
        head: which one; the model has it.
        data: what it learns from.
        schedule: its steps and learning rates.
        batch: moments per step.
        path: file of the checkpoint.

    Raises:
        UsageError: the checkpoint is damaged or of another model.
    """
    model = data.model

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        drawn = data.draw(rng, batch)
        if model.flow is None or head == "regression":
            return head_loss(model.head(*drawn.inputs), drawn.labels)
        with torch.no_grad():
            condition = model.head.condition(*drawn.inputs).inputs
        return model.flow.loss(condition, drawn.chunk, torch.Generator().manual_seed(int(rng.integers(2**62))))

    model.train()
    trained = model.flow if head == "flow" else model.head
    assert trained is not None
    optimise(trained, schedule, loss_of, path)
    model.eval()


def evaluate_heads(model: VLA, batch: HeadBatch) -> dict[str, float]:
    """Accuracy of every head that the policy has.

    Returns:
        Errors of the next set-point and of the whole chunk [cm], and the share of right gripper commands.
    """
    truth = batch.chunk
    with torch.inference_mode():
        output = model.head(*batch.inputs)
        stated = output.chunk_xyz / STEP_SCALE, output.chunk_yaw, output.gripper.unsqueeze(-1)
        chunks = {"regression": torch.cat(stated, dim=-1)}
        if model.flow is not None:
            flow, condition = model.flow, model.head.condition(*batch.inputs).inputs
            noise = torch.randn(len(truth), flow.chunk, CHANNELS, generator=torch.Generator().manual_seed(0))
            chunks["flow"] = sample(lambda x, at: flow(condition, x, torch.full((len(x),), at)), noise)
    score = {}
    for name, chunk in chunks.items():
        off = 100 * STEP_SCALE * (chunk - truth)[..., :3].norm(dim=-1)
        score[f"{name}_set_point_cm_mean"] = float(off[:, 0].mean())
        score[f"{name}_chunk_cm_mean"] = float(off.mean())
        score[f"{name}_gripper_accuracy"] = float(((chunk[:, 0, 5] > 0) == (truth[:, 0, 5] > 0)).float().mean())
    return score
