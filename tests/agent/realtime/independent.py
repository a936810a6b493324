"""Plain models of what the clock does, to hold it against; they share no code with it.

Written from the papers, `docs/clock.md` and the docstrings. Where the clock keeps a queue of events, the model here
goes through the lattice of physics steps and asks at each one what is due, in the order that `docs/clock.md` gives.
Speed, memory and elegance do not count here; that each line can be held against a sentence of the documentation does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

STEP_NS = 2_000_000
ROW_NS = 100_000_000

Array: TypeAlias = np.ndarray
Label: TypeAlias = tuple[tuple[int, int], ...]
"""(chunk, row) of every set-point that counts now."""


@dataclass(frozen=True)
class Answer:
    """A chunk: its rows, when the sensors behind it were read, and when it could take effect, to the nanosecond."""

    rows: Array
    read_ns: int
    arrived_ns: int


# Which set-points count (execution).


def of_the_newest(answers: Sequence[Answer], begins_ns: int, now_ns: int) -> Label:
    """The row of the newest chunk for this interval of 100 ms; the last row is held."""
    row = (now_ns - begins_ns) // ROW_NS
    return ((len(answers) - 1, min(row, len(answers[-1].rows) - 1)),)


def the_first(answers: Sequence[Answer], now_ns: int) -> Label:
    """The first row of the newest chunk, which is held (`hold`)."""
    return ((len(answers) - 1, 0),)


def from_the_reading(answers: Sequence[Answer], now_ns: int) -> Label:
    """Rows are timed from when the sensors were read: those whose time has passed on arrival are skipped (RTC)."""
    return of_the_newest(answers, answers[-1].read_ns, now_ns)


def from_the_arrival(answers: Sequence[Answer], now_ns: int) -> Label:
    """A chunk begins with its first row when it arrives (VLASH)."""
    return of_the_newest(answers, answers[-1].arrived_ns, now_ns)


def from_all(answers: Sequence[Answer], now_ns: int) -> Label:
    """What every chunk says about now (ACT), or the last row of the newest if none says anything any more."""
    said = []
    for number, answer in enumerate(answers):
        row = (now_ns - answer.read_ns) // ROW_NS
        if row < len(answer.rows):
            said.append((number, row))
    return tuple(said) or ((len(answers) - 1, len(answers[-1].rows) - 1),)


def ensembled(answers: Sequence[Answer], label: Label) -> Array:
    """The weighted mean, w_i = exp(-m i), of which w_0 belongs to the oldest (ACT, algorithm 2), with m = 0.01."""
    total, weights = np.zeros(5), 0.0
    for i, (number, row) in enumerate(label):
        weight = math.exp(-0.01 * i)
        total, weights = total + weight * answers[number].rows[row], weights + weight
    return total / weights


# What the head is asked (execution).


@dataclass(frozen=True)
class Asked:
    """What a run of the head is given."""

    t_ns: int
    looked: tuple[tuple[str, int], ...]
    """When each view behind the features was exposed."""
    age_ns: int
    ee_pose: Array
    plan: Array | None = None
    frozen: int = 0


def left_to_continue(answers: Sequence[Answer], now_ns: int, delay_ns: int) -> tuple[Array | None, int]:
    """The plan of real-time chunking, and how much of it is frozen.

    Set-points of the chunk in force at now, now + 100 ms, ..., linear between its rows. d = floor(delay / 100 ms) of
    them are carried out in any case, or all of the new chunk; the last row is held where the old one is too short.
    """
    answer = answers[-1]
    frozen = min(delay_ns // ROW_NS, len(answer.rows))
    points: list[Array] = []
    last = len(answer.rows) - 1
    while True:
        at = (now_ns - answer.read_ns) / ROW_NS + len(points)
        if at > last and len(points) >= frozen:
            return (np.stack(points) if points else None), frozen
        below = min(math.floor(at), last)
        share = at - math.floor(at)
        points.append((1 - share) * answer.rows[below] + share * answer.rows[min(below + 1, last)])


def rolled_forward(pose: Array, answers: Sequence[Answer], now_ns: int, delay_ns: int) -> Array:
    """Where the end effector is in `delay_ns`, if it goes straight to each set-point in force within 100 ms (VLASH)."""
    answer, t_ns, pose = answers[-1], now_ns, pose.copy()
    while t_ns < now_ns + delay_ns:
        row = (t_ns - answer.arrived_ns) // ROW_NS
        target = answer.rows[min(row, len(answer.rows) - 1), :4]
        until_ns = min(answer.arrived_ns + (row + 1) * ROW_NS, now_ns + delay_ns)
        if row >= len(answer.rows) - 1:
            until_ns = now_ns + delay_ns
        pose = pose + (target - pose) * min(1.0, (until_ns - t_ns) / ROW_NS)
        t_ns = until_ns
    return pose


# When to look again, and at what (reuse).

Next: TypeAlias = Callable[[int, int, int], int | None]
"""From the start and the end of an encode and the period to the start of the next [ns]; None: not by itself."""


def back_to_back(started_ns: int, finished_ns: int, period_ns: int) -> int:
    """As soon as the last one has finished."""
    return finished_ns


def never(started_ns: int, finished_ns: int, period_ns: int) -> None:
    """Not by itself."""


def every(ticks: int) -> Next:
    """At the `ticks`-th tick after the start, or at the first one at which the encoder is free."""

    def start(started_ns: int, finished_ns: int, period_ns: int) -> int:
        tick = started_ns // period_ns + ticks
        while tick * period_ns < finished_ns:
            tick += 1
        return tick * period_ns

    return start


def just_in_time(margin_ns: int) -> Next:
    """So that it finishes, `margin_ns` early if possible, for the tick that a back-to-back encode would serve first."""

    def start(started_ns: int, finished_ns: int, period_ns: int) -> int:
        takes_ns = finished_ns - started_ns
        served = 0
        while served < finished_ns + takes_ns:
            served += period_ns
        return max(finished_ns, served - takes_ns - margin_ns)

    return start


def event(before: Any, now: Any) -> bool:
    """Whether the fingers stopped or the force jumped.

    Moving is 0.1 a second or more. A jump: the mean force of the last 20 ms is 10 N or more from what it was before the
    last 20 ms of the tick before, over 20 ms. So a lasting jump is noticed wherever it falls between two ticks.
    """
    stopped = abs(before.gripper_vel) >= 0.1 > abs(now.gripper_vel)
    jump = np.mean(now.wrench[40:, :3], axis=0) - np.mean(before.wrench[30:40, :3], axis=0)
    return bool(stopped or np.sqrt((jump**2).sum()) >= 10)


def in_turn(cameras: Sequence[str], turns: int, number: int) -> tuple[str, ...]:
    """The wrist view always, the n-th static view when it is its turn; all of them in encode 0.

    Without a wrist view there are no more turns than static views, as no encode is empty.
    """
    static = [camera for camera in cameras if camera != "wrist"]
    if "wrist" not in cameras:
        turns = min(turns, len(static))
    due = {camera for place, camera in enumerate(static) if number % turns == place % turns or number == 0}
    return tuple(camera for camera in cameras if camera == "wrist" or camera in due)


# The clock (async mode, encoder and head apart, cameras on demand).


@dataclass
class Setting:
    """One configuration."""

    period_ns: int
    end_ns: int
    cameras: tuple[str, ...]
    encodes_ns: Sequence[int]
    """Charged for each encode in turn."""
    heads_ns: Sequence[int]
    """Charged for each run of the head in turn."""
    chunks: Sequence[Array]
    """What each run of the head answers."""
    feel: Callable[[int], Any]
    """Sensor readings at a time."""
    say: Callable[[int], str]
    """Instruction at a time."""
    next_look: Next = back_to_back
    on_event: bool = False
    turns: int | None = None
    label: Callable[[Sequence[Answer], int], Label] = the_first
    one_in_flight: bool = False
    """Whether the head waits for its last chunk to arrive."""
    plans: bool = False
    rolls: bool = False
    every: int = 1
    """Control ticks from one run of the head to the next."""
    actuation_ns: int = 0


@dataclass
class Record:
    """What happened, with the physics step at which it did."""

    looks: list[tuple[int, tuple[str, ...], int]] = field(default_factory=list)
    """Step, views, and how long the encode takes."""
    asked: list[Asked] = field(default_factory=list)
    commands: list[tuple[int, Array]] = field(default_factory=list)


def clocked(of: Setting) -> Record:  # noqa: C901 - one place for the order of events
    """One episode, step by step."""
    record, answers = Record(), list[Answer]()
    in_flight: list[tuple[int, int]] = []  # when a chunk takes effect, and its number
    reads: list[int] = []
    looked: dict[str, int] = {}
    known: dict[str, int] = {}
    busy: tuple[int, int, dict[str, int]] | None = None  # start and end of the running encode, and its features
    look_ns: int | None = 0
    waiting = False  # for the encoder to be free, since an event
    since_all, said = 0, of.say(0)
    tick, next_tick, free_ns = 0, 0, 0
    before: tuple[Any, str] | None = None
    label: Label = ()

    for t in range(0, of.end_ns, STEP_NS):
        while True:
            if busy and busy[1] <= t:  # 1. an encode finishes
                known = busy[2]
                look_ns = of.next_look(busy[0], busy[1], of.period_ns)
                if waiting:
                    look_ns, waiting = t, False
                busy = None
            elif busy is None and look_ns is not None and look_ns <= t:  # 3., 4. the policy looks, an encode starts
                if of.say(t) != said:
                    since_all, said = 0, of.say(t)
                views = of.cameras if of.turns is None else in_turn(of.cameras, of.turns, since_all)
                since_all += 1
                looked = looked | dict.fromkeys(views, t)
                takes_ns = of.encodes_ns[len(record.looks)] * len(views) // len(of.cameras)
                record.looks.append((t, views, takes_ns))
                busy, look_ns = (t, t + takes_ns, looked), None
            elif in_flight and in_flight[0][0] <= t:  # 5. a chunk arrives
                arrived_ns, number = in_flight.pop(0)
                answers.append(Answer(of.chunks[number], reads[number], arrived_ns))
                label = of.label(answers, t)
                record.commands.append((t, ensembled(answers, label)))
            elif tick * of.period_ns <= t:  # 6. a control tick
                felt = of.feel(t)
                if of.on_event and before and (event(before[0], felt) or before[1] != of.say(t)):
                    waiting, look_ns = busy is not None, t
                before = felt, of.say(t)
                if known and tick >= next_tick and free_ns <= t and not (of.one_in_flight and in_flight):
                    number = len(reads)
                    last_ns = of.heads_ns[number - 1] + of.actuation_ns if number else 0
                    pose, plan, frozen = felt.ee_pose, None, 0
                    if answers and of.rolls:
                        pose = rolled_forward(pose, answers, t, last_ns)
                    if answers and of.plans:
                        plan, frozen = left_to_continue(answers, t, last_ns)
                    shown = tuple(sorted(known.items()))
                    record.asked.append(Asked(t, shown, t - max(known.values()), pose, plan, frozen))
                    free_ns = t + of.heads_ns[number]
                    reads.append(t)
                    in_flight.append((free_ns + of.actuation_ns, number))
                    next_tick = tick + of.every
                tick += 1
            elif answers and of.label(answers, t) != label:  # 7. the next set-point
                label = of.label(answers, t)
                record.commands.append((t, ensembled(answers, label)))
            else:
                break
    return record


# The splice itself: what the sampler of real-time chunking makes of a plan.


def soft_mask(frozen: int, rows: int, chunk: int) -> Array:
    """(chunk,) equation 5 of RTC with d = frozen and H - s = rows."""
    weights = np.zeros(chunk)
    for i in range(chunk):
        if i < frozen:
            weights[i] = 1.0
        elif i < rows:
            c = (rows - i) / (rows - frozen + 1)
            weights[i] = c * (math.exp(c) - 1) / (math.e - 1)
    return weights


def guided(
    velocity: Callable[[Array, float], Array],
    jacobian: Callable[[Array, float], Array],
    noise: Array,
    target: Array,
    weights: Array,
    steps: int,
    beta: float,
) -> Array:
    """Algorithm 1 of RTC (GuidedInference) for a flat chunk; `jacobian` is that of the velocity."""
    a = noise.copy()
    for n in range(steps):
        tau = n / steps
        estimate = a + (1 - tau) * velocity(a, tau)
        error = (target - estimate) * weights
        g = error @ (np.eye(len(a)) + (1 - tau) * jacobian(a, tau))
        r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
        weight = beta if tau == 0 else min(beta, (1 - tau) / (tau * r2))
        a = a + (velocity(a, tau) + weight * g) / steps
    return a


def relative_chunk(plan: Array, ee_pose: Array, scale: float) -> Array:
    """(rows, 6) a plan as the flow head sees it: offsets / `scale`, cosine and sine of the turn, gripper -1 to 1."""
    rows = []
    for x, y, z, yaw, gripper in plan:
        offset = (np.array([x, y, z]) - ee_pose[:3]) / scale
        rows.append([*offset, math.cos(yaw - ee_pose[3]), math.sin(yaw - ee_pose[3]), 2 * gripper - 1])
    return np.array(rows)


# Latencies that were measured.


def rotations(drawn: Array, *circles: Array) -> list[tuple[int, ...]]:
    """The starts from which `circles`, each replayed in its order, add up to `drawn`."""
    found = []
    for starts in np.ndindex(*(len(circle) for circle in circles)):
        steps = np.arange(len(drawn))
        total = sum(circle[(start + steps) % len(circle)] for start, circle in zip(starts, circles, strict=True))
        if np.allclose(total, drawn, rtol=0, atol=1e-6):
            found.append(starts)
    return found


def autocorrelation(x: Array, lag: int) -> float:
    """Of a circle of samples with itself, `lag` further on."""
    centred = x - x.mean()
    return float((centred * np.roll(centred, -lag)).mean() / (centred**2).mean())
