"""How long one kind of job takes: a constant, a log-normal distribution, or measured samples in order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np


@dataclass(frozen=True)
class Steady:
    """Always takes the same time."""

    ms: float

    @property
    def p50_ms(self) -> float:
        """Median [ms]."""
        return self.ms

    @property
    def p95_ms(self) -> float:
        """95th percentile [ms]."""
        return self.ms

    def draws(self, rng: np.random.Generator) -> Iterator[float]:
        """Durations [ms], without end."""
        while True:
            yield self.ms


@dataclass(frozen=True)
class Lognormal:
    """A log-normal distribution with this median, whose spread fits the logarithms of p95 and p99 (least squares)."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        points = [(NormalDist().inv_cdf(q), math.log(ms / self.p50_ms)) for q, ms in self._tail()]
        return sum(z * y for z, y in points) / sum(z * z for z, _ in points)

    def _tail(self) -> tuple[tuple[float, float], ...]:
        return (0.95, self.p95_ms), (0.99, self.p99_ms)

    def draws(self, rng: np.random.Generator) -> Iterator[float]:
        """Durations [ms], without end."""
        sigma = self.sigma
        while True:
            yield self.p50_ms * math.exp(sigma * rng.standard_normal())


@dataclass(frozen=True)
class Samples:
    """Measured durations, in the order in which they were measured.

    An episode replays them in a circle from a random start, so that slow spells stay together.
    """

    ms: tuple[float, ...]

    @property
    def p50_ms(self) -> float:
        """Median [ms]."""
        return float(np.median(self.ms))

    @property
    def p95_ms(self) -> float:
        """95th percentile [ms], linear between samples."""
        return float(np.percentile(self.ms, 95))

    def draws(self, rng: np.random.Generator) -> Iterator[float]:
        """Durations [ms], without end."""
        place = int(rng.integers(len(self.ms)))
        while True:
            yield self.ms[place]
            place = (place + 1) % len(self.ms)


Distribution: TypeAlias = Steady | Lognormal | Samples
