"""What becomes of a chunk: which of its rows is in force when, and when the head runs again.

The first row of a chunk is meant for the instant at which the sensors were read, but the chunk arrives later than that.
The policies differ in what they do about the delay. Those that skip rows or join chunks measure relative rows from
where the robot was commanded to be when the sensors were read (`sim.actions.Commanded`), and catch up with what they
skip.

For a policy of one stage, which answers a look with a chunk, the "head" runs when the inference ends and takes no time,
and the sensors were read at the exposure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

import numpy as np

from vlatency.sim.actions import ActionSpec, Vector
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    from vlatency.agent.realtime.requests import Act, Infer

    Asked = TypeVar("Asked", Act, Infer)


@dataclass(frozen=True, eq=False)
class Chunk:
    """One answer of the head."""

    rows: Vector
    """(rows, size) actions, one after the other."""
    read_ns: int
    """When the sensors behind it were read."""
    arrived_ns: int
    """When its first row could take effect."""
    spec: ActionSpec
    """What the rows mean, and how far apart they are."""
    anchor: Vector
    """(size,) where the commands led to when the sensors were read; relative rows are measured from there."""

    def row(self, number: int) -> Vector:
        """(size,) one of the rows."""
        row: Vector = self.rows[number]
        return row

    @cached_property
    def places(self) -> Vector:
        """(rows, size) where the rows lead; absolute numbers as they are."""
        return self.spec.moves(self.anchor, self.rows) if self.spec.relative.any() else self.rows

    def toward(self, number: int, position: Vector) -> Vector:
        """(size,) the row that leads from `position` (size,) to where row `number` leads: that row, if all is well."""
        before = self.places[number - 1] if number else self.anchor
        relative = self.spec.relative
        if np.array_equal(before[relative], position[relative]):
            return self.row(number)
        return self.spec.toward(position, self.places[number])


def remember(chunks: Sequence[Chunk], arrived: Chunk) -> list[Chunk]:
    """The chunks that reach beyond the arrival of the newest one, and that one, oldest first."""
    older = [chunk for chunk in chunks if chunk.read_ns + len(chunk.rows) * chunk.spec.row_ns > arrived.arrived_ns]
    return [*older, arrived]


@dataclass(frozen=True)
class Hold:
    """Carry out the first row and hold it until the next chunk arrives; the others are not used."""

    def __str__(self) -> str:
        return _spelling(self)

    def next_head_ns(self, chunk: Chunk, period_ns: int) -> int:
        """When the head may run again after the run that gave `chunk` [ns]; it waits for a tick and until it is free.

        Args:
            chunk: of the last head run; it may not have arrived yet.
            period_ns: control period.
        """
        return chunk.read_ns

    def begins_ns(self, chunk: Chunk) -> int:
        """When the first row of the chunk is in force, or would have been [ns]."""
        return chunk.arrived_ns

    def count(self, chunk: Chunk) -> int:
        """How many rows are carried out at most."""
        return 1

    def action(self, chunks: Sequence[Chunk], now_ns: int, position: Vector) -> Vector:
        """(size,) the action in force at `now_ns`.

        Args:
            chunks: those that have arrived, oldest first.
            now_ns: when.
            position: (size,) where the commands have led so far, as of `Commanded.position`.
        """
        chunk = chunks[-1]
        place, last = self._place(chunk, now_ns), self.count(chunk) - 1
        if place > last and chunk.spec.expires:
            return chunk.spec.held(chunk.row(last))
        return self._row(chunk, min(place, last), position)

    def next_ns(self, chunks: Sequence[Chunk], now_ns: int) -> int | None:
        """When the action changes next if no other chunk arrives [ns]; None if it never does."""
        chunk = chunks[-1]
        following = self._place(chunk, now_ns) + 1
        changes = self.count(chunk) - 1 + chunk.spec.expires
        return self.begins_ns(chunk) + following * chunk.spec.row_ns if following <= changes else None

    def _place(self, chunk: Chunk, now_ns: int) -> int:
        return (now_ns - self.begins_ns(chunk)) // chunk.spec.row_ns

    def _row(self, chunk: Chunk, number: int, position: Vector) -> Vector:
        return chunk.row(number)

    def ask(self, request: Asked, chunks: Sequence[Chunk], now_ns: int, delay_ns: int, position: Vector) -> Asked:
        """The request to send to the policy.

        Args:
            request: what it is asked, with the sensors as they were read.
            chunks: those that have arrived, oldest first.
            now_ns: when the sensors were read.
            delay_ns: after which the new chunk is expected to arrive.
            position: (size,) where the commands had led to at `now_ns`.
        """
        return request


class _Rows(Hold):
    """For policies that carry out more than the first row."""

    def count(self, chunk: Chunk) -> int:
        """All."""
        return len(chunk.rows)


@dataclass(frozen=True)
class OpenLoop(_Rows):
    """Carry out `actions` rows from the moment the chunk arrives, and only then run the head again.

    The receding horizon of Diffusion Policy (Chi et al. 2023, arXiv 2303.04137).
    """

    actions: int = 8

    def __post_init__(self) -> None:
        if self.actions < 1:
            raise UsageError(f"execution must be at least 1 row of a chunk, not {self.actions}")

    def count(self, chunk: Chunk) -> int:
        """`actions`, or all if the chunk has fewer."""
        return min(self.actions, len(chunk.rows))

    def next_head_ns(self, chunk: Chunk, period_ns: int) -> int:
        """When its rows are carried out."""
        return chunk.arrived_ns + self.count(chunk) * chunk.spec.row_ns


@dataclass(frozen=True)
class Switch(_Rows):
    """Switch to a new chunk, from its first row, as soon as it arrives; until then carry out the old one."""

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
    """As `Switch`, but skip the rows whose time has passed when the chunk arrives.

    With the head at every s-th tick and d ticks until its answer, d rows of the old chunk and s - d of the new one
    follow each other: the asynchronous baseline of Real-Time Chunking (Black et al. 2025, arXiv 2506.07339).
    """

    def begins_ns(self, chunk: Chunk) -> int:
        """When the sensors were read."""
        return chunk.read_ns

    def _row(self, chunk: Chunk, number: int, position: Vector) -> Vector:
        return chunk.toward(number, position)


@dataclass(frozen=True)
class Ensemble(DelayAware):
    """Average what all chunks say about now, with weights exp(-m i) for the i-th oldest, m = 0.01.

    Temporal ensembling of ACT (Zhao et al. 2023, arXiv 2304.13705). It averages the gripper as well.
    """

    M: ClassVar[float] = 0.01

    def action(self, chunks: Sequence[Chunk], now_ns: int, position: Vector) -> Vector:
        """(size,) towards the weighted mean; beyond the end of all chunks, what is held after the newest one's end."""
        about_now = [(chunk, row) for chunk in chunks if (row := self._place(chunk, now_ns)) < len(chunk.rows)]
        if len(about_now) < 2:
            return super().action([chunk for chunk, _ in about_now] or chunks, now_ns, position)
        weights = np.exp(-self.M * np.arange(len(about_now)))
        spec = chunks[-1].spec
        return spec.toward(position, spec.blend(np.stack([chunk.places[row] for chunk, row in about_now]), weights))

    def next_ns(self, chunks: Sequence[Chunk], now_ns: int) -> int | None:
        """When the first chunk goes on to its next row or ends; None if only the end of the newest is left."""
        following = [(chunk, self._place(chunk, now_ns) + 1) for chunk in chunks]
        changes_ns = [
            self.begins_ns(chunk) + row * chunk.spec.row_ns
            for chunk, row in following
            if row < len(chunk.rows) + (chunk is not chunks[-1] or chunk.spec.expires)
        ]
        return min(changes_ns, default=None)


