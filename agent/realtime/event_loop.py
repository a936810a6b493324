"""One episode on the discrete-event clock: sync mode without a reuse policy, async mode with one."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vlatency.agent.realtime.cost.latency import LatencyStream
from vlatency.agent.realtime.execution import Chunk, remember
from vlatency.agent.realtime.requests import Act, Encode, Request
from vlatency.agent.realtime.reuse import OnEvent, Stagger
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Span, control_ticks
from vlatency.sim.clock import EventQueue, hz_to_period_ns

if TYPE_CHECKING:
    from vlatency.sim.plant import Plant
    from vlatency.sim.readings import Readings

Requests: TypeAlias = Generator[Request, Any, None]


class _Event(IntEnum):
    """What can happen; at one instant in this order, so that nothing waits a tick for what is already there.

    A command comes before the tick, because the head is told what is in force.
    """

    ENCODED = 0
    FRAME = 1
    LOOK = 2
    START = 3
    COMMAND = 4
    TICK = 5
    FOLLOW = 6


@dataclass(frozen=True, eq=False)
class _Shot:
    """One exposure of the cameras that the encode looks at, or of all when they run free."""

    images: Mapping[str, np.ndarray]
    instruction: str
    readings: Readings
    t_ns: int


@dataclass(frozen=True, eq=False)
class _Encoded:
    features: object
    capture_ns: int
    start_ns: int
    vl_ns: int = 0
    """How long the encode took in the end."""


@dataclass(frozen=True, eq=False)
class _Decided:
    chunk: Chunk
    basis: _Encoded
    head_ns: int


class EventLoop:
    """The servers, the cameras and the commands of one episode, and the queue of what happens next."""

    def __init__(
        self,
        plant: Plant,
        cameras: Sequence[str],
        timing: Timing,
        latency: LatencyStream,
    ) -> None:
        self.plant, self.cameras, self.latency = plant, cameras, latency
        self.mode, self.period_ns = timing.mode, hz_to_period_ns(timing.control_hz)
        self.reuse = None if timing.mode == "sync" else timing.reuse
        self.execution, self.servers, self.robot = timing.execution, timing.servers, timing.robot
        self.queue = EventQueue[Any]()
        self.spans: list[Span] = []
        self.commands: list[CommandRecord] = []
        self.instants: list[int] = []
        self.dropped = 0
        # The encoder, from the moment at which it wants views until the features are there.
        self.busy = True
        self.looks = 0
        self.encode_end_ns = 0
        self.encode_span = 0  # its place among the spans
        self.features: object | None = None  # of the last encode, finished or not
        self.instruction: str | None = None  # of that one
        self.number = 0  # of that one, counted from the last one before which nothing was known
        self.newest: _Encoded | None = None
        # Frames of free-running cameras that may still be asked for, and the last one that was.
        self.shots: dict[int, _Shot] = {}
        self.last_frame = -1
        # Events that the reuse policy waits for.
        self.felt: Readings | None = None
        self.told = ""
        self.look_again = False
        # The head, and what it said.
        self.head_free_ns = self.think_ns = self.last_head_ns = 0
        self.chunks: list[Chunk] = []
        self.cycle_ns = 0  # when this cycle of sync mode was due to begin

    def run(self) -> Generator[Request, Any, EpisodeTrace]:
        """The episode."""
        plant, queue = self.plant, self.queue
        self._look_at(0)
        queue.push(0, _Event.TICK, None)
        if self.robot.camera_hz:
            queue.push(self.robot.exposure_ns(0), _Event.FRAME, 0)

        while not plant.done:
            due_ns, event, item = queue.pop()
            if due_ns != plant.now_ns:
                # An event happens at the first physics step at or after its time. It goes back to the queue with that
                # time, because others may share the step and come first, or the plant may be done by then.
                if due_ns > plant.now_ns:
                    plant.advance_to(due_ns)
                queue.push(plant.now_ns, event, item)
                continue

            if event == _Event.ENCODED:
                yield from self._encoded(due_ns, item)
            elif event == _Event.FRAME:
                self._frame(due_ns, item)
            elif event == _Event.LOOK and item == self.looks:
                yield from self._look(due_ns)
            elif event == _Event.START:
                yield from self._start(due_ns, self.shots[item] if isinstance(item, int) else item)
            elif event == _Event.TICK:
                yield from self._tick(due_ns)
            elif event == _Event.COMMAND:
                self._arrive(due_ns, item)
            elif event == _Event.FOLLOW and item.chunk is self.chunks[-1]:
                self._command(due_ns, item, fresh=False)

        ticks = control_ticks(self.instants, self.spans, self.commands, self.period_ns)
        spans, commands = tuple(self.spans), tuple(self.commands)
        return EpisodeTrace(self.mode, self.period_ns, plant.now_ns, ticks, spans, commands, self.dropped)

    # Looking.

    def _look_at(self, t_ns: int) -> None:
        """Want views at `t_ns`, and no more when they were wanted before."""
        self.looks += 1
        self.queue.push(t_ns, _Event.LOOK, self.looks)

    def _expose(self, now_ns: int, cameras: Sequence[str]) -> _Shot:
        return _Shot(self.plant.capture(cameras), self.plant.instruction, self.plant.sensors(), now_ns)

    def _next(self, instruction: str) -> tuple[int, Sequence[str]]:
        """The number of the next encode and the cameras it looks at; a new instruction makes all features useless."""
        number = self.number + 1 if instruction == self.instruction else 0
        return number, self.reuse.views(self.cameras, number) if isinstance(self.reuse, Stagger) else self.cameras

    def _frame(self, now_ns: int, frame: int) -> None:
        """Free-running cameras expose; the views are drawn unless newer ones are there before an encode can start."""
        self.queue.push(self.robot.exposure_ns(frame + 1), _Event.FRAME, frame + 1)
        if self.encode_end_ns < self.robot.exposure_ns(frame + 1) + self.robot.delay_ns:
            # Of all cameras: which encode will take this frame, and hence which views are due, is not known yet.
            self.shots[frame] = self._expose(now_ns, self.cameras)
        if not self.busy:  # older ones than the newest that are with the encoder are of no use to it any more
            newest = self.robot.newest(now_ns)
            self.shots = {number: shot for number, shot in self.shots.items() if number >= newest}

    def _look(self, now_ns: int) -> Requests:
        self.busy, self.look_again = True, False
        if self.robot.camera_hz:
            # An encode takes the newest views, or waits for newer ones than it had.
            frame = max(self.robot.newest(now_ns), self.last_frame + 1)
            self.last_frame = frame
            self.queue.push(max(now_ns, self.robot.exposure_ns(frame) + self.robot.delay_ns), _Event.START, frame)
            return
        shot = self._expose(now_ns, self._next(self.plant.instruction)[1])
        if self.robot.delay_ns:
            self.queue.push(now_ns + self.robot.delay_ns, _Event.START, shot)
        else:
            yield from self._start(now_ns, shot)

    def _start(self, now_ns: int, shot: _Shot) -> Requests:
        self.shots = {frame: kept for frame, kept in self.shots.items() if kept.t_ns > shot.t_ns}
        self.number, views = self._next(shot.instruction)
        self.instruction = shot.instruction
        images = {camera: shot.images[camera] for camera in views}
        self.features = yield Encode(images, shot.instruction, shot.readings, shot.t_ns, self.features)
        vl_ns = self.latency.encode_ns(len(views), len(self.cameras))
        vl_ns += self.servers.put_off_ns(max(0, self.head_free_ns - now_ns))
        self.encode_end_ns = now_ns + vl_ns
        self.encode_span = len(self.spans)
        self.spans.append(Span("encode", now_ns, self.encode_end_ns, shot.t_ns, tuple(views)))
        self.queue.push(self.encode_end_ns, _Event.ENCODED, _Encoded(self.features, shot.t_ns, now_ns))

    def _encoded(self, now_ns: int, encoded: _Encoded) -> Requests:
        if self.encode_end_ns > now_ns:  # the head has put it off
            self.queue.push(self.encode_end_ns, _Event.ENCODED, encoded)
            return
        self.newest, self.busy = replace(encoded, vl_ns=self.encode_end_ns - encoded.start_ns), False
        if self.reuse is None:
            yield from self._think(now_ns, self.newest)
        elif self.look_again:
            self._look_at(now_ns)
        else:
            start_ns = self.reuse.next_start_ns(encoded.start_ns, self.encode_end_ns, self.period_ns)
            if start_ns is not None:
                self._look_at(start_ns)

    # Moving.

    def _tick(self, now_ns: int) -> Requests:
        self.instants.append(now_ns)
        self.queue.push(len(self.instants) * self.period_ns, _Event.TICK, None)
        if self.reuse is None:
            return
        if isinstance(self.reuse, OnEvent):
            self._watch(now_ns, self.reuse)
        if self.newest is not None and max(self.head_free_ns, self.think_ns) <= now_ns:
            yield from self._think(now_ns, self.newest)

    def _watch(self, now_ns: int, reuse: OnEvent) -> None:
        readings = self.plant.sensors()
        told, self.told = self.told, self.plant.instruction
        new = self.felt is not None and (reuse.noticed(self.felt, readings) or self.told != told)
        self.felt = readings
        if new:
            if self.busy:
                self.look_again = True
            else:
                self._look_at(now_ns)

    def _think(self, now_ns: int, encoded: _Encoded) -> Requests:
        """Run the head on `encoded` and the sensors as they are."""
        delay_ns = self.last_head_ns + self.robot.actuation_ns
        act = Act(encoded.features, self.plant.sensors(), now_ns - encoded.capture_ns)
        setpoints = yield self.execution.ask(act, self.chunks, now_ns, delay_ns)
        encode_left_ns = max(0, self.encode_end_ns - now_ns)
        head_ns, put_off_ns = self.servers.share(self.latency.head_ns(), encode_left_ns)
        if put_off_ns:
            self._put_off(put_off_ns)
        self.last_head_ns, self.head_free_ns = head_ns, now_ns + head_ns
        self.spans.append(Span("head", now_ns, self.head_free_ns, encoded.capture_ns))
        if self.reuse is not None and self.robot.late == "drop" and head_ns > self.period_ns:
            self.dropped += 1
            return
        chunk = Chunk(np.asarray(setpoints), now_ns, self.head_free_ns + self.robot.actuation_ns)
        self.think_ns = self.execution.think_ns(chunk, self.period_ns)
        self.queue.push(chunk.arrived_ns, _Event.COMMAND, _Decided(chunk, encoded, head_ns))

    def _put_off(self, by_ns: int) -> None:
        """The running encode finishes later."""
        self.encode_end_ns += by_ns
        self.spans[self.encode_span] = replace(self.spans[self.encode_span], end_ns=self.encode_end_ns)

    def _arrive(self, now_ns: int, decided: _Decided) -> None:
        self.chunks = remember(self.chunks, decided.chunk)
        self._command(now_ns, decided, fresh=True)
        if self.reuse is None:
            self.cycle_ns = max(now_ns, self.cycle_ns + self.period_ns, self.think_ns)
            self._look_at(self.cycle_ns)

    def _command(self, now_ns: int, decided: _Decided, fresh: bool) -> None:
        self.plant.command(self.execution.setpoint(self.chunks, now_ns))
        basis, read_ns = decided.basis, decided.chunk.read_ns
        record = CommandRecord(now_ns, basis.capture_ns, basis.vl_ns, decided.head_ns, read_ns, fresh)
        self.commands.append(record)
        follow_ns = self.execution.next_ns(self.chunks, now_ns)
        if follow_ns is not None:
            self.queue.push(follow_ns, _Event.FOLLOW, decided)
