"""The encoder's features of every moment with images, computed once, so that a head can be trained in minutes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.shared.files import replacing
from vlatency.experiments.shared.progress import bars
from vlatency.experiments.training.batches import SIZE_SHARES, SIZES
from vlatency.experiments.training.demonstrations import Demonstrations, Indices

BLOCK, BATCH = 128, 16
"""Moments whose features are written to one file, and moments encoded together."""
SLOTS = 2
"""Instructions under which each moment is encoded: what the demonstration was told, and another object."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """The features of every moment with images.

    Attributes:
        moments: (N,) in order.
        things: (N, SLOTS) the objects that the instructions name.
        features: (N, SLOTS, V, F) of all views, see `ViewReadout.features`.
    """

    moments: Indices
    things: Indices
    features: NDArray[np.float32]


def folder_of(root: Path, model: VLA, demonstrations: Demonstrations) -> Path:
    """The folder below `root` for the features of these demonstrations by this encoder."""
    digest = hashlib.sha256(demonstrations.moments.position.tobytes())
    for name, tensor in model.encoder.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return root / f"encoded-{digest.hexdigest()[:12]}"


def encode(model: VLA, demonstrations: Demonstrations, folder: Path) -> Encoded:
    """Encode all moments with images, block by block, and keep the features in `folder`; existing blocks are read.

    All images of a block are shown at one size, drawn as in training from those that need no enlargement.
    """
    m = demonstrations.moments
    moments = np.sort(np.concatenate([demonstrations.training, demonstrations.validation]))
    step = 1 + m.episode[moments] % np.maximum(1, m.count[moments] - 1)
    # The other object stays the same throughout an episode, so that two looks at it show its motion.
    things = np.stack([m.target[moments], (m.target[moments] + step) % m.count[moments]], axis=1)
    blocks = np.split(np.arange(len(moments)), range(BLOCK, len(moments), BLOCK))
    paths = [folder / f"{number:05d}.npy" for number in range(len(blocks))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    with bars() as progress, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        progress.add("encode", len(paths), len(paths) - len(missing))
        for number in missing:
            block = blocks[number]
            size = draw_size(demonstrations.sizes(moments[block]), np.random.default_rng(number))
            parts = np.split(block, range(BATCH, len(block), BATCH))
            features = [_features(model, demonstrations, moments[part], things[part], size) for part in parts]
            with replacing(paths[number]) as file:
                np.save(file, np.concatenate(features))
            progress.advance("encode")
    return Encoded(moments, things, np.concatenate([np.load(path) for path in paths]))


def draw_size(stored: Indices, rng: np.random.Generator) -> tuple[int, int]:
    """Draw one of the training's sizes at which no image has to be enlarged.

    Large images are rare, and shown at large sizes only, so that these occur about as often as in training.

    Args:
        stored: (N, 2) width and height of the images [px].
        rng: the random generator.
    """
    large = np.array([min(size) > min(SIZES[0]) for size in SIZES])
    fits = np.array([(stored >= size).all() for size in SIZES])
    share = np.array(SIZE_SHARES) * (fits & large if (fits & large).any() else fits)
    return SIZES[rng.choice(len(SIZES), p=share / share.sum())]


def _features(
    model: VLA, demonstrations: Demonstrations, moments: Indices, things: Indices, size: tuple[int, int]
) -> NDArray[np.float32]:
    """(B, SLOTS, V, F) features of the images at `moments` (B,) under instructions that name `things` (B, SLOTS)."""
    cameras = model.config.cameras
    pixels = demonstrations.pixels(moments, list(range(len(cameras))), size)
    tokens, grid = model.encoder.vision(pixels.flatten(0, 1))
    shared = tokens.unflatten(0, (len(moments), len(cameras))).repeat(SLOTS, 1, 1, 1)
    texts = demonstrations.instructions(np.tile(moments, SLOTS), things.T.ravel())
    hidden = model.encoder.language(shared, texts, cameras, "batched", grid)
    read = model.encoder.readout(hidden, grid).features
    features: NDArray[np.float32] = read.unflatten(0, (SLOTS, len(moments))).transpose(0, 1).float().numpy()
    return features
