"""What becomes of a chunk: which set-point is in force when, and when the head is asked for the next chunk.

A chunk has one set-point every 100 ms, the first of them meant for the instant at which the sensors were read. It
arrives later than that, and the policies differ in what they do about it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from vlatency.sim.clock import CHUNK_STEP_NS
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    from vlatency.agent.realtime.requests import Act


@dataclass(frozen=True, eq=False)
class Chunk:
    """One answer of the head."""

    setpoints: np.ndarray
    """(rows, 5) absolute set-points, 100 ms apart."""
    read_ns: int
    """When the sensors behind it were read."""
    arrived_ns: int
    """When its first set-point could take effect."""


def remember(chunks: Sequence[Chunk], arrived: Chunk) -> list[Chunk]:
    """All that say anything about the time after the arrival of the last one, oldest first."""
    older = [chunk for chunk in chunks if chunk.read_ns + len(chunk.setpoints) * CHUNK_STEP_NS > arrived.arrived_ns]
    return [*older, arrived]


@dataclass(frozen=True)
class Hold:
    """Only the first set-point counts; it is held until the next chunk is there."""

    def __str__(self) -> str:
        return _spelt(self)

    def think_ns(self, chunk: Chunk, period_ns: int) -> int:
        """When, at the earliest, the head may run again after the run that led to `chunk`."""
        return chunk.read_ns

    def setpoint(self, chunks: Sequence[Chunk], now_ns: int) -> np.ndarray:
        """(5,) what is in force at `now_ns`, given the chunks that have arrived, oldest first."""
        return chunks[-1].setpoints[0]

    def next_ns(self, chunks: Sequence[Chunk], now_ns: int) -> int | None:
        """When the set-point changes next if no other chunk arrives; None for never."""
        return None

    def ask(self, act: Act, chunks: Sequence[Chunk], now_ns: int, delay_ns: int) -> Act:
        """What the head is asked at `now_ns`, when its chunk is expected in `delay_ns`, rather than plainly `act`."""
        return act


class _Rows(Hold):
    """What the policies share that carry out more than the first set-point; the last one is held."""

    def begins_ns(self, chunk: Chunk) -> int:
        """When the first set-point of the chunk is in force, or would have been."""
        return chunk.arrived_ns

    def rows(self, chunk: Chunk) -> int:
        """How many set-points are carried out at most."""
        return len(chunk.setpoints)

    def setpoint(self, chunks: Sequence[Chunk], now_ns: int) -> np.ndarray:
        """The set-point whose 100 ms they are."""
        return chunks[-1].setpoints[min(self._row(chunks[-1], now_ns), self.rows(chunks[-1]) - 1)]

    def next_ns(self, chunks: Sequence[Chunk], now_ns: int) -> int | None:
        """The end of these 100 ms, unless they are the last."""
        following = self._row(chunks[-1], now_ns) + 1
        return self.begins_ns(chunks[-1]) + following * CHUNK_STEP_NS if following < self.rows(chunks[-1]) else None

    def _row(self, chunk: Chunk, now_ns: int) -> int:
        return (now_ns - self.begins_ns(chunk)) // CHUNK_STEP_NS


@dataclass(frozen=True)
class OpenLoop(_Rows):
    """Carry out `actions` set-points from the moment the chunk arrives, and only then ask for the next chunk."""

    actions: int = 8

    def rows(self, chunk: Chunk) -> int:
        return min(self.actions, len(chunk.setpoints))

    def think_ns(self, chunk: Chunk, period_ns: int) -> int:
        return chunk.arrived_ns + self.rows(chunk) * CHUNK_STEP_NS


@dataclass(frozen=True)
class Switch(_Rows):
    """Go over to a new chunk, from its first set-point, as soon as it arrives; meanwhile carry on with the old one."""

    every: int = 1
    """The head runs at every so many-th control tick, if it is free."""

    def think_ns(self, chunk: Chunk, period_ns: int) -> int:
        # A tick happens at the first physics step at or after its time, hence the division.
        return (chunk.read_ns // period_ns + self.every) * period_ns if self.every > 1 else chunk.read_ns


@dataclass(frozen=True)
class DelayAware(Switch):
    """The same, but skip the set-points whose time had passed when the chunk arrived.

    With the head at every s-th tick and d ticks until its answer, d set-points of the old chunk and s - d of the new
    one follow each other: the asynchronous baseline of Real-Time Chunking (Black et al. 2025, arXiv 2506.07339).
    """

    def begins_ns(self, chunk: Chunk) -> int:
        return chunk.read_ns


@dataclass(frozen=True)
class Ensemble(DelayAware):
    """Average what all chunks say about now, with weights exp(-m i) for the i-th oldest, m = 0.01.

    Temporal ensembling of ACT (Zhao et al. 2023, arXiv 2304.13705). It averages the gripper as well.
    """

    M: ClassVar[float] = 0.01

    def setpoint(self, chunks: Sequence[Chunk], now_ns: int) -> np.ndarray:
        about_now = [
            chunk.setpoints[row] for chunk in chunks if (row := self._row(chunk, now_ns)) < len(chunk.setpoints)
        ]
        if not about_now:
            return chunks[-1].setpoints[-1]
        weights = np.exp(-self.M * np.arange(len(about_now)))
        return weights @ np.stack(about_now) / weights.sum()


@dataclass(frozen=True)
class RollForward(Switch):
    """Tell the head where the hand will be when its chunk arrives, and carry the chunk out from its beginning.

    The future state of VLASH (Tang et al. 2025), for absolute set-points: the hand is taken to move in a straight line
    towards the set-points in force, within 100 ms each. Joints, fingers and forces stay as they were read.
    """

    def ask(self, act: Act, chunks: Sequence[Chunk], now_ns: int, delay_ns: int) -> Act:
        if not chunks or delay_ns == 0:
            return act
        pose, t_ns, end_ns = np.asarray(act.readings.ee_pose), now_ns, now_ns + delay_ns
        while t_ns < end_ns:
            change_ns = self.next_ns(chunks, t_ns)
            until_ns = end_ns if change_ns is None else min(change_ns, end_ns)
            target = self.setpoint(chunks, t_ns)[: len(pose)]
            pose, t_ns = pose + (target - pose) * min(1.0, (until_ns - t_ns) / CHUNK_STEP_NS), until_ns
        return replace(act, readings=replace(act.readings, ee_pose=pose))


@dataclass(frozen=True)
class RealTimeChunking(DelayAware):
    """The delay-aware switch to chunks that continue the one in force.

    Real-Time Chunking (Black et al. 2025, arXiv 2506.07339): the head is told what is left of the chunk in force and
    how much of that will be carried out before it answers, and samples a chunk that agrees with it. That takes a head
    that samples, see `agent.vla.model.vla.flow`. The delay is taken to be that of the last run.
    """

    def think_ns(self, chunk: Chunk, period_ns: int) -> int:
        # There is nothing to continue until the last chunk has arrived.
        return max(super().think_ns(chunk, period_ns), chunk.arrived_ns)

    def ask(self, act: Act, chunks: Sequence[Chunk], now_ns: int, delay_ns: int) -> Act:
        if not chunks:
            return act
        frozen = min(delay_ns // CHUNK_STEP_NS, len(chunks[-1].setpoints))
        plan = _left(chunks[-1], now_ns, frozen)
        return replace(act, plan=plan, frozen=frozen) if len(plan) else act


def _left(chunk: Chunk, now_ns: int, least: int) -> np.ndarray:
    """(rows, 5) what the chunk says about now and every 100 ms from now on, `least` rows or more.

    A set-point is a pose to be at 100 ms later, so between two of them their straight connection counts; beyond the
    last one it is held.
    """
    last = len(chunk.setpoints) - 1
    first = (now_ns - chunk.read_ns) / CHUNK_STEP_NS
    rows = np.arange(max(least, math.floor(last - first) + 1))
    return np.array([np.interp(first + rows, np.arange(last + 1), column) for column in chunk.setpoints.T]).T


Execution: TypeAlias = Hold | OpenLoop | Switch | DelayAware | Ensemble | RollForward | RealTimeChunking

_NAMED: dict[str, type[OpenLoop] | type[Switch]] = {
    "chunk": OpenLoop,
    "switch": Switch,
    "delay-aware": DelayAware,
    "ensemble": Ensemble,
    "roll-forward": RollForward,
    "rtc": RealTimeChunking,
}


def parse_execution(text: str) -> Execution:
    """The execution policy that a command line spells; `str` of a policy is such a spelling.

    Args:
        text: `hold`, or `chunk`, `switch`, `delay-aware`, `ensemble`, `roll-forward`, `rtc`, with or without `:N`:
            the number of set-points carried out of a chunk (chunk), or of control ticks from one run of the head to
            the next (the others).

    Raises:
        UsageError: anything else.
    """
    name, colon, number = text.partition(":")
    if text == "hold":
        return Hold()
    if name in _NAMED and not colon:
        return _NAMED[name]()
    if name in _NAMED and re.fullmatch(r"[1-9][0-9]{0,2}", number):
        return _NAMED[name](int(number))
    raise UsageError(
        f"unknown execution {text!r}; use hold, {', '.join(_NAMED)}, or one of these but hold with :N (1 to 999)"
    )


def _spelt(execution: Hold) -> str:
    """As `parse_execution` takes it, the number left out where it is the default."""
    for name, kind in _NAMED.items():
        if type(execution) is kind:
            number = execution.actions if isinstance(execution, OpenLoop) else execution.every
            return name if execution == kind() else f"{name}:{number}"
    return "hold"
