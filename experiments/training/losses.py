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

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.encoder import Grid, ViewReadout
from vlatency.agent.vla.model.heads import HeadOutput, SensorBatch
from vlatency.agent.vla.model.views import resize
from vlatency.envs.expert import Scene, chunk
from vlatency.envs.tasks import instruct
from vlatency.experiments.training.shards import read_shards
from vlatency.sim.errors import UsageError
from vlatency.sim.world import COLOURS, SHAPES, Thing

MAX_AGE_TICKS = 20
"""Oldest features that the head is taught to use: 2 s."""
HALF_QUARTER = np.array([np.pi, np.pi / 2])
PERIODS = np.array([shape.yaw_period for shape in SHAPES.values()])


@dataclass(frozen=True)
class Labels:
    """What the head should say for B moments; see `HeadOutput`."""

    seen: torch.Tensor
    turned: torch.Tensor
    symmetric: torch.Tensor
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
        self._pictured = pictured
        self._drawn: dict[tuple[int, int], NDArray[np.int64]] = {}
        sizes = np.array([shard.shape[3:1:-1] for shard in self._images])
        self._sizes = sizes[np.searchsorted(self._ends, self.moments.image[pictured], side="right")]

    def drawn(self, size: tuple[int, int]) -> NDArray[np.int64]:
        """Moments to train on whose images can be shown at `size` (width, height) [px] without being enlarged.

        Raises:
            UsageError: there are none.
        """
        if size not in self._drawn:
            large = self._pictured[(self._sizes >= size).all(axis=1)]
            self._drawn[size] = np.intersect1d(self.training, large, assume_unique=True)
            if not len(self._drawn[size]):
                raise UsageError(
                    f"no demonstrations have images of {size[0]}x{size[1]} or more: add a folder of them, written by "
                    "python experiments/collect.py --res 640x360"
                )
        return self._drawn[size]

    def sizes(self, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, 2) width and height [px] of the images taken at `moments`."""
        return self._sizes[np.searchsorted(self._pictured, moments)]

    def pixels(self, moments: NDArray[np.int64], views: list[int], size: tuple[int, int]) -> torch.Tensor:
        """Images (B, V, H, W, 3) uint8 taken at `moments`, at `size` (width, height) [px] rounded to whole cells."""
        config = PolicyConfig()
        images: list[list[NDArray[np.uint8]]] = []
        for row in self.moments.image[moments]:
            shard = int(np.searchsorted(self._ends, row, side="right"))
            start = self._ends[shard - 1] if shard else 0
            images.append([resize(view, *size, config) for view in self._images[shard][row - start][views]])
        return torch.from_numpy(np.stack(images))

    def earlier(self, moments: NDArray[np.int64], back: NDArray[np.int64]) -> NDArray[np.int64]:
        """The pictured moments `back` (B,) pictures before `moments` in the same episodes; -1 where there are none."""
        places = np.searchsorted(self._pictured, moments) - back
        before = self._pictured[np.maximum(places, 0)]
        same = (places >= 0) & (self.moments.episode[before] == self.moments.episode[moments])
        return np.where(same, before, -1)

    def later(self, moments: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The moments `ticks` (B,) later in the same episodes; the same moments where the episode ends before."""
        later = np.minimum(moments + ticks, len(self.moments.episode) - 1)
        return np.where(self.moments.episode[later] == self.moments.episode[moments], later, moments)

    def other(self, moments: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """For each moment, one of its objects other than the instructed one."""
        step = 1 + (rng.random(len(moments)) * (self.moments.count[moments] - 1)).astype(np.int64)
        return (self.moments.target[moments] + step) % self.moments.count[moments]

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

    def seconds(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> torch.Tensor:
        """(B,) time from moments `start` to moments `end` of the same episodes [s]."""
        return torch.from_numpy((end - start) * 0.1).float()

    def labels(
        self, moments: NDArray[np.int64], things: NDArray[np.int64], steps: int, seen: NDArray[np.int64]
    ) -> Labels:
        """What the expert would do at `moments`, told to pick thing `things[i]`, which was last seen at `seen`."""
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
                velocity=m.velocity[moments, things].astype(np.float64),
            ),
            steps,
        )
        turn = points[..., 3] - ee[:, None, 3]
        yaw = m.yaw[seen, things].astype(np.float64)

        def tensor(values: NDArray[np.float64]) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32))

        return Labels(
            seen=tensor(m.position[seen, things].astype(np.float64)),
            turned=tensor(np.column_stack([f(n * yaw) for n in (2, 4) for f in (np.cos, np.sin)])),
            symmetric=tensor(np.repeat(np.isclose(PERIODS[m.shape[moments, things], None], HALF_QUARTER), 2, axis=1)),
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
    cells = predicted["objectness"].shape[1]
    occupied = torch.zeros(len(cell), cells + 1).scatter_(1, cell, 1.0)[:, :cells]
    # A sum over objects, not a mean over cells, nearly all of which are empty.
    logits = predicted["objectness"].float()
    loss = 0.3 * F.binary_cross_entropy_with_logits(logits, occupied, reduction="sum") / occupied.sum().clamp(min=1)
    seen = cell < cells
    if not seen.any():
        return loss
    picture = torch.arange(len(cell))[:, None].expand_as(cell)[seen]
    where = cell[seen]
    loss = loss + F.l1_loss(predicted["offset"][picture, where].float(), offset[seen])
    loss = loss + 0.5 * F.cross_entropy(predicted["colour"][picture, where].float(), colour[seen])
    return loss + F.cross_entropy(predicted["shape"][picture, where].float(), shape[seen])


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
        5 * F.l1_loss(output.seen, labels.seen)
        + (labels.symmetric * (output.turned - labels.turned).abs()).mean()
        + 5 * F.l1_loss(output.target, labels.target)
        + 0.5 * (near * (output.target_in_hand - labels.target_in_hand).abs()).mean()
        + 30 * (first[:, None] * (output.chunk_xyz - labels.chunk_xyz).abs()).mean()
        + F.l1_loss(output.chunk_yaw, labels.chunk_yaw)
        + 0.5 * (first * F.binary_cross_entropy_with_logits(output.gripper, labels.gripper, reduction="none")).mean()
    )
