"""One episode in simulated time, as a generator that asks a driver for features and chunks and charges their latency.

Two servers: the encoder takes one job at a time, and so does the head. Three modes say how they hang together:

    pause   the world stops while the model thinks; every control tick has fresh features and a fresh command
    sync    look, encode, run the head, command, look again; the arm holds its set-point meanwhile
    async   the encoder runs beside the control loop; the head runs at every tick on the newest finished features
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from agent.realtime.latency import LatencyStream
from agent.realtime.requests import Act, Encode, Request
from agent.realtime.reuse import Reuse
from agent.realtime.trace import CommandRecord, EpisodeTrace, Span, control_ticks
from sim.clock import EventQueue, hz_to_period_ns
from sim.errors import UsageError

if TYPE_CHECKING:
    from sim.plant import Plant

MODES = ("pause", "sync", "async")

Episode: TypeAlias = Generator[Request, Any, EpisodeTrace]


def episode(
    plant: Plant, cameras: Sequence[str], mode: str, reuse: Reuse, latency: LatencyStream, control_hz: float
) -> Episode:
    """An episode on a freshly reset `plant`, to be driven by `driver.run_episodes`; it ends when the plant is done.

    Send the answer to each request it yields. `reuse` matters in async mode only, `latency` not in pause mode.
    UsageError for an unknown mode.
    """
    period_ns = hz_to_period_ns(control_hz)
    if mode == "pause":
        return _paused(plant, cameras, period_ns)
    if mode == "sync":
        return _clocked(plant, cameras, None, latency, period_ns)
    if mode == "async":
        return _clocked(plant, cameras, reuse, latency, period_ns)
    raise UsageError(f"unknown mode {mode!r}; modes are {', '.join(MODES)}")


def _paused(plant: Plant, cameras: Sequence[str], period_ns: int) -> Episode:
    """The loop without a clock, which peers run and against which the clock is tested."""
    spans: list[Span] = []
    commands: list[CommandRecord] = []
    instants: list[int] = []
    while not plant.done:
        now_ns = plant.now_ns
        features = yield Encode(plant.capture(cameras), plant.instruction, plant.sensors())
        chunk = yield Act(features, plant.sensors(), 0)
        plant.command(np.asarray(chunk)[0])
        spans += [Span("encode", now_ns, now_ns, now_ns), Span("head", now_ns, now_ns, now_ns)]
        commands.append(CommandRecord(now_ns, now_ns, 0, 0))
        instants.append(now_ns)
        plant.advance_to(len(instants) * period_ns)
    ticks = control_ticks(instants, spans, commands, period_ns)
    return EpisodeTrace("pause", period_ns, plant.now_ns, ticks, tuple(spans), tuple(commands))


class _Event(IntEnum):
    """What can happen; at one instant in this order, so that nothing waits a tick for what is already there."""

    ENCODED = 0
    LOOK = 1
    TICK = 2
    COMMAND = 3


@dataclass(frozen=True, eq=False)
class _Encoded:
    features: object
    capture_ns: int
    vl_ns: int


@dataclass(frozen=True, eq=False)
class _Decided:
    setpoint: np.ndarray
    basis: _Encoded
    head_ns: int


def _clocked(
    plant: Plant, cameras: Sequence[str], reuse: Reuse | None, latency: LatencyStream, period_ns: int
) -> Episode:
    """Sync mode without a reuse policy, async mode with one."""
    queue = EventQueue[Any]()
    queue.push(0, _Event.LOOK, None)
    queue.push(0, _Event.TICK, None)
    newest: _Encoded | None = None
    head_free_ns = 0
    cycle_ns = 0  # when this cycle of sync mode was due to begin
    spans: list[Span] = []
    commands: list[CommandRecord] = []
    instants: list[int] = []

    while not plant.done:
        due_ns, event, item = queue.pop()
        if due_ns != plant.now_ns:
            # An event happens at the first physics step at or after its time. It goes back to the queue with that
            # time, because others may share the step and come first, or the plant may be done by then.
            if due_ns > plant.now_ns:
                plant.advance_to(due_ns)
            queue.push(plant.now_ns, event, item)
            continue
        now_ns = due_ns

        if event == _Event.LOOK:
            features = yield Encode(plant.capture(cameras), plant.instruction, plant.sensors())
            vl_ns = latency.encode_ns()
            spans.append(Span("encode", now_ns, now_ns + vl_ns, now_ns))
            queue.push(now_ns + vl_ns, _Event.ENCODED, _Encoded(features, now_ns, vl_ns))
            if reuse is not None:
                queue.push(reuse.next_start_ns(now_ns, now_ns + vl_ns, period_ns), _Event.LOOK, None)
        elif event == _Event.ENCODED:
            newest = item
        elif event == _Event.TICK:
            instants.append(now_ns)
            queue.push(len(instants) * period_ns, _Event.TICK, None)
        elif event == _Event.COMMAND:
            plant.command(item.setpoint)
            commands.append(CommandRecord(now_ns, item.basis.capture_ns, item.basis.vl_ns, item.head_ns))
            if reuse is None:
                cycle_ns = max(now_ns, cycle_ns + period_ns)
                queue.push(cycle_ns, _Event.LOOK, None)

        head_is_due = event == (_Event.ENCODED if reuse is None else _Event.TICK)
        if head_is_due and newest is not None and head_free_ns <= now_ns:
            chunk = yield Act(newest.features, plant.sensors(), now_ns - newest.capture_ns)
            head_ns = latency.head_ns()
            head_free_ns = now_ns + head_ns
            spans.append(Span("head", now_ns, head_free_ns, newest.capture_ns))
            queue.push(head_free_ns, _Event.COMMAND, _Decided(np.asarray(chunk)[0], newest, head_ns))

    mode = "sync" if reuse is None else "async"
    ticks = control_ticks(instants, spans, commands, period_ns)
    return EpisodeTrace(mode, period_ns, plant.now_ns, ticks, tuple(spans), tuple(commands))
