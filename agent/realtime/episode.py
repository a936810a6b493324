"""One episode in simulated time, as a generator that asks a driver for features and chunks and charges their latency.

Two servers: the encoder takes one job at a time, and so does the head. Three modes say how they hang together:

    pause   the world stops while the model thinks; every control tick has fresh features and a fresh command
    sync    look, encode, run the head, command, look again; the arm holds its set-point meanwhile
    async   the encoder runs beside the control loop; the head runs at every tick on the newest finished features

An execution policy says what becomes of a chunk in each mode; it may ask for chunks less often.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vlatency.agent.realtime.event_loop import EventLoop
from vlatency.agent.realtime.execution import Chunk, Execution, remember
from vlatency.agent.realtime.requests import Act, Encode, Request
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Span, control_ticks
from vlatency.sim.clock import hz_to_period_ns

if TYPE_CHECKING:
    from vlatency.sim.plant import Plant

Episode: TypeAlias = Generator[Request, Any, EpisodeTrace]


def episode(plant: Plant, cameras: Sequence[str], timing: Timing, rng: np.random.Generator) -> Episode:
    """An episode on a freshly reset plant; it ends when the plant is done.

    Args:
        plant: the world; `sim.plant.Plant` says what it must offer.
        cameras: the views that an encode gets.
        timing: mode, latency and all else that the clock needs.
        rng: draws the latencies of this episode.

    Returns:
        A generator of `Encode` and `Act` requests, which returns the record of the episode. `driver.run_episodes`
        drives it; whoever drives it by hand sends the answer to each request.

    Example:
        (trace,) = run_episodes([episode(env, ("top", "wrist"), Timing("sync"), np.random.default_rng(1))], policy)
    """
    period_ns = hz_to_period_ns(timing.control_hz)
    if timing.mode == "pause":
        return _paused(plant, cameras, period_ns, timing.execution)
    return EventLoop(plant, cameras, timing, timing.latency.stream(rng)).run()


def _paused(plant: Plant, cameras: Sequence[str], period_ns: int, execution: Execution) -> Episode:
    """The loop without a clock, which peers run and against which the clock is tested."""
    spans: list[Span] = []
    commands: list[CommandRecord] = []
    instants: list[int] = []
    chunks: list[Chunk] = []
    think_ns = 0
    follow_ns: int | None = None
    features: object | None = None
    while not plant.done:
        now_ns = plant.now_ns
        instants.append(now_ns)
        fresh = now_ns >= think_ns
        if fresh:
            features = yield Encode(plant.capture(cameras), plant.instruction, plant.sensors(), now_ns, features)
            setpoints = yield execution.ask(Act(features, plant.sensors(), 0), chunks, now_ns, 0)
            encode = Span("encode", now_ns, now_ns, now_ns, tuple(cameras))
            spans += [encode, Span("head", now_ns, now_ns, now_ns)]
            chunks = remember(chunks, Chunk(np.asarray(setpoints), now_ns, now_ns))
            think_ns = execution.think_ns(chunks[-1], period_ns)
        if fresh or (follow_ns is not None and now_ns >= follow_ns):
            plant.command(execution.setpoint(chunks, now_ns))
            read_ns = chunks[-1].read_ns
            commands.append(CommandRecord(now_ns, read_ns, 0, 0, read_ns, fresh))
            follow_ns = execution.next_ns(chunks, now_ns)
        plant.advance_to(len(instants) * period_ns)
    ticks = control_ticks(instants, spans, commands, period_ns)
    return EpisodeTrace("pause", period_ns, plant.now_ns, ticks, tuple(spans), tuple(commands))
