"""What a training step is about: the views, sizes and moments drawn for it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vlatency.agent.optimization import Encoding, Pool
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.views import token_grid
from vlatency.experiments.training.demonstrations import Demonstrations, Indices
from vlatency.sim.names import CAMERA_ORDER

SIZES, SIZE_SHARES = ((224, 224), (112, 112), (448, 252), (640, 360)), (0.7, 0.1, 0.06, 0.14)
"""Width and height [px] at which images are shown, and how often."""
MAX_AGE_TICKS = 20
"""The oldest features that the head learns to use are 2 s old."""
GAPS, GAP_SHARES = (1, 2, 3, 4, 5, 6), (0.15, 0.4, 0.15, 0.1, 0.1, 0.1)
"""How many images lie between an earlier and a later look, and how often."""


@dataclass(frozen=True)
class Draw:
    """The options of one step. Every configuration that run.py can ask for occurs in training."""

    cameras: tuple[str, ...]
    size: tuple[int, int]
    encoding: Encoding
    pool: Pool

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Draw one to five views, mostly the first three, a size, an encoding and a pooling."""
        cameras = CAMERA_ORDER[:3]
        if rng.random() < 0.35:
            chosen = rng.permutation(len(CAMERA_ORDER))[: rng.integers(1, 6)]
            cameras = tuple(CAMERA_ORDER[i] for i in sorted(chosen))
        pools: tuple[Pool, ...] = ("attention", "mean", "max")
        return cls(
            cameras=cameras,
            size=SIZES[rng.choice(len(SIZES), p=SIZE_SHARES)],
            encoding="joint" if rng.random() < 0.15 else "batched",
            pool=pools[rng.choice(3, p=[0.6, 0.2, 0.2])],
        )


def draw_ages(count: int, rng: np.random.Generator) -> Indices:
    """Ages of features (count,) in control ticks: 60 % are new, the others up to `MAX_AGE_TICKS` old."""
    return rng.integers(1, MAX_AGE_TICKS + 1, count) * (rng.random(count) < 0.4)


@dataclass(frozen=True, eq=False)
class Batch:
    """The moments of one step: P pairs of an earlier and a later look, read under two instructions each.

    Attributes:
        draw: the options.
        moments: (4P,) when the images were taken: the earlier and the later ones, then the same again.
        things: (4P,) the instructed objects; first the one that the demonstration was told, then another one.
        before: (4P,) row of the earlier look that each head sees; its own row if it sees none.
        now: (4P,) moments at which the head acts.
        stale: (4P, V) views that are left over from the earlier look, as when cameras take turns.
    """

    draw: Draw
    moments: Indices
    things: Indices
    before: Indices
    now: Indices
    stale: NDArray[np.bool_]

    @property
    def encoded(self) -> Indices:
        """(2P,) the moments that have to be encoded, since both instructions share the vision of a moment."""
        return self.moments[: len(self.moments) // 2]


def draw_batch(
    demonstrations: Demonstrations, rng: np.random.Generator, config: PolicyConfig, most_moments: int
) -> Batch:
    """Draw a batch that encodes at most `most_moments` moments, fewer if the images are large.

    Raises:
        UsageError: no demonstrations have images of the size that was drawn.
    """
    draw, m = Draw.random(rng), demonstrations.moments
    rows, columns = token_grid(*draw.size, config)
    # Each step costs about the same.
    pairs = max(2, min(most_moments, round(most_moments * 64 / (rows * columns))) // 2)
    late = rng.choice(demonstrations.training_with(draw.size), pairs)
    early = demonstrations.earlier(late, rng.choice(GAPS, pairs, p=GAP_SHARES))
    # Where there is no earlier image of the same episode, another moment takes its place, with objects of its own.
    related = early >= 0
    early = np.where(related, early, rng.permutation(late))
    told, other = m.target[late], demonstrations.other(late, rng)
    alone = rng.integers(0, m.count[early])
    told_early, other_early = np.where(related, told, m.target[early]), np.where(related, other, alone)
    moments = np.tile(np.concatenate([early, late]), 2)
    has_earlier = np.tile(np.concatenate([np.zeros_like(related), related]), 2)
    row = np.arange(4 * pairs)
    now = demonstrations.later(moments, draw_ages(4 * pairs, rng))
    some_stale = has_earlier & (rng.random(4 * pairs) < 0.15)
    return Batch(
        draw=draw,
        moments=moments,
        things=np.concatenate([told_early, told, other_early, other]),
        before=np.where(has_earlier, row - pairs, row),
        now=now,
        stale=some_stale[:, None] & (rng.random(len(draw.cameras)) < 0.5),
    )
