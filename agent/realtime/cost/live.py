"""`--latency measured`: the clock charges what every answer really took where the run took place."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vlatency.agent.realtime.cost.latency import Basis, LatencyStream, NoLatency
from vlatency.sim.clock import ms_to_ns

MEASURED = "measured"
"""How a command line spells it."""


@dataclass(frozen=True)
class LiveLatency(NoLatency):
    """What a policy of others really takes, answer by answer. Results are those of one host at one time.

    Attributes:
        last_ms: how long the last answer took [ms]; an episode sets it.
    """

    last_ms: Callable[[], float] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """As a command line spells it."""
        return MEASURED

    @property
    def basis(self) -> Basis:
        """It is not known beforehand."""
        return "live"

    @property
    def sha256(self) -> str:
        """There is nothing to hash: it differs every time."""
        return MEASURED

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """What the answers of one episode take. TypeError unless `last_ms` is set."""
        if self.last_ms is None:
            raise TypeError("an answer is timed in an episode, and this is none")
        return _Live(self.last_ms)

    def describe(self) -> str:
        """One line for the header."""
        return "measured: what every answer took on this host, which no other run repeats"


@dataclass(frozen=True)
class _Live:
    last_ms: Callable[[], float]

    def encode_ns(self, views: int, of: int) -> int:
        return ms_to_ns(self.last_ms())

    def head_ns(self) -> int:
        return 0
