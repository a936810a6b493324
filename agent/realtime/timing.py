"""How an episode runs in simulated time: everything that the clock needs to know, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np

from vlatency.agent.realtime.cost.latency import Charged, LatencyStream, NoLatency
from vlatency.agent.realtime.execution import Execution, Hold
from vlatency.agent.realtime.reuse import Latest, Reuse
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Apart, Servers
from vlatency.sim.errors import UsageError

Mode: TypeAlias = Literal["pause", "sync", "async"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Latency(Protocol):
    """What the clock charges; see `cost.latency`."""

    @property
    def name(self) -> str:
        """As a command line names it."""

    @property
    def factor(self) -> float:
        """Every duration is multiplied by it."""

    @property
    def vl_ms(self) -> float:
        """Nominal latency of preprocessing and encode [ms]."""

    @property
    def head_ms(self) -> float:
        """Nominal latency of sensors and head [ms]."""

    @property
    def contention(self) -> float:
        """How many times as long a head run takes while an encode runs on the same GPU."""

    @property
    def charged(self) -> Charged:
        """Median and 95th percentile of an encode, and the head."""

    @property
    def sha256(self) -> str:
        """SHA-256 of all that it can charge."""

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """The latencies of one episode, drawn from `rng`."""

    def describe(self) -> str:
        """One line for a person."""


@dataclass(frozen=True)
class Timing:
    """Mode, control rate, latency, and what surrounds the model.

    Attributes:
        mode: `pause`: the world stops while the model thinks; `sync`: the arm holds its set-point meanwhile; `async`:
            the encoder runs beside the control loop.
        control_hz: control ticks a second [Hz].
        latency: what the clock charges for an encode and for a run of the head; not in pause mode.
        reuse: when to encode again; async mode only.
        execution: what becomes of a chunk.
        servers: on which GPUs encoder and head run; not in pause mode.
        robot: delays of cameras and actuators, and what happens to late commands; not in pause mode.

    Raises:
        UsageError: an unknown mode.

    Example:
        >>> Timing(mode="sync", control_hz=20.0).mode
        'sync'
    """

    mode: Mode = "async"
    control_hz: float = 10.0
    latency: Latency = NoLatency()
    reuse: Reuse = Latest()
    execution: Execution = Hold()
    servers: Servers = Apart()
    robot: RobotTiming = RobotTiming()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"unknown mode {self.mode!r}; modes are {', '.join(MODES)}")
