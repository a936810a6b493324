"""From demonstrations to what a policy is taught: batches, labels by the expert, losses.

The auxiliary losses decide whether a model this small learns at all: where the instructed object is in each view, and
what lies in every cell whatever the instruction.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from agent.vla.encoder import Grid, ViewReadout
from agent.vla.heads import HeadOutput, SensorBatch
from envs.expert import Scene, chunk
from envs.tasks import instruct
from experiments.demos import read_shards
from sim.world import COLOURS, SHAPES, Thing

MAX_AGE_TICKS = 12
"""Oldest features that the head is taught to use: 1.2 s."""
PERIODS = np.array([shape.yaw_period for shape in SHAPES.values()])


@dataclass(frozen=True)
class Labels:
    """What the head should say for B moments; see `HeadOutput`."""

    target: torch.Tensor
    target_in_hand: torch.Tensor
    chunk_xyz: torch.Tensor
    chunk_yaw: torch.Tensor
    gripper: torch.Tensor


class Demonstrations:
    """Demonstrations in memory-mapped shards, with what is needed to draw lessons from them."""

    def __init__(self, folders: list[Path]) -> None:
        self.moments, self._images = read_shards(folders)
        self._ends = np.cumsum([len(shard) for shard in self._images])
        pictured = np.flatnonzero(self.moments.image >= 0)
        # One episode in forty is kept aside to measure on.
        held_out = self.moments.episode[pictured] % 40 == 0
        self.training, self.validation = pictured[~held_out], pictured[held_out]

    def pixels(self, moments: NDArray[np.int64], views: list[int]) -> torch.Tensor:
        """Images (B, V, H, W, 3) uint8 taken at `moments`."""
        images = []
        for row in self.moments.image[moments]:
            shard = int(np.searchsorted(self._ends, row, side="right"))
            start = self._ends[shard - 1] if shard else 0
            images.append(self._images[shard][row - start][views])
        return torch.from_numpy(np.stack(images))

    def later(self, moments: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The moments `ticks` (B,) later in the same episodes; the same moments where the episode ends before."""
        later = np.minimum(moments + ticks, len(self.moments.episode) - 1)
        return np.where(self.moments.episode[later] == self.moments.episode[moments], later, moments)

    def other(self, moments: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """For each moment, one of its objects other than the instructed one (which is number 0)."""
        return 1 + (rng.random(len(moments)) * (self.moments.count[moments] - 1)).astype(np.int64)

    def instructions(self, moments: NDArray[np.int64], things: NDArray[np.int64]) -> list[str]:
        """The instruction that names thing `things[i]` of moment i."""
        colours, shapes = list(COLOURS), list(SHAPES)
        return [
            instruct(Thing(shapes[self.moments.shape[t, k]], colours[self.moments.colour[t, k]], 0, 0, 0))
            for t, k in zip(moments, things, strict=True)
        ]

    def sensors(self, moments: NDArray[np.int64]) -> SensorBatch:
        """Readings at `moments`."""
        return SensorBatch(
            **{
                field.name: torch.from_numpy(getattr(self.moments, field.name)[moments])
                for field in fields(SensorBatch)
            }
        )

    def hands(self, moments: NDArray[np.int64]) -> torch.Tensor:
        """(B, 5) end effector and gripper at `moments`."""
        return torch.from_numpy(np.column_stack([self.moments.ee_pose[moments], self.moments.gripper_pos[moments]]))

    def labels(self, moments: NDArray[np.int64], things: NDArray[np.int64], steps: int) -> Labels:
        """What the expert would do at `moments`, told to pick thing `things[i]`."""
        m = self.moments
        ee, target = m.ee_pose[moments].astype(np.float64), m.position[moments, things].astype(np.float64)
        points = chunk(
            Scene(
                ee=ee,
                gripper=m.gripper_pos[moments].astype(np.float64),
                gripper_rate=m.gripper_vel[moments].astype(np.float64),
                target=target,
                target_yaw=m.yaw[moments, things].astype(np.float64),
                yaw_period=PERIODS[m.shape[moments, things]],
            ),
            steps,
        )
        turn = points[..., 3] - ee[:, None, 3]

        def tensor(values: NDArray[np.float64]) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32))

        return Labels(
            target=tensor(target),
            target_in_hand=tensor(target - ee[:, :3]),
            chunk_xyz=tensor(points[..., :3] - ee[:, None, :3]),
            chunk_yaw=tensor(np.stack([np.cos(turn), np.sin(turn)], axis=-1)),
            gripper=tensor(points[..., 4]),
        )

    def cells(
        self, moments: NDArray[np.int64], things: NDArray[np.int64], views: list[int], grid: Grid
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where thing `things[i]` is in each view: cell (B, V), T if out of view, offset (B, V, 2) from its centre."""
        place = self.moments.place[moments[:, None], np.array(views)[None], things[:, None]]
        return _cell(place, grid)

    def dense(
        self, moments: NDArray[np.int64], views: list[int], grid: Grid
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """For all objects: cell (B, V, K), T where there is none, offset (B, V, K, 2), colour and shape (B, V, K)."""
        m = self.moments
        cell, offset = _cell(m.place[moments][:, views], grid)
        exists = torch.from_numpy(np.arange(m.colour.shape[1]) < m.count[moments][:, None])[:, None]
        cell = torch.where(exists, cell, grid[0] * grid[1])
        colour, shape = (torch.from_numpy(x[moments])[:, None].expand(cell.shape) for x in (m.colour, m.shape))
        return cell, offset, colour, shape


def _cell(place: NDArray[np.float32], grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = grid
    scaled = torch.from_numpy(place) * torch.tensor([columns, rows])
    whole = scaled.floor()
    inside = (torch.from_numpy(place) >= 0).all(-1) & (torch.from_numpy(place) < 1).all(-1)
    cell = torch.where(inside, (whole[..., 1] * columns + whole[..., 0]), rows * columns).long()
    return cell, torch.where(inside[..., None], scaled - whole - 0.5, 0.0)


def dense_loss(
    predicted: dict[str, torch.Tensor], truth: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """What lies in every cell. Predictions (B * V, T, ...), truth as `Demonstrations.dense` gives it."""
    cell, offset, colour, shape = (x.flatten(0, 1) for x in truth)
    tokens = predicted["objectness"].shape[1]
    occupied = torch.zeros(len(cell), tokens + 1).scatter_(1, cell, 1.0)[:, :tokens]
    loss = F.binary_cross_entropy_with_logits(predicted["objectness"].float(), occupied)
    seen = cell < tokens
    picture = torch.arange(len(cell))[:, None].expand_as(cell)[seen]
    where = cell[seen]
    loss = loss + F.l1_loss(predicted["offset"][picture, where].float(), offset[seen])
    loss = loss + 0.5 * F.cross_entropy(predicted["colour"][picture, where].float(), colour[seen])
    return loss + 0.5 * F.cross_entropy(predicted["shape"][picture, where].float(), shape[seen])


def view_loss(readout: ViewReadout, cell: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Where the instructed object is in each view."""
    loss = F.cross_entropy(readout.heat.flatten(0, 1), cell.flatten())
    seen = cell < readout.offset.shape[2]
    chosen = readout.offset[seen].gather(1, cell[seen][:, None, None].expand(-1, 1, 2)).squeeze(1)
    return loss + 2 * F.l1_loss(chosen, offset[seen])


def head_loss(output: HeadOutput, labels: Labels) -> torch.Tensor:
    """Where the target is and what to do, in units that make a centimetre and a wrong finger count alike."""
    # Near the object a centimetre decides; far away only the direction does.
    near = 1.0 / (0.05 + labels.target_in_hand.norm(dim=-1, keepdim=True))
    first = torch.linspace(1.5, 0.5, labels.gripper.shape[1])
    return (
        5 * F.l1_loss(output.target, labels.target)
        + 0.5 * (near * (output.target_in_hand - labels.target_in_hand).abs()).mean()
        + 30 * (first[:, None] * (output.chunk_xyz - labels.chunk_xyz).abs()).mean()
        + F.l1_loss(output.chunk_yaw, labels.chunk_yaw)
        + 0.5 * (first * F.binary_cross_entropy_with_logits(output.gripper, labels.gripper, reduction="none")).mean()
    )
