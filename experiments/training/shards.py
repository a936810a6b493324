"""Demonstrations on disk: what one shard holds, how it is written whole or not at all, how shards are read together.

State is stored, not labels: the expert is a memoryless function, so labels for any instructed object are computed when
they are needed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlatency.sim.errors import UsageError

MOST_OBJECTS = 10
"""K of all shards, so that those of any tasks can be joined."""


@dataclass(frozen=True)
class Moments:
    """T moments at 10 Hz out of many episodes, K objects each at most, V views. Padding objects are zero.

    Attributes:
        episode: (T,) number of the episode.
        image: (T,) row of the images taken at this moment; -1 where none were taken.
        joint_pos, joint_vel: (T, 6) [rad, rad/s].
        gripper_pos, gripper_vel: (T,) [0 open to 1 closed, 1/s].
        ee_pose: (T, 4) [m, rad].
        wrench: (T, 50, 6) [N, N m].
        position: (T, K, 3) centres of the objects [m].
        yaw: (T, K) [rad].
        shape, colour: (T, K) indices in `sim.world.SHAPES` and `COLOURS`.
        half_height: (T, K) [m].
        velocity: (T, K, 3) with which belt or turntable carry the objects [m/s].
        count: (T,) objects on the table.
        target: (T,) number of the object that the robot is told to pick.
        place: (T, V, K, 2) the centres in each image, right and down in 0 to 1; outside means not in view.
    """

    episode: NDArray[np.int64]
    image: NDArray[np.int64]
    joint_pos: NDArray[np.float32]
    joint_vel: NDArray[np.float32]
    gripper_pos: NDArray[np.float32]
    gripper_vel: NDArray[np.float32]
    ee_pose: NDArray[np.float32]
    wrench: NDArray[np.float32]
    position: NDArray[np.float32]
    yaw: NDArray[np.float32]
    shape: NDArray[np.int64]
    colour: NDArray[np.int64]
    half_height: NDArray[np.float32]
    velocity: NDArray[np.float32]
    count: NDArray[np.int64]
    target: NDArray[np.int64]
    place: NDArray[np.float32]


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` lies; its images lie beside it as `.npy`."""
    return folder / f"{number:05d}.npz"


def write_shard(path: Path, moments: Moments, images: NDArray[np.uint8]) -> None:
    """Write a shard so that it exists whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures, partial = path.with_suffix(".npy"), path.with_suffix(".partial.npz")
    np.save(pictures, images)
    np.savez(partial, **{field.name: getattr(moments, field.name) for field in fields(Moments)})
    os.replace(partial, path)


def read_shards(folders: Sequence[Path]) -> tuple[Moments, list[NDArray[np.uint8]]]:
    """All shards of the folders as one, images (n, V, H, W, 3) mapped, not read.

    `image` then counts through the mapped arrays in order, `episode` through all episodes.

    Raises:
        UsageError: a folder holds no shard.
    """
    columns: dict[str, list[NDArray[np.generic]]] = {field.name: [] for field in fields(Moments)}
    images: list[NDArray[np.uint8]] = []
    rows = episodes = 0
    for folder in folders:
        paths = sorted(path for path in folder.glob("*.npz") if ".partial" not in path.name)
        if not paths:
            raise UsageError(
                f"no demonstrations in {folder}; write some with python experiments/collect.py --out {folder}"
            )
        for path in paths:
            with np.load(path) as stored:
                shard = {name: stored[name] for name in columns}
            shard["image"] = np.where(shard["image"] >= 0, shard["image"] + rows, -1)
            shard["episode"] = shard["episode"] + episodes
            for name, column in columns.items():
                column.append(shard[name])
            images.append(np.load(path.with_suffix(".npy"), mmap_mode="r"))
            rows += len(images[-1])
            episodes = int(shard["episode"].max()) + 1
    return Moments(**{name: np.concatenate(column) for name, column in columns.items()}), images
