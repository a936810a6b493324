"""One episode on the discrete-event clock, in sync or async mode."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vlatency.agent.realtime.cost.latency import LatencyStream
from vlatency.agent.realtime.execution import Chunk, remember
from vlatency.agent.realtime.requests import Act, Encode, Infer, Request
from vlatency.agent.realtime.reuse import OnEvent, Stagger
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Lateness, Span, control_ticks
from vlatency.sim.actions import Commanded, Vector
from vlatency.sim.clock import EventQueue, hz_to_period_ns
from vlatency.sim.lazy_images import LazyImages

if TYPE_CHECKING:
    from vlatency.sim.plant import Plant
    from vlatency.sim.readings import Readings

Requests: TypeAlias = Generator[Request, Any, None]


class _Event(IntEnum):
    """What can happen. Events of one instant happen in this order, so that none waits a tick for another's result.

    A chunk arrives before the tick, because a head that runs at the tick is given the chunk in force. The answer of a
    policy of one stage arrives before the next look for the same reason.
    """

    ENCODED = 0
    ANSWER = 1
    FRAME = 2
    LOOK = 3
    ENCODE = 4
    CHUNK = 5
    TICK = 6
    FOLLOW = 7


@dataclass(frozen=True, eq=False)
class _Exposure:
    """What the cameras saw at one instant: the views that an encode needs, or all views if the cameras run free."""

    images: Mapping[str, np.ndarray]
    instruction: str
    readings: Readings
    t_ns: int
    position: Vector
    """Where the commands had led to."""


@dataclass(frozen=True, eq=False)
class _Encoded:
    """The answer to one encode: its features; or to one inference: its chunk."""

    answer: object
    exposure: _Exposure
    start_ns: int
    vl_ns: int = 0
    """Duration of the encode, set when it has finished."""

    @property
    def capture_ns(self) -> int:
        return self.exposure.t_ns


@dataclass(frozen=True, eq=False)
class _Answer:
    """The answer of one head run."""

    chunk: Chunk
    basis: _Encoded
    began_ns: int
    """When the head run began."""
    head_ns: int
    before_ns: int
    """When the head could have run next if this run had not been."""


class EventLoop:
    """The servers, the cameras and the commands of one episode, and the queue of what happens next."""

    def __init__(self, plant: Plant, cameras: Sequence[str], timing: Timing, latency: LatencyStream) -> None:
        self.plant, self.cameras, self.latency = plant, cameras, latency
        self.mode, self.period_ns = timing.mode, hz_to_period_ns(timing.control_hz)
        self.reuse = None if timing.mode == "sync" else timing.reuse
        self.execution, self.servers, self.robot = timing.execution, timing.servers, timing.robot
        self.actions, self.stages = timing.actions, timing.stages
        self.commanded = Commanded(timing.actions)
        self.queue = EventQueue[Any]()
        self.spans: list[Span] = []
        self.commands: list[CommandRecord] = []
        self.instants: list[int] = []
        self.dropped: list[int] = []  # when the sensors behind them were read
        # The encoder. It is busy from the look until the features are finished.
        self.encoder_busy = True
        self.looks = 0  # looks scheduled; only the newest of them takes place
        self.encode_end_ns = 0
        self.encode_span = 0  # index in `spans`
        self.features: object | None = None  # of the last encode, finished or not
        self.instruction: str | None = None  # of the last encode
        self.number = 0  # of the last encode; 0 is the first one, or the first one after a new instruction
        self.newest: _Encoded | None = None  # the newest finished features
        # Frames of free-running cameras that an encode may still take, and the last frame that one took.
        self.frames: dict[int, _Exposure] = {}
        self.last_frame = -1
        # What `OnEvent` compares: readings and instruction at the last control tick.
        self.tick_readings: Readings | None = None
        self.tick_instruction = ""
        self.look_again = False  # as soon as the encoder is free
        # The head and its chunks.
        self.head_free_ns = self.next_head_ns = self.last_head_ns = 0
        self.head_span = 0  # index in `spans`
        self.head_runs = 0
        self.answers: dict[int, _Answer] = {}  # that have not arrived, by the number of their head run
        self.chunks: list[Chunk] = []
        self.cycle_ns = 0  # when this cycle of sync mode was due to begin

    def run(self) -> Generator[Request, Any, EpisodeTrace]:
        """Run the episode until the plant is done.

        Returns:
            A generator of requests, as `episode.episode` describes it.
        """
        plant, queue = self.plant, self.queue
        self._schedule_look(0)
        queue.push(0, _Event.TICK, None)
        if self.robot.camera_hz:
            queue.push(self.robot.exposure_ns(0), _Event.FRAME, 0)

        while not plant.done:
            due_ns, event, item = queue.pop()
            if due_ns == plant.now_ns:
                yield from self._handle(due_ns, event, item)
                continue
            # An event happens at the first physics step at or after its time. It is queued again for that step,
            # because other events of the step may come first, or the plant may be done by then.
            if due_ns > plant.now_ns:
                plant.advance_to(due_ns)
            queue.postpone(plant.now_ns)

        late = Lateness(self.period_ns, self.robot.actuation_ns, frozenset(self.dropped))
        ticks = control_ticks(self.instants, self.spans, self.commands, late)
        spans, commands = tuple(self.spans), tuple(self.commands)
        return EpisodeTrace(self.mode, self.period_ns, plant.now_ns, ticks, spans, commands, len(self.dropped))

    def _handle(self, now_ns: int, event: int, item: Any) -> Requests:
        match event:
            case _Event.ENCODED:
                yield from self._finish_encode(now_ns, item)
            case _Event.FRAME:
                self._expose_frame(now_ns, item)
            case _Event.LOOK if item == self.looks:
                yield from self._look(now_ns)
            case _Event.ENCODE:
                yield from self._encode(now_ns, self.frames[item] if isinstance(item, int) else item)
            case _Event.CHUNK | _Event.ANSWER:
                self._take_chunk(now_ns, item)
            case _Event.TICK:
                yield from self._tick(now_ns)
            case _Event.FOLLOW if item.chunk is self.chunks[-1]:
                self._command(now_ns, item, fresh=False)

    # Cameras and encoder.

    def _schedule_look(self, t_ns: int) -> None:
        """Look at `t_ns` instead of at any time scheduled before."""
        self.looks += 1
        self.queue.push(t_ns, _Event.LOOK, self.looks)

    def _expose(self, now_ns: int, cameras: Sequence[str]) -> _Exposure:
        position = self.commanded.position(now_ns)
        return _Exposure(self.plant.capture(cameras), self.plant.instruction, self.plant.sensors(), now_ns, position)

    def _next_encode(self, instruction: str) -> tuple[int, Sequence[str]]:
        """Number and cameras of the next encode. A new instruction makes all older features useless."""
        number = self.number + 1 if instruction == self.instruction else 0
        return number, self.reuse.views(self.cameras, number) if isinstance(self.reuse, Stagger) else self.cameras

    def _expose_frame(self, now_ns: int, frame: int) -> None:
        """Free-running cameras expose. The views are rendered only if an encode may take them."""
        self.queue.push(self.robot.exposure_ns(frame + 1), _Event.FRAME, frame + 1)
        if self.encode_end_ns < self.robot.exposure_ns(frame + 1) + self.robot.delay_ns:
            # All cameras: which encode will take this frame, and hence which views it needs, is not known yet.
            self.frames[frame] = self._expose(now_ns, self.cameras)
        if not self.encoder_busy:  # the next encode takes the newest frame that has arrived, or a later one
            newest = self.robot.newest(now_ns)
            self.frames = {number: kept for number, kept in self.frames.items() if number >= newest}

    def _look(self, now_ns: int) -> Requests:
        self.encoder_busy, self.look_again = True, False
        if self.robot.camera_hz:
            # An encode takes the newest frame that has arrived, or waits for one that is newer than its last.
            frame = max(self.robot.newest(now_ns), self.last_frame + 1)
            self.last_frame = frame
            self.queue.push(max(now_ns, self.robot.exposure_ns(frame) + self.robot.delay_ns), _Event.ENCODE, frame)
            return
        exposure = self._expose(now_ns, self._next_encode(self.plant.instruction)[1])
        if self.robot.delay_ns:
            self.queue.push(now_ns + self.robot.delay_ns, _Event.ENCODE, exposure)
        else:
            yield from self._encode(now_ns, exposure)

    def _encode(self, now_ns: int, exposure: _Exposure) -> Requests:
        """Start an encode."""
        self.frames = {number: kept for number, kept in self.frames.items() if kept.t_ns > exposure.t_ns}
        self.number, views = self._next_encode(exposure.instruction)
        self.instruction = exposure.instruction
        images = LazyImages(views, exposure.images.__getitem__)
        if self.stages == 1:
            answer = yield self._ask(
                Infer(dict(images), exposure.instruction, exposure.readings, exposure.t_ns), exposure, now_ns
            )
        else:
            answer = yield Encode(
                images, exposure.instruction, exposure.readings, exposure.t_ns, self.features, deferrable=True
            )
        self.features = answer
        # After the answer, which may say itself how long it took.
        work_ns = self.latency.encode_ns(len(views), len(self.cameras))
        if self.stages == 1:
            work_ns += self.latency.head_ns()
        vl_ns, head_delay_ns = self.servers.start_encode(work_ns, max(0, self.head_free_ns - now_ns))
        if head_delay_ns:
            self._delay_head(head_delay_ns)
        self.encode_end_ns = now_ns + vl_ns
        self.encode_span = len(self.spans)
        self.spans.append(Span("encode", now_ns, self.encode_end_ns, exposure.t_ns, tuple(views)))
        self.queue.push(self.encode_end_ns, _Event.ENCODED, _Encoded(answer, exposure, now_ns))

    def _ask(self, infer: Infer, exposure: _Exposure, now_ns: int) -> Infer:
        """The inference that starts now; it is expected to take as long as the last one."""
        last_ns = self.newest.vl_ns if self.newest else 0
        delay_ns = now_ns - exposure.t_ns + last_ns + self.robot.actuation_ns
        return self.execution.ask(infer, self.chunks, exposure.t_ns, delay_ns, exposure.position)

    def _finish_encode(self, now_ns: int, encoded: _Encoded) -> Requests:
        if self.encode_end_ns > now_ns:  # a head run on the same GPU has delayed it
            self.queue.push(self.encode_end_ns, _Event.ENCODED, encoded)
            return
        self.newest = replace(encoded, vl_ns=self.encode_end_ns - encoded.start_ns)
        self.encoder_busy = False
        if self.stages == 1:
            exposure = encoded.exposure
            self._expect_chunk(now_ns, self.newest, encoded.answer, exposure.t_ns, exposure.position)
        elif self.reuse is None:
            yield from self._run_head(now_ns, self.newest)
        if self.reuse is None:
            return
        if self.look_again:
            self._schedule_look(now_ns)
            return
        start_ns = self.reuse.next_start_ns(encoded.start_ns, self.encode_end_ns, self.period_ns)
        if start_ns is not None:
            self._schedule_look(max(start_ns, self.next_head_ns) if self.stages == 1 else start_ns)

    # Head and commands.

    def _tick(self, now_ns: int) -> Requests:
        self.instants.append(now_ns)
        self.queue.push(len(self.instants) * self.period_ns, _Event.TICK, None)
        if self.reuse is None:
            return
        if isinstance(self.reuse, OnEvent):
            self._look_on_event(now_ns, self.reuse)
        if self.stages == 2 and self.newest is not None and max(self.head_free_ns, self.next_head_ns) <= now_ns:
            yield from self._run_head(now_ns, self.newest)

    def _look_on_event(self, now_ns: int, reuse: OnEvent) -> None:
        before, self.tick_readings = self.tick_readings, self.plant.sensors()
        instruction, self.tick_instruction = self.tick_instruction, self.plant.instruction
        if before is None:
            return
        if reuse.noticed(before, self.tick_readings) or self.tick_instruction != instruction:
            if self.encoder_busy:
                self.look_again = True
            else:
                self._schedule_look(now_ns)

    def _run_head(self, now_ns: int, encoded: _Encoded) -> Requests:
        """Run the head on `encoded` and on fresh sensor readings."""
        delay_ns = self.last_head_ns + self.robot.actuation_ns
        position = self.commanded.position(now_ns)
        act = Act(encoded.answer, self.plant.sensors(), now_ns - encoded.capture_ns)
        rows = yield self.execution.ask(act, self.chunks, now_ns, delay_ns, position)
        encode_left_ns = max(0, self.encode_end_ns - now_ns)
        head_ns, encode_delay_ns = self.servers.start_head(self.latency.head_ns(), encode_left_ns)
        if encode_delay_ns:
            self.encode_end_ns += encode_delay_ns
            self.spans[self.encode_span] = replace(self.spans[self.encode_span], end_ns=self.encode_end_ns)
        self.last_head_ns, self.head_free_ns = head_ns, now_ns + head_ns
        self._expect_chunk(now_ns, encoded, rows, now_ns, position)

    def _expect_chunk(self, now_ns: int, encoded: _Encoded, rows: Any, read_ns: int, position: Vector) -> None:
        """The head begins now and is free at `head_free_ns`: then its chunk is on its way to the robot."""
        self.head_free_ns = max(now_ns, self.head_free_ns)
        self.head_span = len(self.spans)
        self.spans.append(Span("head", now_ns, self.head_free_ns, encoded.capture_ns))
        arrives_ns = self.head_free_ns + self.robot.actuation_ns
        chunk = Chunk(np.asarray(rows), read_ns, arrives_ns, self.actions, position)
        self.head_runs += 1
        self.answers[self.head_runs] = _Answer(chunk, encoded, now_ns, self.head_free_ns - now_ns, self.next_head_ns)
        self.next_head_ns = self.execution.next_head_ns(chunk, self.period_ns)
        self.queue.push(chunk.arrived_ns, _Event.ANSWER if self.stages == 1 else _Event.CHUNK, self.head_runs)

    def _delay_head(self, by_ns: int) -> None:
        """An encode that starts on the same GPU makes the running head finish later."""
        self.head_free_ns += by_ns
        self.last_head_ns += by_ns
        self.spans[self.head_span] = replace(self.spans[self.head_span], end_ns=self.head_free_ns)
        answer = self.answers[self.head_runs]
        chunk = replace(answer.chunk, arrived_ns=answer.chunk.arrived_ns + by_ns)
        self.answers[self.head_runs] = replace(answer, chunk=chunk, head_ns=self.last_head_ns)
        self.next_head_ns = self.execution.next_head_ns(chunk, self.period_ns)

    def _take_chunk(self, now_ns: int, number: int) -> None:
        """A chunk arrives, and its first set-point takes effect, unless it is late and late ones are dropped."""
        answer = self.answers[number]
        if answer.chunk.arrived_ns > now_ns:  # an encode on the same GPU has delayed the head run
            self.queue.push(answer.chunk.arrived_ns, _Event.CHUNK, number)
            return
        del self.answers[number]
        late = answer.chunk.arrived_ns - answer.chunk.read_ns > self.period_ns
        if self.reuse is not None and self.robot.late == "drop" and late:
            self.dropped.append(answer.chunk.read_ns)
            if number == self.head_runs:
                self.next_head_ns = answer.before_ns
            return
        self.chunks = remember(self.chunks, answer.chunk)
        self._command(now_ns, answer, fresh=True)
        if self.reuse is None:
            self.cycle_ns = max(now_ns, self.cycle_ns + self.period_ns, self.next_head_ns)
            self._schedule_look(self.cycle_ns)

    def _command(self, now_ns: int, answer: _Answer, fresh: bool) -> None:
        action = self.execution.action(self.chunks, now_ns, self.commanded.position(now_ns))
        self.plant.command(action)
        self.commanded.command(action, now_ns)
        basis = answer.basis
        record = CommandRecord(now_ns, basis.capture_ns, basis.vl_ns, answer.head_ns, answer.began_ns, fresh)
        self.commands.append(record)
        follow_ns = self.execution.next_ns(self.chunks, now_ns)
        if follow_ns is not None:
            self.queue.push(follow_ns, _Event.FOLLOW, answer)
