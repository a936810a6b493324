"""What the head gets from the encoder: the newest look at the scene, and earlier ones that show motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

GAP_NS, SHORTEST_GAP_NS = 600_000_000, 300_000_000
"""Time between two looks that show motion, and the least: over less, errors of a few millimetres look like motion."""


@dataclass(frozen=True)
class Look:
    """One set of encoded views."""

    t_ns: int
    """When the newest of the views were taken [ns]."""
    instruction: str
    views: np.ndarray
    """(V, F) float32; see `ViewReadout.features`."""
    ee_at_capture: np.ndarray
    """(V, 5) x, y, z [m], yaw [rad] and gripper position when each view was taken."""
    lag_s: np.ndarray
    """(V,) how much older each view is than the newest [s]."""


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
    views, ee_at_capture = old.views.copy(), old.ee_at_capture.copy()
    lag_s = old.lag_s + (new.t_ns - old.t_ns) * 1e-9
    views[places], ee_at_capture[places], lag_s[places] = new.views, new.ee_at_capture, new.lag_s
    return replace(new, views=views, ee_at_capture=ee_at_capture, lag_s=lag_s)
