"""The same agent on the wall clock, as on a robot, to compare simulated time with.

There are two threads. The caller's thread is the control loop: it lets the plant's time follow the wall clock, one
physics step after the other, runs the head at control ticks, applies commands and draws the views, because an OpenGL
context belongs to one thread and all views must show the same instant. The second thread only encodes. Each job lasts
as long as the latency drawn for it: the encoder's thread sleeps for the rest of it, and the head's command waits until
it is due. While views are drawn the physics stands still, and it catches up afterwards; a tick that falls into this
time comes late and is counted.

It runs async mode with back-to-back encodes and holds the first row of a chunk, as `Timing` does by default. A policy
of one stage answers in the second thread, and there is no head.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlatency.agent.realtime.cost.latency import LatencyStream
from vlatency.agent.realtime.driver import OneStagePolicy, Policy
from vlatency.agent.realtime.requests import Act, Encode, Infer
from vlatency.agent.realtime.reuse import Latest
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Lateness, Span, control_ticks
from vlatency.sim.clock import PHYSICS_STEP_NS, hz_to_period_ns, ns_to_s
from vlatency.sim.plant import Plant

REUSE = Latest()


class Host(ThreadPoolExecutor):
    """This machine: a clock that starts now, and a second thread for the encoder."""

    def __init__(self) -> None:
        super().__init__(1, "encoder")
        self._began_ns = time.perf_counter_ns()

    def now_ns(self) -> int:
        """Time since it was made [ns]."""
        return time.perf_counter_ns() - self._began_ns

    def sleep_until_ns(self, t_ns: int) -> None:
        """Return at `t_ns` [ns], or at once if that is past."""
        left_ns = t_ns - self.now_ns()
        if left_ns > 0:
            time.sleep(ns_to_s(left_ns))


@dataclass(frozen=True)
class Late:
    """How often the host could not keep up in an episode.

    Attributes:
        encodes, heads: jobs that computed for longer than the latency drawn for them.
        ticks: control ticks that came more than one physics step late.
        worst_tick_ns: the longest delay of a control tick [ns].
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
    setpoint: NDArray[np.float64]
    due_ns: int
    basis: Span
    read_ns: int
    fresh: bool = True


