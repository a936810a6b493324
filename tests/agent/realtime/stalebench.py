"""Requests of a true pi0.5 in the clock of StaleBench, replayed in ours: in its steps of 50 ms, and at our resolution.

`python -m tests.agent.realtime.stalebench` prints by how much its rounding moves arrivals and ages.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tests.builders.world import Streamed
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.execution import OpenLoop, Switch
from vlatency.agent.realtime.requests import Infer
from vlatency.agent.realtime.reuse import Latest
from vlatency.agent.realtime.timing import Timing
from vlatency.sim.actions import ActionSpec
from vlatency.sim.clock import PHYSICS_STEP_NS, ms_to_ns, ns_to_ms
from vlatency.sim.readings import Readings

PEER_STEP_NS = ms_to_ns(50)
HORIZON = 10
"""Rows of a chunk that are carried out at most."""
REQUEST_AFTER = 2
"""An asynchronous request follows so many steps after the last answer."""
ACTIONS = ActionSpec(("absolute", "absolute", "delta"), PEER_STEP_NS, hold="zero")
"""Of `Numbered`: number of the chunk, of its row, and 1, of which holding makes 0."""


@dataclass(frozen=True)
class Asked:
    """A published request; steps are counted from 1."""

    request_step: int
    latency_ms: float
    """Measured, and what was added."""
    available_step: int


@dataclass(frozen=True)
class PeerEpisode:
    """A published episode. Its figures are those of `summaries/episodes.csv` at the same commit.

    Attributes:
        strategy, profile: as in the data.
        steps: environment steps.
        holds: steps without an action of a chunk.
        mean_age_ms: mean over all steps of the age of the action; a step without one counts as 0.
        max_age_ms: the highest.
        requests: those of the data.
    """

    strategy: str
    profile: str
    steps: int
    holds: int
    mean_age_ms: float
    max_age_ms: float
    requests: tuple[Asked, ...]

    @property
    def latencies_ms(self) -> list[float]:
        """Of all requests: an asynchronous episode begins with a chunk that costs nothing."""
        return [0.0] * (self.strategy == "naive_async") + [asked.latency_ms for asked in self.requests]

    def timing(self) -> Timing:
        """The peer's rules in our terms."""
        latency = Streamed(source=InOrder(self.latencies_ms))
        if self.strategy == "blocking_sync":
            return Timing("sync", 20, latency, execution=OpenLoop(HORIZON), stages=1, actions=ACTIONS)
        reuse = AfterAnswer(REQUEST_AFTER * PEER_STEP_NS)
        return Timing("async", 20, latency, reuse, Switch(), stages=1, actions=ACTIONS)


def published() -> list[PeerEpisode]:
    """The episodes of the excerpt."""
    with Path(__file__).with_name("stalebench.csv").open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    figures = (
        ("blocking_sync", "native", 160, 76, 336.875, 900.0),
        ("blocking_sync", "native_plus_300", 191, 114, 375.39267015706804, 1200.0),
        ("blocking_sync", "native_plus_700", 254, 179, 394.68503937007875, 1650.0),
        ("naive_async", "native", 280, 12, 603.9285714285714, 950.0),
    )
    return [
        PeerEpisode(
            *each,
            tuple(
                Asked(
                    int(row["request_step"]),
                    float(row["measured_ms"]) + float(row["added_ms"]),
                    int(row["response_available_step"]),
                )
                for row in rows
                if (row["strategy"], row["latency_profile"]) == each[:2]
            ),
        )
        for each in figures
    ]


@dataclass(frozen=True)
class AfterAnswer(Latest):
    """The next request follows some time after the last answer."""

    rest_ns: int = 0

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """As in `Latest`."""
        return finished_ns + self.rest_ns


class InOrder:
    """Latencies in the order of their requests; a request beyond them is never answered."""

    def __init__(self, latencies_ms: Sequence[float]) -> None:
        self._left = iter(latencies_ms)

    def encode_ns(self, views: int, of: int) -> int:
        return ms_to_ns(next(self._left, 1e9))

    def head_ns(self) -> int:
        return 0


