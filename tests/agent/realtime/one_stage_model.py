"""A world for policies of one stage, and a model that asks at every step which action is in force, by definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlatency.agent.realtime.cost.latency import LatencyStream
from vlatency.agent.realtime.execution import DelayAware, Execution, Hold, OpenLoop
from vlatency.agent.realtime.reuse import Every, Reuse
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.timing import Mode
from vlatency.sim.actions import ActionSpec
from vlatency.sim.clock import ms_to_ns

STEP_NS = 12_500_000
"""One step of the environment, and one row of a chunk."""


class Cart:
    """A cart in the plane that its relative actions move and its absolute ones put somewhere; it has only steps."""

    instruction = "Go"

    def __init__(self, steps: int = 160) -> None:
        self.steps, self.end, self.place = 0, steps, np.zeros(3)
        self.action = np.zeros(3)
        self.applied: list[np.ndarray] = []

    @property
    def now_ns(self) -> int:
        return self.steps * STEP_NS

    @property
    def done(self) -> bool:
        return self.steps >= self.end

    def advance_to(self, t_ns: int) -> None:
        assert t_ns >= self.now_ns
        while self.now_ns < t_ns and not self.done:
            self.applied.append(self.action)
            self.place = 0.9 * self.place + self.action
            self.steps += 1

    def command(self, action: ArrayLike) -> None:
        self.action = np.array(action)

    def capture(self, cameras: Sequence[str]) -> dict[str, np.ndarray]:
        return {camera: np.zeros((1, 1, 3), np.uint8) for camera in cameras}

    def sensors(self) -> Any:
        return Felt(self.now_ns, tuple(self.place))


@dataclass(frozen=True)
class Felt:
    t_ns: int
    place: tuple[float, ...]


def rows_of(felt: Any, count: int = 8) -> np.ndarray:
    """A chunk that shows when its sensors were read and what they said; none of its rows equals another."""
    return 0.3 * np.sin(felt.t_ns / 1e8 + np.arange(count)[:, None] + np.arange(3)) - 0.05 * np.array(felt.place)


@dataclass
class Job:
    exposure_ns: int
    started_ns: int
    ends_ns: int
    rows: np.ndarray
    anchor: np.ndarray
    arrives_ns: int | None = None


def in_force(
    execution: Execution, spec: ActionSpec, jobs: list[Job], now_ns: int, position: np.ndarray
) -> tuple[Any, np.ndarray]:
    """A label of what is in force now, and the action that begins with it."""
    job = jobs[-1]
    assert job.arrives_ns is not None
    begins_ns = job.exposure_ns if isinstance(execution, DelayAware) else job.arrives_ns
    count = {Hold: 1, OpenLoop: getattr(execution, "actions", 0)}.get(type(execution), 99)
    count = min(count, len(job.rows))
    row = (now_ns - begins_ns) // spec.row_ns
    over = row >= count
    row = min(row, count - 1)
    relative = np.array([kind != "absolute" for kind in spec.kinds])
    if over and spec.hold != "repeat":
        held = np.where(relative, 0.0, job.rows[row]) if spec.hold == "zero" else np.array(spec.noop)
        return (id(job), "held"), held
    action = job.rows[row].copy()
    if isinstance(execution, DelayAware) and relative.any():
        wanted = job.anchor + job.rows[: row + 1].sum(0)
        lead = wanted - position
        if spec.limits:
            lead = np.clip(lead, *spec.limits)
        action[relative] = lead[relative]
    return (id(job), row), action


def model(  # noqa: C901 - one place for the order of events
    mode: Mode, spec: ActionSpec, execution: Execution, reuse: Reuse, robot: RobotTiming, latency: LatencyStream
) -> tuple[list[np.ndarray], list[int]]:
    """The action of every step, and when the cameras were exposed."""
    cart = Cart()
    delay_ns, actuation_ns = ms_to_ns(robot.camera_delay_ms), ms_to_ns(robot.actuation_ms)
    look_ns: int | None = 0
    exposed: tuple[int, Felt, np.ndarray] | None = None
    running: Job | None = None
    coming: list[Job] = []
    taken: list[Job] = []
    exposures: list[int] = []
    position, action, label, cycle_ns = np.zeros(3), np.zeros(3), None, 0

    def earliest_next(job: Job) -> int:
        assert job.arrives_ns is not None
        if isinstance(execution, OpenLoop):
            return job.arrives_ns + min(execution.actions, len(job.rows)) * spec.row_ns
        return job.exposure_ns

    while not cart.done:
        now_ns = cart.now_ns
        fresh = False
        for _ in range(4):  # what happens now may lead to more that happens now
            if running and running.ends_ns <= now_ns:
                job, running = running, None
                job.arrives_ns = now_ns + actuation_ns
                coming.append(job)
                if mode == "async":
                    if isinstance(reuse, Every):
                        due = max(job.started_ns // STEP_NS + reuse.ticks, -(-job.ends_ns // STEP_NS)) * STEP_NS
                    elif job.ends_ns > job.started_ns:
                        due = job.ends_ns
                    else:
                        due = (job.started_ns // STEP_NS + 1) * STEP_NS
                    look_ns = max(due, earliest_next(job))
            if look_ns is not None and look_ns <= now_ns:
                look_ns = None
                exposures.append(now_ns)
                exposed = now_ns, cart.sensors(), position.copy()
            if exposed and exposed[0] + delay_ns <= now_ns:
                lasts_ns = latency.encode_ns(1, 1) + latency.head_ns()
                running = Job(exposed[0], now_ns, now_ns + lasts_ns, rows_of(exposed[1]), exposed[2])
                exposed = None
            while coming and coming[0].arrives_ns is not None and coming[0].arrives_ns <= now_ns:
                taken.append(coming.pop(0))
                fresh = True
                if mode == "sync":
                    cycle_ns = max(now_ns, cycle_ns + STEP_NS, earliest_next(taken[-1]))
                    look_ns = cycle_ns
        if taken:
            found, wanted = in_force(execution, spec, taken, now_ns, position)
            if fresh or found != label:
                label, action = found, wanted
        cart.command(action)
        cart.advance_to(now_ns + STEP_NS)
        position = position + action * STEP_NS / spec.row_ns
    return cart.applied, exposures
