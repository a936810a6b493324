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

from vlatency.agent.realtime.cost.latency import LatencyStream
from vlatency.agent.realtime.event_loop import Clocked
from vlatency.agent.realtime.execution import Chunk, Execution, Hold, remember
from vlatency.agent.realtime.requests import Act, Encode, Request
from vlatency.agent.realtime.reuse import Reuse
from vlatency.agent.realtime.robot_timing import Rig
from vlatency.agent.realtime.servers import Apart, Servers
from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Span, control_ticks
from vlatency.sim.clock import hz_to_period_ns
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    from vlatency.sim.plant import Plant

MODES = ("pause", "sync", "async")

Episode: TypeAlias = Generator[Request, Any, EpisodeTrace]


def episode(
    plant: Plant,
    cameras: Sequence[str],
    mode: str,
    reuse: Reuse,
    latency: LatencyStream,
    control_hz: float,
    execution: Execution = Hold(),  # noqa: B008
    servers: Servers = Apart(),  # noqa: B008
    rig: Rig = Rig(),  # noqa: B008
) -> Episode:
    """An episode on a freshly reset `plant`, to be driven by `driver.run_episodes`; it ends when the plant is done.

    Send the answer to each request it yields. `reuse` matters in async mode only, `latency`, `servers` and `rig` not in
    pause mode. UsageError for an unknown mode.
    """
    period_ns = hz_to_period_ns(control_hz)
    if mode == "pause":
        return _paused(plant, cameras, period_ns, execution)
    if mode in MODES:
        policy = reuse if mode == "async" else None
        return Clocked(plant, cameras, policy, latency, period_ns, execution, servers, rig).run()
    raise UsageError(f"unknown mode {mode!r}; modes are {', '.join(MODES)}")


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