class Stepping:
    """A world without contents that advances in whole steps and remembers what was in force at each."""

    instruction = ""

    def __init__(self, step_ns: int, end_ns: int) -> None:
        self.step_ns, self.end_ns, self.now_ns = step_ns, end_ns, 0
        self.action = ACTIONS.origin
        self.in_force: list[np.ndarray] = []

    @property
    def done(self) -> bool:
        return self.now_ns >= self.end_ns

    def advance_to(self, t_ns: int) -> None:
        while self.now_ns < t_ns and not self.done:
            self.in_force.append(self.action)
            self.now_ns += self.step_ns

    def command(self, action: ArrayLike) -> None:
        self.action = np.asarray(action)

    def capture(self, cameras: Sequence[str]) -> dict[str, np.ndarray]:
        return {}

    def sensors(self) -> Readings:
        nothing: Any = None
        return nothing


class Numbered:
    """Its chunks say which they are."""

    def __init__(self) -> None:
        self.asked_ns: list[int] = []

    def infer(self, requests: list[Infer]) -> list[np.ndarray]:
        chunks = []
        for request in requests:
            number = len(self.asked_ns)
            self.asked_ns.append(request.t_ns)
            chunks.append(np.array([(number, row, 1.0) for row in range(HORIZON)]))
        return chunks


@dataclass(frozen=True)
class Replayed:
    """What our clock made of a published episode, without the chunk that costs nothing.

    Attributes:
        asked_ns: when each published request was made [ns].
        used_ns: when the first row of each answer took effect [ns].
        ages_ns: age of each row that was carried out, when it took effect [ns].
        held_ns: how long none was in force [ns].
    """

    asked_ns: tuple[int, ...]
    used_ns: tuple[int, ...]
    ages_ns: tuple[int, ...]
    held_ns: int


def replay(peer: PeerEpisode, step_ns: int) -> Replayed:
    """Charge the latencies of a published episode in a world with steps of `step_ns`."""
    world, policy = Stepping(step_ns, peer.steps * PEER_STEP_NS), Numbered()
    (trace,) = run_episodes([episode(world, (), peer.timing(), np.random.default_rng(0))], policy)
    free, last = len(peer.latencies_ms) - len(peer.requests), len(peer.latencies_ms)
    used_ns = {command.capture_ns: command.applied_ns for command in trace.commands if command.fresh}
    begun = list(_begun(world))
    return Replayed(
        tuple(policy.asked_ns[free:last]),
        tuple(used_ns[t_ns] for t_ns in policy.asked_ns[free:last] if t_ns in used_ns),
        tuple(t_ns - policy.asked_ns[chunk] for t_ns, chunk in begun),
        sum(not action[2] for action in world.in_force) * step_ns,
    )


def _begun(world: Stepping) -> Iterator[tuple[int, int]]:
    """When each row took effect that was carried out, and the number of its chunk."""
    before = None
    for step, action in enumerate(world.in_force):
        if action[2] and tuple(action) != before:
            yield step * world.step_ns, int(action[0])
        before = tuple(action)


def main() -> None:
    """Print what rounding to 50 ms moves."""
    print("answer to its request: StaleBench's steps against ours [ms]; last answer; mean age of an action; no action")
    for peer in published():
        theirs, ours = replay(peer, PEER_STEP_NS), replay(peer, PHYSICS_STEP_NS)
        waits = [
            [ns_to_ms(used - asked) for used, asked in zip(each.used_ns, each.asked_ns, strict=False)]
            for each in (theirs, ours)
        ]
        moved = [late - exact for late, exact in zip(*waits, strict=False)]
        last = min(len(theirs.used_ns), len(ours.used_ns)) - 1
        print(
            f"{peer.strategy} {peer.profile}: {len(moved)} answers later by {min(moved):.0f} to {max(moved):.0f}, "
            f"mean {mean(moved):.1f}; answer {last + 1} at {ns_to_ms(theirs.used_ns[last]):.0f} against "
            f"{ns_to_ms(ours.used_ns[last]):.0f}; age {ns_to_ms(round(mean(theirs.ages_ns))):.1f} against "
            f"{ns_to_ms(round(mean(ours.ages_ns))):.1f}; none for {ns_to_ms(theirs.held_ns):.0f} against "
            f"{ns_to_ms(ours.held_ns):.0f}"
        )


if __name__ == "__main__":
    main()