@dataclass(frozen=True)
class RollForward(Switch):
    """Tell the head where the end effector will be when its chunk arrives, and carry the chunk out from its beginning.

    The future state of VLASH (Tang et al. 2025, arXiv 2512.01031), for absolute set-points of our own arm: the end
    effector is assumed to move in a straight line towards each set-point in force, and to reach it by the end of its
    row. Joints, fingers and forces stay as they were read.
    """

    def ask(self, request: Asked, chunks: Sequence[Chunk], now_ns: int, delay_ns: int, position: Vector) -> Asked:
        """`request` with the pose expected at the arrival of the chunk."""
        if not chunks or delay_ns == 0:
            return request
        pose, t_ns, end_ns = np.asarray(request.readings.ee_pose), now_ns, now_ns + delay_ns
        while t_ns < end_ns:
            change_ns = self.next_ns(chunks, t_ns)
            until_ns = end_ns if change_ns is None else min(change_ns, end_ns)
            target = self.action(chunks, t_ns, position)[: len(pose)]
            share = min(1.0, (until_ns - t_ns) / chunks[-1].spec.row_ns)
            pose, t_ns = pose + (target - pose) * share, until_ns
        return replace(request, readings=replace(request.readings, ee_pose=pose))


@dataclass(frozen=True)
class RealTimeChunking(DelayAware):
    """As `DelayAware`, with chunks that continue the one in force.

    Real-Time Chunking (Black et al. 2025, arXiv 2506.07339): the policy is given what is left of the chunk in force and
    how much of that will be carried out before it answers, and samples a chunk that agrees with it. That takes a policy
    that samples, see `agent.vla.model.vla.flow`. A run is expected to take as long as the last one.
    """

    def next_head_ns(self, chunk: Chunk, period_ns: int) -> int:
        """As in `Switch`, but not before the last chunk has arrived: until then there is nothing to continue."""
        return max(super().next_head_ns(chunk, period_ns), chunk.arrived_ns)

    def ask(self, request: Asked, chunks: Sequence[Chunk], now_ns: int, delay_ns: int, position: Vector) -> Asked:
        """`request` with the plan to continue, if there is one; relative rows are measured from `position`."""
        if not chunks:
            return request
        chunk = chunks[-1]
        frozen = min(delay_ns // chunk.spec.row_ns, len(chunk.rows))
        plan: Vector = _left(chunk, now_ns, frozen)
        if not len(plan):
            return request
        if chunk.spec.relative.any():
            plan = np.array([chunk.spec.toward(here, there) for here, there in pairwise([position, *plan])])
        return replace(request, plan=plan, frozen=frozen)


def _left(chunk: Chunk, now_ns: int, least: int) -> Vector:
    """(rows, size) where the chunk leads from now on, row by row, `least` rows or more.

    A row says where to be when it is over, so places between two rows are interpolated linearly, and rotations as
    such. Beyond the last row it is held.
    """
    places, last = chunk.places, len(chunk.rows) - 1
    first = (now_ns - chunk.read_ns) / chunk.spec.row_ns
    rows = np.arange(max(least, math.floor(last - first) + 1))
    left = np.array([np.interp(first + rows, np.arange(last + 1), column) for column in places.T]).T
    for group in chunk.spec.rotations:
        for number, at in enumerate(np.clip(first + rows, 0, last)):
            around = places[[math.floor(at), math.ceil(at)]]
            left[number, list(group)] = chunk.spec.blend(around, np.array([1 - at % 1, at % 1]))[list(group)]
    return left


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
            the number of rows carried out of a chunk (chunk), or of control ticks from one head run to the
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