class WallLoop:
    """The control loop of one episode, from time 0 until the plant is done.

    Args:
        plant: freshly reset.
        cameras: the views that an encode gets.
        latency: of each job, drawn as in simulated time.
        control_hz: control ticks per second.
        policy: encodes and acts.
        host: whose clock starts now and whose second thread is idle.
    """

    def __init__(
        self,
        plant: Plant,
        cameras: tuple[str, ...],
        latency: LatencyStream,
        control_hz: float,
        policy: Policy | None,
        host: Host,
    ) -> None:
        self.plant, self.cameras, self.latency = plant, cameras, latency
        self.policy, self.host = policy, host
        self.period_ns = hz_to_period_ns(control_hz)
        self.spans: list[Span] = []
        self.commands: list[CommandRecord] = []
        self.instants: list[int] = []
        self.look_ns = 0
        self.encoding: Future[_Encoded] | None = None
        self.encode_span = 0  # its index in `spans`
        self.newest: tuple[object, Span] | None = None
        self.head_free_ns = 0
        self.decided: list[_Decided] = []
        self.late_encodes = self.late_heads = 0

    def run(self) -> tuple[EpisodeTrace, Late]:
        """Run the episode in the plant's time, which follows the host's clock.

        Whatever is due happens at the first physics step at or after its time. The clock is read after each action,
        because the action took time: nothing is dated earlier than it happened.
        """
        while True:
            self.plant.advance_to(max(self.plant.now_ns, self.host.now_ns() // PHYSICS_STEP_NS * PHYSICS_STEP_NS))
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
                self.host.sleep_until_ns(now_ns + PHYSICS_STEP_NS)

    def _look(self, now_ns: int) -> None:
        before = self.newest and self.newest[0]
        images = dict(self.plant.capture(self.cameras))  # drawn in this thread, and now
        request = Encode(images, self.plant.instruction, self.plant.sensors(), now_ns, before)
        end_ns = now_ns + self.latency.encode_ns(len(self.cameras), len(self.cameras))
        self.encode_span = len(self.spans)
        self.spans.append(Span("encode", now_ns, end_ns, now_ns, self.cameras))
        self.encoding = self.host.submit(self._encode, request, end_ns)

    def _encode(self, request: Encode, end_ns: int) -> _Encoded:
        """Runs in the encoder's thread."""
        assert self.policy
        (features,) = self.policy.encode([request])
        computed_ns = self.host.now_ns()
        self.host.sleep_until_ns(end_ns)
        return _Encoded(features, computed_ns, self.host.now_ns())

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
        assert self.policy
        features, basis = self.newest
        request = Act(features, self.plant.sensors(), now_ns - basis.capture_ns)
        setpoints: Any = self.policy.act([request])[0]
        self.head_free_ns = now_ns + self.latency.head_ns()
        self.late_heads += self.host.now_ns() > self.head_free_ns
        self.spans.append(Span("head", now_ns, self.head_free_ns, basis.capture_ns))
        self.decided.append(_Decided(np.asarray(setpoints)[0], self.head_free_ns, basis, now_ns))

    def _command(self, now_ns: int, decided: _Decided) -> None:
        self.plant.command(decided.setpoint)
        basis = decided.basis
        vl_ns = basis.end_ns - basis.start_ns
        head_ns = decided.due_ns - decided.read_ns if decided.fresh else 0
        self.commands.append(CommandRecord(now_ns, basis.capture_ns, vl_ns, head_ns, decided.read_ns, decided.fresh))

    def _result(self) -> tuple[EpisodeTrace, Late]:
        ticks = control_ticks(self.instants, self.spans, self.commands, Lateness(self.period_ns))
        trace = EpisodeTrace("async", self.period_ns, self.plant.now_ns, ticks, tuple(self.spans), tuple(self.commands))
        late_ns = [t_ns - number * self.period_ns for number, t_ns in enumerate(self.instants)]
        late_ticks = sum(ns > PHYSICS_STEP_NS for ns in late_ns)
        return trace, Late(self.late_encodes, self.late_heads, late_ticks, max(late_ns, default=0))


class WholeLoop(WallLoop):
    """The control loop of a policy of one stage: nothing happens at a control tick, and an answer is used once.

    Args:
        plant, cameras, latency, host: as in `WallLoop`; an answer lasts as long as encode and head together.
        timing: control rate, and what holding means.
        policy: answers a look with a chunk, whose first row is carried out and held.
    """

    def __init__(
        self,
        plant: Plant,
        cameras: tuple[str, ...],
        latency: LatencyStream,
        timing: Timing,
        policy: OneStagePolicy,
        host: Host,
    ) -> None:
        super().__init__(plant, cameras, latency, timing.control_hz, None, host)
        self.whole, self.actions = policy, timing.actions

    def _look(self, now_ns: int) -> None:
        images = dict(self.plant.capture(self.cameras))  # drawn in this thread, and now
        request = Infer(images, self.plant.instruction, self.plant.sensors(), now_ns)
        end_ns = now_ns + self.latency.encode_ns(1, 1) + self.latency.head_ns()
        self.encode_span = len(self.spans)
        self.spans.append(Span("encode", now_ns, end_ns, now_ns, self.cameras))
        self.encoding = self.host.submit(self._infer, request, end_ns)

    def _infer(self, request: Infer, end_ns: int) -> _Encoded:
        """Runs in the second thread."""
        (rows,) = self.whole.infer([request])
        computed_ns = self.host.now_ns()
        self.host.sleep_until_ns(end_ns)
        return _Encoded(rows, computed_ns, self.host.now_ns())

    def _take(self, encoded: _Encoded) -> None:
        super()._take(encoded)
        assert self.newest
        rows, span = self.newest
        now_ns, first = self.plant.now_ns, np.asarray(rows)[0]
        self.spans.append(Span("head", now_ns, now_ns, span.capture_ns))
        self.decided = [*(each for each in self.decided if each.fresh), _Decided(first, now_ns, span, now_ns)]
        if self.actions.expires:
            held = self.actions.held(first)
            self.decided.append(_Decided(held, now_ns + self.actions.row_ns, span, now_ns, fresh=False))

    def _tick(self, now_ns: int) -> None:
        self.instants.append(now_ns)
