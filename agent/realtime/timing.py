"""How an episode runs in simulated time: everything that the clock needs to know, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np

from vlatency.agent.realtime.cost.latency import Basis, Charged, LatencyStream, NoLatency
from vlatency.agent.realtime.execution import Execution, Hold, RollForward
from vlatency.agent.realtime.reuse import Latest, Reuse, Stagger
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Apart, Servers
from vlatency.sim.actions import ActionSpec
from vlatency.sim.errors import UsageError

Mode: TypeAlias = Literal["pause", "sync", "async"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Latency(Protocol):
    """What the clock charges; see `cost.latency`."""

    @property
    def name(self) -> str:
        """As a command line spells it."""

    @property
    def factor(self) -> float:
        """Multiplies every duration."""

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
    def basis(self) -> Basis:
        """How the latency of an encode is known."""

    @property
    def charged(self) -> Charged:
        """Median and 95th percentile of an encode, and median of a head run."""

    @property
    def sha256(self) -> str:
        """SHA-256 of everything it can charge."""

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """The latencies of one episode, drawn from `rng`."""

    def describe(self) -> str:
        """One line for a person."""


@dataclass(frozen=True)
class Timing:
    """Mode, control rate, latency, and what surrounds the model.

    Attributes:
        mode: `pause`: the world stops while the model computes; `sync`: the arm holds its set-point meanwhile;
            `async`: the encoder runs beside the control loop.
        control_hz: control rate [Hz].
        latency: what the clock charges for an encode and for a head run; not in pause mode.
        reuse: when to encode again; async mode only.
        execution: what becomes of a chunk.
        servers: which GPUs encoder and head run on; not in pause mode.
        robot: delays of cameras and actuators, and what happens to late chunks; not in pause mode.
        stages: of the policy. 2: an encoder, and a head that uses the newest features; 1: an inference from look to
            chunk, which is charged what an encode and a head run take together.
        actions: what the rows of a chunk mean.

    Raises:
        UsageError: an unknown mode, or parts that do not go together.

    Example:
        >>> from vlatency.agent.realtime.execution import DelayAware
        >>> from vlatency.agent.vla.setpoints import SETPOINTS
        >>> timing = Timing("async", control_hz=20.0, execution=DelayAware(every=2), actions=SETPOINTS)
        >>> str(timing.execution)
        'delay-aware:2'
    """

    actions: ActionSpec = field(kw_only=True)
    mode: Mode = "async"
    control_hz: float = 10.0
    latency: Latency = NoLatency()
    reuse: Reuse = Latest()
    execution: Execution = Hold()
    servers: Servers = Apart()
    robot: RobotTiming = RobotTiming()
    stages: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"unknown mode {self.mode!r}; modes are {', '.join(MODES)}")
        if self.stages == 1:
            self._check_one_stage()
        if isinstance(self.execution, RollForward) and self.actions.relative.any():
            raise UsageError(
                "execution roll-forward predicts a pose from absolute set-points, and these actions are relative; "
                "use delay-aware, which measures them from where the sensors were read"
            )

    def _check_one_stage(self) -> None:
        """UsageError if a part needs a head of its own."""
        if isinstance(self.execution, RollForward):
            raise UsageError(
                "execution roll-forward gives the head a predicted state, and a policy of one stage has no head of "
                "its own; use delay-aware"
            )
        if isinstance(self.reuse, Stagger):
            raise UsageError("reuse stagger keeps features of older views, and a policy of one stage has none to keep")
        if not isinstance(self.servers, Apart):
            raise UsageError("a policy of one stage runs on one server; leave --servers at two")
        if self.robot.late == "drop":
            raise UsageError(
                "late drop counts from the sensors to the command, and a policy of one stage reads them with the "
                "images: every chunk would be late; use late apply"
            )
