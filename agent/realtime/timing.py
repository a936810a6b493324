"""How an episode runs in simulated time: everything that the clock needs to know, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from vlatency.agent.realtime.cost.latency import LatencyModel, NoLatency
from vlatency.agent.realtime.execution import Execution, Hold
from vlatency.agent.realtime.reuse import Latest, Reuse
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Apart, Servers
from vlatency.sim.errors import UsageError

Mode: TypeAlias = Literal["pause", "sync", "async"]
MODES: tuple[Mode, ...] = get_args(Mode)


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
    latency: LatencyModel = NoLatency()
    reuse: Reuse = Latest()
    execution: Execution = Hold()
    servers: Servers = Apart()
    robot: RobotTiming = RobotTiming()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"unknown mode {self.mode!r}; modes are {', '.join(MODES)}")
