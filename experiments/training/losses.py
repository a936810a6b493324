"""What the policy is trained to minimise.

Two auxiliary losses decide whether a model this small learns at all: where the instructed object is in each view, and
what lies in every cell whatever the instruction.
"""

import numpy as np
import torch
from torch.nn import functional as F

from vlatency.agent.vla.model.encoder import Grid, ViewReadout
from vlatency.agent.vla.model.heads import HeadOutput, Past, ViewBatch
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.training.batches import Batch
from vlatency.experiments.training.demonstrations import Cells, Demonstrations, Labels, seconds_between


def dense_loss(predicted: dict[str, torch.Tensor], truth: Cells) -> torch.Tensor:
    """How wrong a prediction of every cell's contents is.

    Args:
        predicted: by `DenseHead`, for B * V images of T cells.
        truth: of B moments and V views.
    """
    cell, offset, colour, shape = (x.flatten(0, 1) for x in (truth.cell, truth.offset, truth.colour, truth.shape))
    cells = predicted["objectness"].shape[1]
    occupied = torch.zeros(len(cell), cells + 1).scatter_(1, cell, 1.0)[:, :cells]
    # A sum over objects, not a mean over cells, nearly all of which are empty.
    logits = predicted["objectness"].float()
    loss = 0.3 * F.binary_cross_entropy_with_logits(logits, occupied, reduction="sum") / occupied.sum().clamp(min=1)
    seen = cell < cells
    if not seen.any():
        return loss
    image = torch.arange(len(cell))[:, None].expand_as(cell)[seen]
    where = cell[seen]
    loss = loss + F.l1_loss(predicted["offset"][image, where].float(), offset[seen])
    loss = loss + 0.5 * F.cross_entropy(predicted["colour"][image, where].float(), colour[seen])
    return loss + F.cross_entropy(predicted["shape"][image, where].float(), shape[seen])


def view_loss(readout: ViewReadout, cell: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """How wrong the position of the instructed object in each view is.

    Args:
        readout: of B instructions and V views.
        cell: (B, V) the object's true cell; T outside the view.
        offset: (B, V, 2) from the cell's centre, in cells.
    """
    loss = F.cross_entropy(readout.heat.flatten(0, 1), cell.flatten())
    seen = cell < readout.offset.shape[2]
    chosen = readout.offset[seen].gather(1, cell[seen][:, None, None].expand(-1, 1, 2)).squeeze(1)
    return loss + 2 * F.l1_loss(chosen, offset[seen])


def head_loss(output: HeadOutput, labels: Labels) -> torch.Tensor:
    """How wrong the head's estimate of the target and its chunk are, weighted so that all terms count about alike."""
    # Near the object a centimetre matters; far away only the direction does.
    near = 1.0 / (0.05 + labels.target_in_hand.norm(dim=-1, keepdim=True))
    first = torch.linspace(1.5, 0.5, labels.gripper.shape[1])
    return (
        5 * F.l1_loss(output.seen, labels.seen)
        + (labels.symmetric * (output.turned - labels.turned).abs()).mean()
        + 5 * F.l1_loss(output.target, labels.target)
        + 0.5 * (near * (output.target_in_hand - labels.target_in_hand).abs()).mean()
        + 30 * (first[:, None] * (output.chunk_xyz - labels.chunk_xyz).abs()).mean()
        + F.l1_loss(output.chunk_yaw, labels.chunk_yaw)
        + 0.5 * (first * F.binary_cross_entropy_with_logits(output.gripper, labels.gripper, reduction="none")).mean()
    )


def vision_loss(model: VLA, demonstrations: Demonstrations, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, Grid]:
    """The loss of the vision tower, its tokens (2P * V, T, d) and their grid, for the encoded moments of a batch."""
    encoder, views = model.encoder, model.config.view_ids(batch.draw.cameras)
    pixels = demonstrations.pixels(batch.encoded, views, batch.draw.size).flatten(0, 1)
    loss = torch.zeros(())
    if encoder.stem is not None and encoder.dense_stem is not None:
        maps = encoder.stem(pixels)
        cells = demonstrations.cells(batch.encoded, views, (maps.shape[2], maps.shape[3]))
        loss = loss + dense_loss(encoder.dense_stem(maps.permute(0, 2, 3, 1).flatten(1, 2)), cells)
        tokens, grid = encoder.vision_of(maps)
    else:
        tokens, grid = encoder.vision(pixels)
    return loss + dense_loss(encoder.dense(tokens), demonstrations.cells(batch.encoded, views, grid)), tokens, grid


def joint_loss(model: VLA, demonstrations: Demonstrations, batch: Batch) -> torch.Tensor:
    """The loss of the whole model."""
    loss, tokens, grid = vision_loss(model, demonstrations, batch)
    draw, moments, before, count = batch.draw, batch.moments, batch.before, len(batch.encoded)
    views = model.config.view_ids(draw.cameras)
    shared = tokens.unflatten(0, (count, len(views)))
    texts = demonstrations.instructions(moments, batch.things)
    hidden = model.encoder.language(torch.cat([shared, shared]), texts, draw.cameras, draw.encoding, grid)
    readout = model.encoder.readout(hidden, grid)
    earlier = demonstrations.looks(readout.features[before], moments[before], views)
    past = Past(earlier, seconds_between(moments[before], moments))
    fresh, stale = demonstrations.looks(readout.features, moments, views), torch.from_numpy(batch.stale)
    looks = ViewBatch(
        torch.where(stale[..., None], earlier.features, fresh.features),
        fresh.view_ids,
        torch.where(stale[..., None], earlier.ee_at_capture, fresh.ee_at_capture),
        torch.where(stale, past.gap_s[:, None], 0.0),
    )
    age_s = seconds_between(moments, batch.now)
    output = model.head(looks, demonstrations.sensors(batch.now), age_s, draw.pool, past)
    labels = demonstrations.labels(batch.now, batch.things, model.config.chunk, seen=moments)
    cells = demonstrations.cells(batch.encoded, views, grid).of(np.tile(np.arange(count), 2), batch.things)
    return 0.5 * loss + view_loss(readout, *cells) + head_loss(output, labels)
