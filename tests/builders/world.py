"""A world and a policy small enough to follow by hand."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlatency.agent.realtime.cost.latency import Constant, LatencyStream, NoLatency
from vlatency.agent.realtime.driver import Policy, run_episodes
from vlatency.agent.realtime.episode import Episode, episode
from vlatency.agent.realtime.execution import (
    DelayAware,
    Ensemble,
    Execution,
    Hold,
    OpenLoop,
    RealTimeChunking,
    RollForward,
    Switch,
)
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Deadline, Every, Latest, OnEvent, Reuse, Stagger
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Apart, Shared
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.sim.clock import ms_to_ns, s_to_ns
from vlatency.sim.readings import Readings

STEP_NS = ms_to_ns(2)
CAMERAS = ("top", "wrist")


@dataclass(frozen=True)
class Felt:
    """Readings of a robot with one axis."""

    t_ns: int
    position: float
    ee_pose: np.ndarray
    gripper_vel: float = 0.0
    wrench: np.ndarray = field(default_factory=lambda: np.zeros((50, 6)))


class FakePlant:
    """A point mass on a spring that pulls it to the set-point. Its hash covers every step; its views show the time."""

    instruction = "Pick up the blue object"

    def __init__(self, seconds: float = 2.0, start: float = 0.3) -> None:
        self.now_ns = 0
        self.end_ns = s_to_ns(seconds)
        self.position, self.velocity, self.setpoint = start, 0.0, np.zeros(5)
        self.log: list[tuple[int, str]] = []
        self.captured: list[int] = []
        self.rendered: list[tuple[str, ...]] = []
        self.commanded: list[tuple[int, np.ndarray]] = []
        self._hash = hashlib.sha256()

    @property
    def done(self) -> bool:
        return self.now_ns >= self.end_ns

    @property
    def trajectory_hash(self) -> str:
        return self._hash.hexdigest()

    def advance_to(self, t_ns: int) -> None:
        if t_ns < self.now_ns:
            raise ValueError(f"{t_ns} is in the past of {self.now_ns}")
        while self.now_ns < t_ns:
            self.velocity += 0.002 * (40 * (self.setpoint.sum() - self.position) - 3 * self.velocity)
            self.position += 0.002 * self.velocity
            self.now_ns += STEP_NS
            self._hash.update(np.array([self.now_ns, self.position, self.velocity, *self.setpoint]).tobytes())

    def command(self, action: ArrayLike) -> None:
        self.setpoint = np.array(action)
        self.log.append((self.now_ns, "command"))
        self.commanded.append((self.now_ns, self.setpoint))

    def capture(self, cameras: Sequence[str]) -> dict[str, np.ndarray]:
        self.log.append((self.now_ns, "capture"))
        self.captured.append(self.now_ns)
        self.rendered.append(tuple(cameras))
        shown = np.array([self.now_ns, self.position]).view(np.uint8)
        return {camera: shown.reshape(1, 16, 1).repeat(3, axis=2) for camera in cameras}

    def sensors(self) -> Any:
        self.log.append((self.now_ns, "sensors"))
        return Felt(self.now_ns, self.position, np.array([self.position, 0.0, 0.0, 0.0]))


class Eventful(FakePlant):
    """By 500 ms the fingers stop, by 900 the force jumps, by 1300 the instruction changes."""

    @property
    def instruction(self) -> str:  # type: ignore[override]
        return "Pick up the blue object" if self.now_ns < ms_to_ns(1290) else "Pick up the red object"

    def sensors(self) -> Felt:
        wrench = np.zeros((50, 6))
        wrench[self.now_ns + STEP_NS * np.arange(-49, 1) >= ms_to_ns(850), 2] = 30.0
        moving = ms_to_ns(300) <= self.now_ns < ms_to_ns(490)
        return replace(super().sensors(), gripper_vel=1.5 * moving, wrench=wrench)


class Scene(FakePlant):
    """Views of the right size, and readings of a robot whose end effector is where the mass is."""

    def __init__(self, readings: Readings, seconds: float) -> None:
        super().__init__(seconds)
        self.readings = readings

    def capture(self, cameras: Sequence[str]) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.now_ns)
        return {camera: rng.integers(0, 256, (36, 64, 3), np.uint8) for camera in super().capture(cameras)}

    def sensors(self) -> Readings:
        return replace(self.readings, t_ns=self.now_ns, ee_pose=np.array([self.position, 0.1, 0.2, 0.3]))


@dataclass
class FakePolicy:
    """Its set-points say when it looked and felt, and where the mass was: a trajectory shows all that it knew."""

    widest: int = 0

    def encode(self, requests: list[Encode]) -> list[object]:
        self.widest = max(self.widest, len(requests))
        return [next(iter(request.images.values()))[..., 0].copy().view(np.float64) for request in requests]

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        chunks = []
        for request in requests:
            looked_ns, position = np.ravel(request.features)  # type: ignore[call-overload]
            readings: Any = request.readings
            felt_ns = readings.t_ns
            assert request.age_ns == felt_ns - looked_ns
            chunks.append(np.tile([looked_ns / 1e9, felt_ns / 1e9, -position, readings.position, 0.1], (8, 1)))
        return chunks


class Sloping(FakePolicy):
    """Chunks whose set-points differ from row to row, and are drawn towards a plan if there is one."""

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        chunks = [chunk + 0.03 * np.arange(8)[:, None] for chunk in super().act(requests)]
        for chunk, request in zip(chunks, requests, strict=True):
            if request.plan is not None:
                rows = len(request.plan)
                chunk[:rows, 2:] += (request.frozen + 1) / 10 * (request.plan - chunk[:rows])[:, 2:]
        return chunks


class Jitter:
    """Random latencies in whole nanoseconds, off the grid of physics steps; some are zero."""

    def __init__(self, seed: int, vl_ms: float = 300, head_ms: float = 120) -> None:
        self._rng = np.random.default_rng(seed)
        self._vl_ns, self._head_ns = ms_to_ns(vl_ms), ms_to_ns(head_ms)

    def encode_ns(self, views: int, of: int) -> int:
        return int(self._rng.integers(self._vl_ns)) if self._rng.random() < 0.9 else 0

    def head_ns(self) -> int:
        return int(self._rng.integers(self._head_ns)) if self._rng.random() < 0.9 else 0


NO_LATENCY = Constant(0, 0)


@dataclass(frozen=True)
class Streamed(NoLatency):
    """A latency model that always gives the same stream."""

    source: LatencyStream = NO_LATENCY

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        return self.source


def begin(plant: FakePlant, mode: Mode, latency: LatencyStream = NO_LATENCY, **timing: Any) -> Episode:
    """An episode that is charged the given latencies."""
    return episode(
        plant,
        CAMERAS,
        Timing(mode, latency=Streamed(source=latency), actions=SETPOINTS, **timing),
        np.random.default_rng(0),
    )


def play(
    mode: Mode,
    latency: LatencyStream = NO_LATENCY,
    reuse: Reuse = Latest(),
    control_hz: float = 10,
    plant: FakePlant | None = None,
    policy: Policy | None = None,
    cameras: Sequence[str] = CAMERAS,
    **more: Any,
) -> tuple[FakePlant, EpisodeTrace]:
    """A whole episode, with a `FakePolicy` unless there is another one; `more` goes to `Timing`."""
    plant = plant or FakePlant()
    timing = Timing(mode, control_hz, Streamed(source=latency), reuse, actions=SETPOINTS, **more)
    (trace,) = run_episodes([episode(plant, cameras, timing, np.random.default_rng(0))], policy or FakePolicy())
    return plant, trace


EXECUTIONS: tuple[Execution, ...] = (
    *(Hold(), OpenLoop(), OpenLoop(3), Switch(), Switch(4), DelayAware(), DelayAware(3)),
    *(Ensemble(), Ensemble(2), RollForward(), RollForward(2), RealTimeChunking(), RealTimeChunking(3)),
)


def drawn(seed: int) -> dict[str, Any]:
    """Arguments of `play`: a random combination of everything that the clock knows."""
    choose = random.Random(seed).choice
    return {
        "mode": choose(["sync", "async", "async"]),
        "latency": Jitter(seed, choose([5, 80, 300, 900]), choose([2, 30, 120, 300])),
        "reuse": choose([Latest(), Every(1), Every(3), OnEvent(), OnEvent(4), Deadline(), Deadline(30), Stagger(3)]),
        "control_hz": choose([7, 10, 20, 47.3, 100, 500]),
        "execution": choose(EXECUTIONS),
        "servers": choose([Apart(), Shared(1.0), Shared(1.3), Shared(4.0)]),
        "robot": RobotTiming(
            camera_hz=choose([0, 0, 7, 30, 60, 499]),
            camera_phase_ms=choose([0, 3.3, 40]),
            camera_delay_ms=choose([0, 1.7, 33, 200]),
            actuation_ms=choose([0, 5, 150]),
            late=choose(["apply", "drop"]),
        ),
    }
