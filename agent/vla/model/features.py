"""What the head gets from the encoder: the newest look at the scene, and earlier ones that show motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

GAP_NS, SHORTEST_GAP_NS = 600_000_000, 300_000_000
"""Time between two looks that show motion, and the least: over less, errors of a few millimetres look like motion."""


class ForwardPass:
    """Views that the encoder reads together, now or when somebody needs their features.

    Args:
        cameras: of the views, in the order of the policy.
        images: uint8 (H, W, 3) by camera name. They are let go when they have been read.
        instruction: what the robot is to do.
    """

    def __init__(self, cameras: tuple[str, ...], images: Mapping[str, np.ndarray], instruction: str) -> None:
        self.cameras, self.images, self.instruction = cameras, images, instruction
        self._features: np.ndarray | None = None

    @property
    def done(self) -> bool:
        """Whether the encoder has read the views."""
        return self._features is not None

    @property
    def features(self) -> np.ndarray:
        """(V, F) float32 as of `ViewReadout.features`; only of one that is done."""
        assert self._features is not None, "the encoder has not read these views yet"
        return self._features

    def finish(self, features: np.ndarray) -> None:
        """Keep the features (V, F), and nothing else."""
        self._features, self.images = features, {}


@dataclass(frozen=True)
class Look:
    """One set of views, encoded or still to be encoded."""

    t_ns: int
    """When the newest of the views were taken [ns]."""
    instruction: str
    sources: tuple[tuple[ForwardPass, int], ...]
    """For each of the V views the forward pass that reads it, and its row there."""
    ee_at_capture: np.ndarray
    """(V, 5) x, y, z [m], yaw [rad] and gripper position when each view was taken."""
    lag_s: np.ndarray
    """(V,) how much older each view is than the newest [s]."""

    @property
    def views(self) -> np.ndarray:
        """(V, F) float32; see `ViewReadout.features`. All passes must be done."""
        return np.stack([each.features[row] for each, row in self.sources])


@dataclass(frozen=True)
class Features:
    """The answer to `Encode`: all that `act` later needs from the images."""

    cameras: tuple[str, ...]
    newest: Look
    earlier: tuple[Look, ...]
    """Earlier looks with the same instruction, newest first, as far back as motion needs."""

    @property
    def past(self) -> Look | None:
        """The look that shows motion when compared with the newest: the newest one that is old enough, if any."""
        oldest = self.earlier[-1] if self.earlier else None
        return oldest if oldest and self.newest.t_ns - oldest.t_ns >= SHORTEST_GAP_NS else None


def feature_distance(features: Sequence[Features], reference: Sequence[Features]) -> float:
    """Norm of the difference of two lists of answers to the same requests, over the norm of the reference."""
    ours = np.stack([each.newest.views for each in features]).astype(np.float64)
    expected = np.stack([each.newest.views for each in reference]).astype(np.float64)
    return float(np.linalg.norm(ours - expected) / np.linalg.norm(expected))


def earlier_looks(newest: Look, before: Features | None) -> tuple[Look, ...]:
    """The looks before `newest` that are worth keeping."""
    if before is None or before.newest.instruction != newest.instruction:
        return ()
    looks = (before.newest, *before.earlier)
    for number, look in enumerate(looks):
        if newest.t_ns - look.t_ns >= GAP_NS:
            return looks[: number + 1]
    return looks


def renewed(old: Look, new: Look, places: Sequence[int]) -> Look:
    """`old` with the views of `new` in the given `places`, at the time of `new`."""
    sources, ee_at_capture = list(old.sources), old.ee_at_capture.copy()
    lag_s = old.lag_s + (new.t_ns - old.t_ns) * 1e-9
    for place, source in zip(places, new.sources, strict=True):
        sources[place] = source
    ee_at_capture[places], lag_s[places] = new.ee_at_capture, new.lag_s
    return replace(new, sources=tuple(sources), ee_at_capture=ee_at_capture, lag_s=lag_s)
