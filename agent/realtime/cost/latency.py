"""What the clock charges for an encode and for a run of the head, however long the host really takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from vlatency.agent.realtime.cost.distribution import Distribution, Steady
from vlatency.agent.realtime.cost.schema import CONTENTION
from vlatency.sim.clock import ms_to_ns

Basis = Literal["none", "chosen", "measured", "scaled", "modelled", "live"]
"""How the latency of an encode is known: there is none, the user chose it, it was measured, it was scaled from measured
ones (by arithmetic, or by a factor), it is a device's roof, or every answer is timed as it comes."""


class LatencyStream(Protocol):
    """The latencies of one episode, one job after another."""

    def encode_ns(self, views: int, of: int) -> int:
        """Latency of the next encode [ns], of `views` of `of` views: from the images to features that can be used."""

    def head_ns(self) -> int:
        """Latency of the next run of the head [ns]: from reading the sensors until the command applies."""


@dataclass(frozen=True)
class Constant:
    """A stream in which every job takes its nominal time.

    An encode of k of n views takes k/n of that time. This is what the arithmetic of batched views says, as each is a
    sequence of its own; it is too little for a device on which every encode has a fixed cost.
    """

    vl_ms: float
    head_ms: float

    def encode_ns(self, views: int, of: int) -> int:
        """Latency of an encode of `views` of `of` views [ns]."""
        return ms_to_ns(self.vl_ms if views == of else self.vl_ms * views / of)

    def head_ns(self) -> int:
        """Latency of a run of the head [ns]."""
        return ms_to_ns(self.head_ms)


@dataclass(frozen=True)
class Charged:
    """What a latency model charges, in three figures; percentiles of preprocessing and encode are simply added."""

    vl_p50_ms: float
    """Median of preprocessing and encode [ms]."""
    vl_p95_ms: float
    """95th percentile of preprocessing and encode [ms]."""
    head_ms: float
    """Median of sensors and head [ms]."""


