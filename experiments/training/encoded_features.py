"""What the encoder says about every pictured moment, computed once: a head learns from that in minutes.

Lessons are drawn as in `experiments.train`: one to five views, all poolings, ages and gaps between two looks.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vlatency.agent.optimization import Pool
from vlatency.agent.vla.model.heads import Past, SensorBatch, ViewBatch
from vlatency.agent.vla.model.views import token_grid
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.shared.progress import bars
from vlatency.experiments.train import SIZES, SIZES_P, Draw
from vlatency.experiments.training.losses import MAX_AGE_TICKS, Demonstrations, Labels

BLOCK, BATCH = 128, 16
"""Moments whose features are written to disk together, and encoded together."""
BACK, BACK_P = (0, 1, 2, 3, 4, 5, 6), (0.2, 0.1, 0.35, 0.15, 0.08, 0.06, 0.06)
"""How many pictures ago the earlier look was, 0 for none, and how often."""
SLOTS = 2
"""Instructions under which each moment is read: what the demonstration was told, and another object."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the encoder says about every pictured moment."""

    moments: NDArray[np.int64]
    """(N,) in order."""
    things: NDArray[np.int64]
    """(N, SLOTS) the object that the instruction named."""
    features: NDArray[np.float32]
    """(N, SLOTS, V, F) of all views, see `ViewReadout.features`."""


@dataclass(frozen=True)
class Lesson:
    """Inputs of an action head at B moments, and what it should say."""

    looks: ViewBatch
    past: Past
    sensors: SensorBatch
    age_s: torch.Tensor
    pool: Pool
    labels: Labels


def folder_of(root: Path, model: VLA, demos: Demonstrations) -> Path:
    """Where the features of these demonstrations by this encoder are kept below `root`."""
    digest = hashlib.sha256(demos.moments.position.tobytes())
    for name, tensor in model.encoder.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return root / f"encoded-{digest.hexdigest()[:12]}"


def encode(model: VLA, demos: Demonstrations, folder: Path) -> Encoded:
    """Features of all pictured moments, block by block; those that `folder` holds are not computed again.

    Every block is seen at one size, drawn as in training among those that its images have.
    """
    m = demos.moments
    moments = np.sort(np.concatenate([demos.training, demos.validation]))
    step = 1 + m.episode[moments] % np.maximum(1, m.count[moments] - 1)
    # The same other object all through an episode, so that two looks at it can show motion.
    things = np.stack([m.target[moments], (m.target[moments] + step) % m.count[moments]], axis=1)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(moments), BLOCK)]
    paths = [folder / f"{number:05d}.npy" for number in range(len(blocks))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    began = time.monotonic()
    with bars() as progress, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        progress.add("encode", len(paths), len(paths) - len(missing))
        for number in missing:
            seen, named = moments[blocks[number]], things[blocks[number]]
            size = draw_size(demos.sizes(seen), np.random.default_rng(number))
            starts = range(0, len(seen), BATCH)
            parts = [_read(model, demos, seen[i : i + BATCH], named[i : i + BATCH], size) for i in starts]
            partial = paths[number].with_suffix(".partial")
            with partial.open("wb") as file:
                np.save(file, np.concatenate(parts))
            os.replace(partial, paths[number])
            if number == missing[0]:
                minutes = (time.monotonic() - began) * len(missing) / 60
                print(f"{len(moments)} moments to encode, about {minutes:.1f} min for those that are missing")
            progress.advance("encode")
    return Encoded(moments, things, np.concatenate([np.load(path) for path in paths]))


def draw_size(stored: NDArray[np.int64], rng: np.random.Generator) -> tuple[int, int]:
    """One of the sizes that a training uses, to which no image must be enlarged; `stored` (N, 2) are theirs [px].

    Large images are few, and seen at the large sizes only, so that these are met about as often as in training.
    """
    large = np.array([min(size) > min(SIZES[0]) for size in SIZES])
    fits = np.array([(stored >= size).all() for size in SIZES])
    share = np.array(SIZES_P) * (fits & large if (fits & large).any() else fits)
    return SIZES[rng.choice(len(SIZES), p=share / share.sum())]


def _read(
    model: VLA, demos: Demonstrations, seen: NDArray[np.int64], named: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """(B, SLOTS, V, F) features of the moments `seen` (B,), told of `named` (B, SLOTS)."""
    cameras = model.config.cameras
    tokens, grid = model.encoder.vision(demos.pixels(seen, list(range(len(cameras))), size).flatten(0, 1))
    assert grid == token_grid(*size, model.config)
    shared = tokens.unflatten(0, (len(seen), len(cameras))).repeat(SLOTS, 1, 1, 1)
    texts = demos.instructions(np.tile(seen, SLOTS), named.T.ravel())
    hidden = model.encoder.language(shared, texts, cameras, "batched", grid)
    read = model.encoder.readout(hidden, grid).features
    features: NDArray[np.float32] = read.unflatten(0, (SLOTS, len(seen))).transpose(0, 1).float().numpy()
    return features


def draw(model: VLA, demos: Demonstrations, encoded: Encoded, rng: np.random.Generator, batch: int) -> Lesson:
    """A lesson about `batch` moments of the training episodes."""
    look = Draw.random(rng)
    late, slot = rng.choice(demos.training, batch), rng.integers(0, SLOTS, batch)
    ticks = rng.integers(1, MAX_AGE_TICKS + 1, batch) * (rng.random(batch) < 0.4)
    back = rng.choice(BACK, batch, p=BACK_P)
    return lesson(model, demos, encoded, late, back, demos.later(late, ticks), slot, look.cameras, look.pool)


def examination(model: VLA, demos: Demonstrations, encoded: Encoded) -> Lesson:
    """The moments kept aside: three views, the other object, an earlier look 0.6 s before, features just taken."""
    seen = demos.validation
    slot, back = np.ones(len(seen), dtype=np.int64), np.full(len(seen), 2)
    return lesson(model, demos, encoded, seen, back, seen, slot, model.config.cameras[:3], "attention")


def lesson(
    model: VLA,
    demos: Demonstrations,
    encoded: Encoded,
    late: NDArray[np.int64],
    back: NDArray[np.int64],
    now: NDArray[np.int64],
    slot: NDArray[np.int64],
    cameras: tuple[str, ...],
    pool: Pool,
) -> Lesson:
    """A head's inputs at the moments `now` of looks at `late` and, `back` pictures before, once more.

    All (B,); `slot` is the instruction.
    """
    views = model.config.view_ids(cameras)
    before = demos.earlier(late, back)
    row, earlier = (np.searchsorted(encoded.moments, seen) for seen in (late, np.where(before < 0, late, before)))
    # Where the instruction has changed in between, the earlier look does not count.
    before = np.where(encoded.things[row, slot] == encoded.things[earlier, slot], encoded.moments[earlier], late)

    def look(rows: NDArray[np.int64]) -> ViewBatch:
        features = torch.from_numpy(encoded.features[rows, slot][:, views])
        hands = demos.hands(encoded.moments[rows]).unsqueeze(1).expand(-1, len(views), -1)
        return ViewBatch(features, torch.tensor(views), hands, torch.zeros(len(rows), len(views)))

    past = Past(look(earlier), demos.seconds(before, late))
    labels = demos.labels(now, encoded.things[row, slot], model.config.chunk, seen=late)
    return Lesson(look(row), past, demos.sensors(now), demos.seconds(late, now), pool, labels)
