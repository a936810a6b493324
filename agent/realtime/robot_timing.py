"""Delays of the robot around the model: cameras with a frame rate and a cable, actuators, and late chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from vlatency.sim.clock import NS_PER_S, ms_to_ns
from vlatency.sim.errors import UsageError

MAX_MS = 10_000.0
Late: TypeAlias = Literal["apply", "drop"]


@dataclass(frozen=True)
class RobotTiming:
    """Frame rate and delays of cameras and actuators. By default cameras expose on demand and nothing is delayed.

    Raises:
        UsageError: a value out of range.
    """

    camera_hz: float = 0.0
    """Frame rate of free-running cameras [Hz]; 0: cameras expose at each look."""
    camera_phase_ms: float = 0.0
    """Time of the first exposure of free-running cameras [ms]."""
    camera_delay_ms: float = 0.0
    """From exposure until the encoder has the images [ms]."""
    actuation_ms: float = 0.0
    """From the end of a head run until its first set-point takes effect [ms]."""
    late: Late = "apply"
    """What happens in async mode to a chunk whose head run takes longer than a control period."""

    def __post_init__(self) -> None:
        if not (self.camera_hz == 0 or 0.1 <= self.camera_hz <= 500):  # also refuses NaN
            raise UsageError(f"camera-hz must be 0 (on demand) or 0.1 to 500, not {self.camera_hz:g}")
        for name in ("camera_phase_ms", "camera_delay_ms", "actuation_ms"):
            value = getattr(self, name)
            if not 0 <= value <= MAX_MS:
                raise UsageError(f"{name.replace('_', '-')} must be 0 to {MAX_MS:g}, not {value:g}")
        if self.late not in get_args(Late):
            raise UsageError(f"unknown late {self.late!r}; choose from {', '.join(get_args(Late))}")

    @property
    def delay_ns(self) -> int:
        """From exposure until the encoder has the images [ns]."""
        return ms_to_ns(self.camera_delay_ms)

    @property
    def actuation_ns(self) -> int:
        """From the end of a head run until its first set-point takes effect [ns]."""
        return ms_to_ns(self.actuation_ms)

    def exposure_ns(self, frame: int) -> int:
        """Time at which free-running cameras expose frame number `frame` [ns]. Rounding errors do not add up."""
        return ms_to_ns(self.camera_phase_ms) + round(frame * NS_PER_S / self.camera_hz)

    def newest(self, t_ns: int) -> int:
        """Number of the newest frame that the encoder has at `t_ns`; below 0 if it has none."""
        guess = math.floor((t_ns - self.delay_ns - ms_to_ns(self.camera_phase_ms)) * self.camera_hz / NS_PER_S) + 1
        return guess if self.exposure_ns(guess) + self.delay_ns <= t_ns else guess - 1
