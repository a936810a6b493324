"""One episode in simulated time: a generator of requests, whose answers are charged the latency of the model.

Encoder and head are two servers; each takes one job at a time. The mode says how they work together:

    pause   the world stops while the model computes; every control tick has fresh features and a fresh command
    sync    look, encode, run the head, command, look again; the arm holds its set-point meanwhile
    async   the encoder runs beside the control loop; the head runs at every tick on the newest finished features

In every mode the execution policy decides which set-points of a chunk are carried out, and when the head runs again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vlatency.agent.realtime.event_loop import EventLoop
from vlatency.agent.realtime.execution import Chunk, remember
from vlatency.agent.realtime.requests import Act, Encode, Infer, Request
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Lateness, Span, control_ticks
from vlatency.sim.actions import Commanded
from vlatency.sim.clock import hz_to_period_ns

if TYPE_CHECKING:
    from vlatency.sim.plant import Plant

Episode: TypeAlias = Generator[Request, Any, EpisodeTrace]


def episode(plant: Plant, cameras: Sequence[str], timing: Timing, rng: np.random.Generator) -> Episode:
    """Run one episode on a freshly reset plant, until the plant is done.

    Args:
        plant: the world; `sim.plant.Plant` says what it must offer.
        cameras: the views that an encode gets.
        timing: mode, latency and all else that the clock needs.
        rng: draws the latencies of this episode.

    Returns:
        A generator of `Encode` and `Act` requests, or of `Infer` requests, that returns the record of the episode.
        `driver.run_episodes` answers the requests; to drive it by hand, send the answer to each request.

    Example:
        With an `env` that has been reset, and a `policy` as in `driver.Policy`:

        >>> from vlatency.agent.realtime.driver import run_episodes
        >>> from vlatency.agent.vla.setpoints import SETPOINTS
        >>> steps = episode(env, ("top", "wrist"), Timing("sync", actions=SETPOINTS), np.random.default_rng(1))
        >>> (trace,) = run_episodes([steps], policy)
        >>> trace.mode, trace.commands[0].applied_ns
        ('sync', 0)
    """
    if timing.mode == "pause":
        return _paused(plant, cameras, timing)
    return EventLoop(plant, cameras, timing, timing.latency.stream(rng)).run()


def _paused(plant: Plant, cameras: Sequence[str], timing: Timing) -> Episode:
    """The usual evaluation loop, in which inference takes no time. Tests hold the clock against it."""
    period_ns, execution = hz_to_period_ns(timing.control_hz), timing.execution
    commanded = Commanded(timing.actions)
    spans: list[Span] = []
    commands: list[CommandRecord] = []
    instants: list[int] = []
    chunks: list[Chunk] = []
    next_head_ns = 0
    follow_ns: int | None = None
    features: object | None = None
    while not plant.done:
        now_ns = plant.now_ns
        position = commanded.position(now_ns)
        instants.append(now_ns)
        fresh = now_ns >= next_head_ns
        if fresh:
            images, instruction, readings = plant.capture(cameras), plant.instruction, plant.sensors()
            if timing.stages == 1:
                infer = Infer(dict(images), instruction, readings, now_ns)
                rows = yield execution.ask(infer, chunks, now_ns, 0, position)
            else:
                features = yield Encode(images, instruction, readings, now_ns, features, deferrable=True)
                rows = yield execution.ask(Act(features, plant.sensors(), 0), chunks, now_ns, 0, position)
            encode = Span("encode", now_ns, now_ns, now_ns, tuple(cameras))
            spans += [encode, Span("head", now_ns, now_ns, now_ns)]
            chunks = remember(chunks, Chunk(np.asarray(rows), now_ns, now_ns, timing.actions, position))
            next_head_ns = execution.next_head_ns(chunks[-1], period_ns)
        if fresh or (follow_ns is not None and now_ns >= follow_ns):
            action = execution.action(chunks, now_ns, position)
            plant.command(action)
            commanded.command(action, now_ns)
            read_ns = chunks[-1].read_ns
            commands.append(CommandRecord(now_ns, read_ns, 0, 0, read_ns, fresh))
            follow_ns = execution.next_ns(chunks, now_ns)
        plant.advance_to(len(instants) * period_ns)
    ticks = control_ticks(instants, spans, commands, Lateness(period_ns))
    return EpisodeTrace("pause", period_ns, plant.now_ns, ticks, tuple(spans), tuple(commands))
