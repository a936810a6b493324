"""The same agent on the wall clock, as on a robot: what simulated time is held against.

Two threads. The caller's is the control loop: it lets the plant's time follow the wall clock, physics step by physics
step, runs the head at control ticks, applies the commands, and draws the camera views, because an OpenGL context
belongs to one thread and the pictures must be of one instant of the physics. The encoder thread only encodes. A job
lasts as long as the latency that was drawn for it: what the computation leaves of it is slept out, by the encoder in
its thread, for the head by pacing the physics until the command is due. While views are drawn the physics stands still
and catches up afterwards; a tick that falls into this time comes late, and is counted.

Async mode, encodes back to back, the first set-point of a chunk held: `agent.realtime.episode` with its defaults.
"""

import time
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vlatency.agent.realtime.cost.latency import LatencyStream
from vlatency.agent.realtime.driver import Policy
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Latest
from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Span, control_ticks
from vlatency.sim.clock import PHYSICS_STEP_NS, hz_to_period_ns

if TYPE_CHECKING:
    from vlatency.sim.plant import Plant

REUSE = Latest()


class Clock(Protocol):
    """Time that passes by itself."""

    def now_ns(self) -> int:
        """Since the episode began [ns]."""

    def sleep_until_ns(self, t_ns: int) -> None:
        """Return at `t_ns` [ns], at once if that is past."""


class WallClock:
    """The clock on the wall; it starts when it is made."""

    def __init__(self) -> None:
        self._began_ns = time.perf_counter_ns()

    def now_ns(self) -> int:
        return time.perf_counter_ns() - self._began_ns

    def sleep_until_ns(self, t_ns: int) -> None:
        left_ns = t_ns - self.now_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)


@dataclass(frozen=True)
class Late:
    """Where the host could not keep up in an episode: by default nowhere.

    Attributes:
        encodes, heads: jobs that computed for longer than the latency drawn for them.
        ticks: control ticks that came more than one physics step late.
        worst_tick_ns: how late the latest of them was [ns].
    """

    encodes: int = 0
    heads: int = 0
    ticks: int = 0
    worst_tick_ns: int = 0


@dataclass(frozen=True, eq=False)
class _Encoded:
    features: object
    computed_ns: int
    end_ns: int


@dataclass(frozen=True, eq=False)
class _Decided:
    setpoint: np.ndarray
    due_ns: int
    basis: Span
    read_ns: int


class WallLoop:
    """The control loop of one episode on a freshly reset `plant`, from the clock's 0 until the plant is done.

    Args:
        encoder: of one thread, idle.
    """

    def __init__(
        self,
        plant: "Plant",
        cameras: tuple[str, ...],
        latency: LatencyStream,
        control_hz: float,
        policy: Policy,
        clock: Clock,
        encoder: Executor,
    ) -> None:
        self.plant, self.cameras, self.latency = plant, cameras, latency
        self.policy, self.clock, self.encoder = policy, clock, encoder
        self.period_ns = hz_to_period_ns(control_hz)
        self.spans: list[Span] = []
        self.commands: list[CommandRecord] = []
        self.instants: list[int] = []
        self.look_ns = 0
        self.encoding: Future[_Encoded] | None = None
        self.encode_span = 0  # its place among the spans
        self.newest: tuple[object, Span] | None = None
        self.head_free_ns = 0
        self.decided: list[_Decided] = []
        self.late_encodes = self.late_heads = 0

    def run(self) -> tuple[EpisodeTrace, Late]:
        """The episode, in the plant's time, which follows the wall clock.

        What is due happens at the first physics step at or after its time. Each thing that happens is followed by a
        look at the clock, because it took time: nothing is dated earlier than it was.
        """
        while True:
            self.plant.advance_to(max(self.plant.now_ns, self.clock.now_ns() // PHYSICS_STEP_NS * PHYSICS_STEP_NS))
            if self.plant.done:
                return self._result()
            now_ns = self.plant.now_ns
            if self.encoding is not None and self.encoding.done() and self.encoding.result().end_ns <= now_ns:
                self._take(self.encoding.result())
            elif self.encoding is None and self.look_ns <= now_ns:
                self._look(now_ns)
            elif len(self.instants) * self.period_ns <= now_ns:
                self._tick(now_ns)
            elif self.decided and self.decided[0].due_ns <= now_ns:
                self._command(now_ns, self.decided.pop(0))
            else:
                self.clock.sleep_until_ns(now_ns + PHYSICS_STEP_NS)

    def _look(self, now_ns: int) -> None:
        before = self.newest and self.newest[0]
        images = self.plant.capture(self.cameras)
        request = Encode(images, self.plant.instruction, self.plant.sensors(), now_ns, before)
        end_ns = now_ns + self.latency.encode_ns(len(self.cameras), len(self.cameras))
        self.encode_span = len(self.spans)
        self.spans.append(Span("encode", now_ns, end_ns, now_ns, self.cameras))
        self.encoding = self.encoder.submit(self._encode, request, end_ns)

    def _encode(self, request: Encode, end_ns: int) -> _Encoded:
        """In the encoder's thread."""
        (features,) = self.policy.encode([request])
        computed_ns = self.clock.now_ns()
        self.clock.sleep_until_ns(end_ns)
        return _Encoded(features, computed_ns, self.clock.now_ns())

    def _take(self, encoded: _Encoded) -> None:
        planned = self.spans[self.encode_span]
        self.late_encodes += encoded.computed_ns > planned.end_ns
        span = self.spans[self.encode_span] = replace(planned, end_ns=encoded.end_ns)
        self.newest, self.encoding = (encoded.features, span), None
        self.look_ns = REUSE.next_start_ns(span.start_ns, span.end_ns, self.period_ns)

    def _tick(self, now_ns: int) -> None:
        self.instants.append(now_ns)
        if self.newest is None or self.head_free_ns > now_ns:
            return
        features, basis = self.newest
        request = Act(features, self.plant.sensors(), now_ns - basis.capture_ns)
        setpoints: Any = self.policy.act([request])[0]
        self.head_free_ns = now_ns + self.latency.head_ns()
        self.late_heads += self.clock.now_ns() > self.head_free_ns
        self.spans.append(Span("head", now_ns, self.head_free_ns, basis.capture_ns))
        self.decided.append(_Decided(np.asarray(setpoints)[0], self.head_free_ns, basis, now_ns))

    def _command(self, now_ns: int, decided: _Decided) -> None:
        self.plant.command(decided.setpoint)
        basis = decided.basis
        vl_ns, head_ns = basis.end_ns - basis.start_ns, decided.due_ns - decided.read_ns
        self.commands.append(CommandRecord(now_ns, basis.capture_ns, vl_ns, head_ns, decided.read_ns))

    def _result(self) -> tuple[EpisodeTrace, Late]:
        ticks = control_ticks(self.instants, self.spans, self.commands, self.period_ns)
        trace = EpisodeTrace("async", self.period_ns, self.plant.now_ns, ticks, tuple(self.spans), tuple(self.commands))
        late_ns = [t_ns - number * self.period_ns for number, t_ns in enumerate(self.instants)]
        late_ticks = sum(ns > PHYSICS_STEP_NS for ns in late_ns)
        return trace, Late(self.late_encodes, self.late_heads, late_ticks, max(late_ns, default=0))