@dataclass(frozen=True)
class FixedLatency:
    """Two constants that the user chose.

    Example:
        >>> FixedLatency(380, 11).describe()
        'fixed: VL 380.0 ms, sensor + head 11 ms'
    """

    encode_ms: float
    act_ms: float
    """Of sensors and head."""
    factor: float = 1.0
    """Both latencies are multiplied by it."""

    @property
    def name(self) -> str:
        """The text that `parse_latency` takes, without the factor."""
        return f"fixed:{_shortest(self.encode_ms)},{_shortest(self.act_ms)}"

    @property
    def vl_ms(self) -> float:
        """Latency of an encode [ms]."""
        return self.encode_ms * self.factor

    @property
    def head_ms(self) -> float:
        """Latency of sensors and head [ms]."""
        return self.act_ms * self.factor

    @property
    def contention(self) -> float:
        """Factor by which an encode on the same GPU slows the head down."""
        return CONTENTION

    @property
    def contention_measured(self) -> bool:
        """Whether that factor is known; an even share is assumed here."""
        return False

    @property
    def basis(self) -> Basis:
        """How the latency of an encode is known."""
        return "chosen"

    @property
    def charged(self) -> Charged:
        """The latencies in three figures."""
        return Charged(self.vl_ms, self.vl_ms, self.head_ms)

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that it can charge."""
        return _sha256({"vl_ms": self.vl_ms, "head_ms": self.head_ms, "contention": self.contention})

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """The latencies of one episode."""
        return Constant(self.vl_ms, self.head_ms)

    def describe(self) -> str:
        """One line for the header."""
        return f"fixed{_times(self.factor)}: VL {_figure(self.vl_ms)} ms, sensor + head {_figure(self.head_ms)} ms"


@dataclass(frozen=True)
class NoLatency(FixedLatency):
    """Thinking takes no time."""

    encode_ms: float = field(default=0.0, init=False)
    act_ms: float = field(default=0.0, init=False)
    factor: float = field(default=1.0, init=False)

    @property
    def name(self) -> str:
        """The text that `parse_latency` takes."""
        return "none"

    @property
    def basis(self) -> Basis:
        """There is no latency to be known."""
        return "none"

    def describe(self) -> str:
        """One line for the header."""
        return "none: VL 0 ms, sensor + head 0 ms"


@dataclass(frozen=True)
class ProfileLatency:
    """The latencies of one configuration on one device: measured, scaled from other measurements, or modelled."""

    name: str
    """The text that `parse_latency` takes, without the factor: the name or path of a profile, the name of a published
    figure, or a roofline."""
    device: str
    origin: str
    """How the latency of an encode is known, in words."""
    encode: Distribution
    head: Distribution
    contention: float
    """Factor by which an encode on the same GPU slows the head down."""
    contention_measured: bool = False
    """Whether the profile says it; an even share is assumed otherwise."""
    known: Basis = "measured"
    """How the latency of an encode is known before `factor`."""
    preprocess: Distribution = field(default=Steady(0.0))
    """Added to every encode, however many views it has: a profile has one for all configurations."""
    cold_start_ms: float = 0.0
    """Added to the first encode."""
    factor: float = 1.0
    """All durations are multiplied by it."""
    fewer: tuple[Distribution, ...] = ()
    """Encodes of one view, of two, and so on, up to all but one."""

    @property
    def vl_ms(self) -> float:
        """Median of preprocessing plus that of an encode [ms]."""
        return (self.preprocess.p50_ms + self.encode.p50_ms) * self.factor

    @property
    def head_ms(self) -> float:
        """Median of sensors and head [ms]."""
        return self.head.p50_ms * self.factor

    @property
    def basis(self) -> Basis:
        """How the latency of an encode is known; times a factor it is not a measured one."""
        return "scaled" if self.known == "measured" and self.factor != 1 else self.known

    @property
    def charged(self) -> Charged:
        """The latencies in three figures."""
        return Charged(self.vl_ms, (self.preprocess.p95_ms + self.encode.p95_ms) * self.factor, self.head_ms)

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that it can charge: all samples count, the profile's name does not."""
        said = ("name", "device", "origin", "known", "contention_measured")
        return _sha256({key: value for key, value in asdict(self).items() if key not in said})

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """The latencies of one episode; each kind of job draws from its own stream, spawned from `rng`."""
        encode, head, preprocess, *fewer = rng.spawn(3 + len(self.fewer))
        encodes = [law.draws(own) for law, own in zip((*self.fewer, self.encode), (*fewer, encode), strict=True)]
        preprocesses = self.preprocess.draws(preprocess)
        return _Drawn(preprocesses, encodes, self.head.draws(head), self.factor, self.cold_start_ms)

    def describe(self) -> str:
        """One line for the header."""
        times = f"VL {_figure(self.vl_ms)} ms, sensor + head {_figure(self.head_ms)} ms"
        title = Path(self.name).stem if self.name.endswith(".json") else self.name
        return f"{title}{_times(self.factor)} ({self.device}, {self.origin}): {times}"


class _Drawn:
    """A stream that draws every duration; the cold start is added to the first encode."""

    def __init__(
        self,
        preprocess_ms: Iterator[float],
        encodes_ms: Sequence[Iterator[float]],
        head_ms: Iterator[float],
        factor: float,
        cold_ms: float,
    ) -> None:
        self._preprocess_ms, self._encodes_ms, self._head_ms = preprocess_ms, encodes_ms, head_ms
        self._factor, self._cold_ms = factor, cold_ms

    def encode_ns(self, views: int, of: int) -> int:
        ms, self._cold_ms = next(self._preprocess_ms) + next(self._encodes_ms[views - of - 1]) + self._cold_ms, 0.0
        return ms_to_ns(ms * self._factor)

    def head_ns(self) -> int:
        return ms_to_ns(next(self._head_ms) * self._factor)


LatencyModel: TypeAlias = NoLatency | FixedLatency | ProfileLatency


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _shortest(ms: float) -> str:
    """The fewest digits that give the number back."""
    return repr(float(ms)).removesuffix(".0")


def _figure(ms: float) -> str:
    return f"{ms:.1f}" if ms >= 100 else f"{ms:.4g}"


def _times(factor: float) -> str:
    return "" if factor == 1 else f" x {factor:g}"
