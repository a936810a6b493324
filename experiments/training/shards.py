"""Demonstrations on disk: the contents of a shard, atomic writes, and reading many shards as one.

A shard stores states, not labels. The expert is a function of the state alone, so its labels for any instructed object
are computed when they are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from vlatency.experiments.shared.files import replacing
from vlatency.sim.errors import UsageError

MOST_OBJECTS = 10
"""K of all shards, so that shards of different tasks can be joined."""


@dataclass(frozen=True)
class Moments:
    """T moments at 10 Hz from many episodes, with K object slots and V views. Unused slots are zero.

    Attributes:
        episode: (T,) number of the episode.
        image: (T,) row of the images taken at this moment; -1 if none were taken.
        joint_pos, joint_vel: (T, 6) [rad, rad/s].
        gripper_pos, gripper_vel: (T,) [0 open to 1 closed, 1/s].
        ee_pose: (T, 4) [m, rad].
        wrench: (T, 50, 6) [N, N m].
        position: (T, K, 3) centres of the objects [m].
        yaw: (T, K) [rad].
        shape, colour: (T, K) indices in `sim.names.SHAPE_NAMES` and `COLOUR_NAMES`.
        half_height: (T, K) [m].
        velocity: (T, K, 3) velocity at which the belt or the turntable carries the objects [m/s].
        count: (T,) number of objects on the table.
        target: (T,) index of the object that the robot is told to pick.
        place: (T, V, K, 2) the objects' centres in each image, right and down, 0 to 1 inside the image.
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
    """The file of shard `number`. Its images lie beside it, as `.npy`."""
    return folder / f"{number:05d}.npz"


def write_shard(path: Path, moments: Moments, images: NDArray[np.uint8]) -> None:
    """Write a shard. The images come first, and each file atomically, so that a shard that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path.with_suffix(".npy")) as file:
        np.save(file, images)
    with replacing(path) as file:
        np.savez(file, **{field.name: getattr(moments, field.name) for field in fields(Moments)})


def read_shards(folders: Sequence[Path]) -> tuple[Moments, list[NDArray[np.uint8]]]:
    """Join all shards of the folders.

    Returns:
        The moments, whose `episode` counts through all shards and whose `image` counts through all images; and the
        images of each shard (n, V, H, W, 3), mapped into memory, not read.

    Raises:
        UsageError: a folder holds no shard.
    """
    columns: dict[str, list[NDArray[np.generic]]] = {field.name: [] for field in fields(Moments)}
    images: list[NDArray[np.uint8]] = []
    rows = episodes = 0
    for folder in folders:
        paths = sorted(folder.glob("*.npz"))
        if not paths:
            record = f"python experiments/collect.py --out {quote(str(folder))}"
            raise UsageError(f"no demonstrations in {folder}; record some with {record}")
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
