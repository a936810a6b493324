"""What becomes of a chunk: which set-point is in force when, and when the head runs again.

A chunk has one set-point every 100 ms. The first is meant for the instant at which the sensors were read, but the
chunk arrives later than that. The policies differ in what they do about the delay.
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

    def row(self, number: int) -> np.ndarray:
        """(5,) one of the set-points."""
        setpoint: np.ndarray = self.setpoints[number]
        return setpoint


def remember(chunks: Sequence[Chunk], arrived: Chunk) -> list[Chunk]:
    """The chunks that reach beyond the arrival of the newest one, and that one, oldest first."""
    older = [chunk for chunk in chunks if chunk.read_ns + len(chunk.setpoints) * CHUNK_STEP_NS > arrived.arrived_ns]
    return [*older, arrived]


@dataclass(frozen=True)
class Hold:
    """Hold the first set-point until the next chunk arrives; the others are not used."""

    def __str__(self) -> str:
        return _spelling(self)

    def next_head_ns(self, chunk: Chunk, period_ns: int) -> int:
        """When the head may run again after the run that gave `chunk` [ns]; it waits for a tick and until it is free.

        Args:
            chunk: of the last head run; it may not have arrived yet.
            period_ns: control period.
        """
        return chunk.read_ns

    def setpoint(self, chunks: Sequence[Chunk], now_ns: int) -> np.ndarray:
        """(5,) the set-point in force at `now_ns`, given the chunks that have arrived, oldest first."""
        return chunks[-1].row(0)

    def next_ns(self, chunks: Sequence[Chunk], now_ns: int) -> int | None:
        """When the set-point changes next if no other chunk arrives [ns]; None if it never does."""
        return None

    def ask(self, act: Act, chunks: Sequence[Chunk], now_ns: int, delay_ns: int) -> Act:
        """The request to send to the head.

        Args:
            act: the features, and the sensors as they are.
            chunks: those that have arrived, oldest first.
            now_ns: when the head run starts.
            delay_ns: after which the new chunk is expected to arrive.
        """
        return act


class _Rows(Hold):
    """For policies that carry out more than the first set-point. The last one is held."""

    def begins_ns(self, chunk: Chunk) -> int:
        """When the first set-point of the chunk is in force, or would have been [ns]."""
        return chunk.arrived_ns

    def rows(self, chunk: Chunk) -> int:
        """How many set-points are carried out at most."""
        return len(chunk.setpoints)

    def setpoint(self, chunks: Sequence[Chunk], now_ns: int) -> np.ndarray:
        """(5,) the set-point of the newest chunk for this interval of 100 ms."""
        return chunks[-1].row(min(self._place(chunks[-1], now_ns), self.rows(chunks[-1]) - 1))

    def next_ns(self, chunks: Sequence[Chunk], now_ns: int) -> int | None:
        """The end of this interval; None if it is the last."""
        following = self._place(chunks[-1], now_ns) + 1
        return self.begins_ns(chunks[-1]) + following * CHUNK_STEP_NS if following < self.rows(chunks[-1]) else None

    def _place(self, chunk: Chunk, now_ns: int) -> int:
        return (now_ns - self.begins_ns(chunk)) // CHUNK_STEP_NS


@dataclass(frozen=True)
class OpenLoop(_Rows):
    """Carry out `actions` set-points from the moment the chunk arrives, and only then run the head again.

    The receding horizon of Diffusion Policy (Chi et al. 2023, arXiv 2303.04137).
    """

    actions: int = 8

    def __post_init__(self) -> None:
        if self.actions < 1:
            raise UsageError(f"execution must be at least 1 set-point of a chunk, not {self.actions}")

    def rows(self, chunk: Chunk) -> int:
        """`actions`, or all if the chunk has fewer."""
        return min(self.actions, len(chunk.setpoints))

    def next_head_ns(self, chunk: Chunk, period_ns: int) -> int:
        """When its set-points are carried out."""
        return chunk.arrived_ns + self.rows(chunk) * CHUNK_STEP_NS


@dataclass(frozen=True)
class Switch(_Rows):
    """Switch to a new chunk, from its first set-point, as soon as it arrives; until then carry out the old one."""

    every: int = 1
    """The head runs at every `every`-th control tick, or at the first one at which it is free if that is later."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"execution must be at least 1 control tick, not {self.every}")

    def next_head_ns(self, chunk: Chunk, period_ns: int) -> int:
        """`every` control ticks after the last run."""
        # A tick happens at the first physics step at or after its time, hence the division.
        return (chunk.read_ns // period_ns + self.every) * period_ns if self.every > 1 else chunk.read_ns


@dataclass(frozen=True)
class DelayAware(Switch):
    """As `Switch`, but skip the set-points whose time has passed when the chunk arrives.

    With the head at every s-th tick and d ticks until its answer, d set-points of the old chunk and s - d of the new
    one follow each other: the asynchronous baseline of Real-Time Chunking (Black et al. 2025, arXiv 2506.07339).
    """

    def begins_ns(self, chunk: Chunk) -> int:
        """When the sensors were read."""
        return chunk.read_ns


@dataclass(frozen=True)
class Ensemble(DelayAware):
    """Average what all chunks say about now, with weights exp(-m i) for the i-th oldest, m = 0.01.

    Temporal ensembling of ACT (Zhao et al. 2023, arXiv 2304.13705). It averages the gripper as well.
    """

    M: ClassVar[float] = 0.01

    def setpoint(self, chunks: Sequence[Chunk], now_ns: int) -> np.ndarray:
        """(5,) the weighted mean; beyond the end of all chunks, the last set-point of the newest."""
        about_now = [chunk.row(row) for chunk in chunks if (row := self._place(chunk, now_ns)) < len(chunk.setpoints)]
        if not about_now:
            return chunks[-1].row(-1)
        weights = np.exp(-self.M * np.arange(len(about_now)))
        mean: np.ndarray = weights @ np.stack(about_now) / weights.sum()
        return mean

    def next_ns(self, chunks: Sequence[Chunk], now_ns: int) -> int | None:
        """When the first chunk goes on to its next set-point or ends; None if only the end of the newest is left."""
        following = [(chunk, self._place(chunk, now_ns) + 1) for chunk in chunks]
        changes_ns = [
            self.begins_ns(chunk) + row * CHUNK_STEP_NS
            for chunk, row in following
            if row < len(chunk.setpoints) + (chunk is not chunks[-1])
        ]
        return min(changes_ns, default=None)


@dataclass(frozen=True)
class RollForward(Switch):
    """Tell the head where the end effector will be when its chunk arrives, and carry the chunk out from its beginning.

    The future state of VLASH (Tang et al. 2025, arXiv 2512.01031), for absolute set-points: the end effector is
    assumed to move in a straight line towards each set-point in force, and to reach it within 100 ms. Joints, fingers
    and forces stay as they were read.
    """

    def ask(self, act: Act, chunks: Sequence[Chunk], now_ns: int, delay_ns: int) -> Act:
        """`act` with the pose expected at the arrival of the chunk."""
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
    """As `DelayAware`, with chunks that continue the one in force.

    Real-Time Chunking (Black et al. 2025, arXiv 2506.07339): the head is given what is left of the chunk in force and
    how much of that will be carried out before it answers, and samples a chunk that agrees with it. That takes a head
    that samples, see `agent.vla.model.vla.flow`. The head run is expected to take as long as the last one.
    """

    def next_head_ns(self, chunk: Chunk, period_ns: int) -> int:
        """As in `Switch`, but not before the last chunk has arrived: until then there is nothing to continue."""
        return max(super().next_head_ns(chunk, period_ns), chunk.arrived_ns)

    def ask(self, act: Act, chunks: Sequence[Chunk], now_ns: int, delay_ns: int) -> Act:
        """`act` with the plan to continue, if there is one."""
        if not chunks:
            return act
        frozen = min(delay_ns // CHUNK_STEP_NS, len(chunks[-1].setpoints))
        plan = _left(chunks[-1], now_ns, frozen)
        return replace(act, plan=plan, frozen=frozen) if len(plan) else act


def _left(chunk: Chunk, now_ns: int, least: int) -> np.ndarray:
    """(rows, 5) what the chunk says about now and every 100 ms from now on, `least` rows or more.

    A set-point is a pose to reach 100 ms later, so values between two set-points are interpolated linearly. Beyond
    the last one it is held.
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
            the number of set-points carried out of a chunk (chunk), or of control ticks from one head run to the
            next (the others).

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


def _spelling(execution: Hold) -> str:
    """As `parse_execution` takes it, without the number where that is the default."""
    for name, kind in _NAMED.items():
        if type(execution) is kind:
            number = execution.actions if isinstance(execution, OpenLoop) else execution.every
            return name if execution == kind() else f"{name}:{number}"
    return "hold"
