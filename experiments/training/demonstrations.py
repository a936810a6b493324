"""Recorded demonstrations in memory: which moments there are, what was seen and felt, what the expert would do."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.encoder import Grid
from vlatency.agent.vla.model.heads import SensorBatch, ViewBatch
from vlatency.agent.vla.model.views import resize
from vlatency.envs.expert import STEP_S, Scene, chunk
from vlatency.envs.tasks import instruct
from vlatency.experiments.training.shards import read_shards
from vlatency.sim.errors import UsageError
from vlatency.sim.names import COLOUR_NAMES, SHAPE_NAMES
from vlatency.sim.world import SHAPES, Thing

Indices = NDArray[np.int64]

VALIDATION_SHARE = 40
"""One episode in so many is kept for validation."""
YAW_PERIODS = np.array([SHAPES[name].yaw_period for name in SHAPE_NAMES])
HALF_AND_QUARTER_TURN = np.array([np.pi, np.pi / 2])


def seconds_between(start: Indices, end: Indices) -> torch.Tensor:
    """Time (B,) from moments `start` to moments `end` of the same episodes [s]."""
    return torch.from_numpy((end - start) * STEP_S).float()


@dataclass(frozen=True)
class Labels:
    """What the head should answer at B moments. Shapes and units are those of `HeadOutput`.

    `symmetric` (B, 4) masks `turned`: 1 where the object looks the same after the half or the quarter turn.
    """

    seen: torch.Tensor
    turned: torch.Tensor
    symmetric: torch.Tensor
    target: torch.Tensor
    target_in_hand: torch.Tensor
    chunk_xyz: torch.Tensor
    chunk_yaw: torch.Tensor
    gripper: torch.Tensor


@dataclass(frozen=True, eq=False)
class Cells:
    """Where K objects are in V views of B moments, on a grid of T cells.

    Attributes:
        cell: (B, V, K) index of the cell; T for an object outside the view.
        offset: (B, V, K, 2) right and down from the cell's centre, in cells; zero outside the view.
        colour, shape: (B, V, K) indices in `COLOUR_NAMES` and `SHAPE_NAMES`.
    """

    cell: torch.Tensor
    offset: torch.Tensor
    colour: torch.Tensor
    shape: torch.Tensor

    def of(self, rows: Indices, things: Indices) -> tuple[torch.Tensor, torch.Tensor]:
        """Cell (N, V) and offset (N, V, 2) of object `things[i]` at the moment in row `rows[i]`."""
        picked = torch.from_numpy(rows), slice(None), torch.from_numpy(things)
        return self.cell[picked], self.offset[picked]


class Demonstrations:
    """The demonstrations in some folders. Moments are given by their row in `moments`, objects by their index.

    Args:
        folders: written by collect.py. A folder that is named twice counts twice.

    Attributes:
        moments: all moments, see `Moments`.
        training, validation: the moments with images, of training and of validation episodes.

    Raises:
        UsageError: a folder holds no demonstrations.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.moments, self._images = read_shards(folders)
        self._ends = np.cumsum([len(shard) for shard in self._images])
        self._pictured = np.flatnonzero(self.moments.image >= 0)
        held_out = self.moments.episode[self._pictured] % VALIDATION_SHARE == 0
        self.training, self.validation = self._pictured[~held_out], self._pictured[held_out]
        self._with_size: dict[tuple[int, int], Indices] = {}
        sizes = np.array([shard.shape[3:1:-1] for shard in self._images])
        self._sizes = sizes[np.searchsorted(self._ends, self.moments.image[self._pictured], side="right")]

    def training_with(self, size: tuple[int, int]) -> Indices:
        """Training moments whose images need not be enlarged to be shown at `size` (width, height) [px].

        Raises:
            UsageError: there are none.
        """
        if size not in self._with_size:
            large = self._pictured[(self._sizes >= size).all(axis=1)]
            self._with_size[size] = np.intersect1d(self.training, large, assume_unique=True)
            if not len(self._with_size[size]):
                raise UsageError(
                    f"no demonstrations have images of {size[0]}x{size[1]} or more: add a folder of them, recorded by "
                    "python experiments/collect.py --res 640x360"
                )
        return self._with_size[size]

    def sizes(self, moments: Indices) -> Indices:
        """Width and height (B, 2) [px] of the images stored at `moments` (B,)."""
        return self._sizes[np.searchsorted(self._pictured, moments)]

    def pixels(self, moments: Indices, views: list[int], size: tuple[int, int]) -> torch.Tensor:
        """Images (B, V, H, W, 3) uint8 at `moments`, resized to `size` (width, height) [px], see `resize`."""
        config = PolicyConfig()
        images: list[list[NDArray[np.uint8]]] = []
        for row in self.moments.image[moments]:
            shard = int(np.searchsorted(self._ends, row, side="right"))
            start = self._ends[shard - 1] if shard else 0
            images.append([resize(view, *size, config) for view in self._images[shard][row - start][views]])
        return torch.from_numpy(np.stack(images))

    def earlier(self, moments: Indices, back: Indices) -> Indices:
        """The moments with images, `back` (B,) images earlier in the same episodes; -1 where there are none."""
        places = np.searchsorted(self._pictured, moments) - back
        before = self._pictured[np.maximum(places, 0)]
        same = (places >= 0) & (self.moments.episode[before] == self.moments.episode[moments])
        return np.where(same, before, -1)

    def later(self, moments: Indices, ticks: Indices) -> Indices:
        """The moments `ticks` (B,) later in the same episodes; the same moments where the episode ends earlier."""
        later = np.minimum(moments + ticks, len(self.moments.episode) - 1)
        return np.where(self.moments.episode[later] == self.moments.episode[moments], later, moments)

    def other(self, moments: Indices, rng: np.random.Generator) -> Indices:
        """For each moment, a random object (B,) other than the instructed one."""
        step = 1 + (rng.random(len(moments)) * (self.moments.count[moments] - 1)).astype(np.int64)
        return (self.moments.target[moments] + step) % self.moments.count[moments]

    def instructions(self, moments: Indices, things: Indices) -> list[str]:
        """The instructions that name object `things[i]` of moment i."""
        return [
            instruct(Thing(SHAPE_NAMES[self.moments.shape[t, k]], COLOUR_NAMES[self.moments.colour[t, k]], 0, 0, 0))
            for t, k in zip(moments, things, strict=True)
        ]

    def sensors(self, moments: Indices) -> SensorBatch:
        """Sensor readings at `moments`."""
        stored = {field.name: getattr(self.moments, field.name)[moments] for field in fields(SensorBatch)}
        return SensorBatch(**{name: torch.from_numpy(values) for name, values in stored.items()})

    def looks(self, features: torch.Tensor, moments: Indices, views: list[int]) -> ViewBatch:
        """The encoder's answers `features` (B, V, F) to the images at `moments`, with where the hand was then."""
        hands = torch.from_numpy(np.column_stack([self.moments.ee_pose[moments], self.moments.gripper_pos[moments]]))
        count = len(views)
        return ViewBatch(
            features, torch.tensor(views), hands.unsqueeze(1).expand(-1, count, -1), torch.zeros(len(moments), count)
        )

    def labels(self, moments: Indices, things: Indices, steps: int, seen: Indices) -> Labels:
        """What the expert would do at `moments` if told to pick object `things[i]`, last seen at the moments `seen`.

        Args:
            moments: (B,) when the expert acts.
            things: (B,) the instructed objects.
            steps: set-points in a chunk.
            seen: (B,) when the images were taken.
        """
        m, now = self.moments, (moments, things)

        def float64(values: NDArray[np.float32]) -> NDArray[np.float64]:
            return values.astype(np.float64)

        def tensor(values: NDArray[np.float64]) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32))

        ee, target, period = float64(m.ee_pose[moments]), float64(m.position[now]), YAW_PERIODS[m.shape[now]]
        scene = Scene(
            ee=ee,
            gripper=float64(m.gripper_pos[moments]),
            gripper_rate=float64(m.gripper_vel[moments]),
            target=target,
            target_yaw=float64(m.yaw[now]),
            yaw_period=period,
            velocity=float64(m.velocity[now]),
        )
        points = chunk(scene, steps)
        turn = points[..., 3] - ee[:, None, 3]
        yaw = float64(m.yaw[seen, things])
        return Labels(
            seen=tensor(float64(m.position[seen, things])),
            turned=tensor(np.column_stack([f(n * yaw) for n in (2, 4) for f in (np.cos, np.sin)])),
            symmetric=tensor(np.repeat(np.isclose(period[:, None], HALF_AND_QUARTER_TURN), 2, axis=1)),
            target=tensor(target),
            target_in_hand=tensor(target - ee[:, :3]),
            chunk_xyz=tensor(points[..., :3] - ee[:, None, :3]),
            chunk_yaw=tensor(np.stack([np.cos(turn), np.sin(turn)], axis=-1)),
            gripper=tensor(points[..., 4]),
        )

    def cells(self, moments: Indices, views: list[int], grid: Grid) -> Cells:
        """Where all objects are in each view. Unused object slots count as outside."""
        m, (rows, columns) = self.moments, grid
        place = torch.from_numpy(m.place[moments][:, views])
        scaled = place * torch.tensor([columns, rows])
        whole = scaled.floor()
        inside = ((place >= 0) & (place < 1)).all(-1)
        exists = torch.from_numpy(np.arange(m.colour.shape[1]) < m.count[moments][:, None])[:, None]
        cell = torch.where(inside & exists, whole[..., 1] * columns + whole[..., 0], rows * columns).long()
        offset = torch.where(inside[..., None], scaled - whole - 0.5, 0.0)
        colour, shape = (torch.from_numpy(x[moments])[:, None].expand(cell.shape) for x in (m.colour, m.shape))
        return Cells(cell, offset, colour, shape)
