"""When to look again, and at which views. The features of one encode serve all control ticks until the next encode.

The encoder takes one job at a time, so no policy starts an encode before the last one has finished.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError
from vlatency.sim.names import WRIST

if TYPE_CHECKING:
    from vlatency.sim.readings import Readings

FORCE_JUMP_N = 10.0
FINGERS_MOVE_PER_S = 0.1


@dataclass(frozen=True)
class Latest:
    """Back to back: the next encode starts when the last one finishes."""

    def __str__(self) -> str:
        return "latest"

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """When the next encode starts [ns].

        Args:
            started_ns: start of the last encode.
            finished_ns: end of the last encode.
            period_ns: control period; control ticks are its multiples.
        """
        if finished_ns > started_ns:
            return finished_ns
        return (started_ns // period_ns + 1) * period_ns  # it took no time: nothing new happens until the next tick


@dataclass(frozen=True)
class Every:
    """Every `ticks` control ticks, or at the first tick at which the encoder is free if that is later."""

    ticks: int

    def __post_init__(self) -> None:
        _check_positive("reuse", self.ticks)

    def __str__(self) -> str:
        return str(self.ticks)

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """As in `Latest`."""
        first_free_tick = -(-finished_ns // period_ns)
        return max(started_ns // period_ns + self.ticks, first_free_tick) * period_ns


@dataclass(frozen=True)
class OnEvent:
    """At the control tick that notices an event and, if `ticks` is given, every `ticks` control ticks as well.

    An event: the fingers stopped (at an object, or fully open or closed), the force at the wrist jumped, or the
    instruction changed. If the encoder is busy then, the next encode starts as soon as it is free. Looking when
    something happens rather than at a fixed rate is event-triggered control (Tabuada 2007, IEEE Transactions on
    Automatic Control 52:1680).
    """

    ticks: int | None = None

    def __post_init__(self) -> None:
        if self.ticks is not None:
            _check_positive("reuse event", self.ticks)

    def __str__(self) -> str:
        return "event" if self.ticks is None else f"event:{self.ticks}"

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int | None:
        """As in `Every`; None without `ticks`."""
        return None if self.ticks is None else Every(self.ticks).next_start_ns(started_ns, finished_ns, period_ns)

    def noticed(self, before: Readings, now: Readings) -> bool:
        """Whether the sensor readings at the last control tick and at this one show an event.

        The fingers stopped since the last tick; or the mean force of the last 20 ms is 10 N or more from that of 20 ms
        that ended 20 ms before the last tick. The gap is what the last tick averaged: a jump that it saw only in part
        is seen in full at this one.
        """
        force_n = np.linalg.norm(now.wrench[-10:, :3].mean(0) - before.wrench[-20:-10, :3].mean(0))
        stopped = abs(before.gripper_vel) >= FINGERS_MOVE_PER_S > abs(now.gripper_vel)
        return bool(stopped or force_n >= FORCE_JUMP_N)


@dataclass(frozen=True)
class Deadline:
    """Just in time for the control tick at which the features of a back-to-back encode would first be used.

    Features that are finished between two ticks only grow older until the next tick. "Towards Streaming Perception"
    (Li et al. 2020, arXiv 2005.10420) waits for the same reason if that shrinks the tail. The next encode is expected
    to take as long as the last one.
    """

    margin_ms: int = 2
    """Start this much earlier [ms] if there is time, since durations vary and an exposure waits for a physics step."""

    def __post_init__(self) -> None:
        _check_positive("reuse deadline", self.margin_ms)

    def __str__(self) -> str:
        return f"deadline:{self.margin_ms}"

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """As in `Latest`."""
        if finished_ns == started_ns:
            return Latest().next_start_ns(started_ns, finished_ns, period_ns)
        lasts_ns = finished_ns - started_ns
        tick_ns = -(-(finished_ns + lasts_ns) // period_ns) * period_ns
        # The margin must not put off what back to back would serve at this tick: then there is no time to wait.
        return max(finished_ns, tick_ns - lasts_ns - ms_to_ns(self.margin_ms))


@dataclass(frozen=True)
class Stagger:
    """Back to back, with the wrist view in every encode and each static view only in every `turns`-th.

    A static view ages more slowly than the view of a camera that moves with the end effector. The features keep the
    older views.
    """

    turns: int = 3

    def __post_init__(self) -> None:
        _check_positive("reuse stagger", self.turns)

    def __str__(self) -> str:
        return f"stagger:{self.turns}"

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """As in `Latest`."""
        return Latest().next_start_ns(started_ns, finished_ns, period_ns)

    def views(self, cameras: Sequence[str], number: int) -> tuple[str, ...]:
        """Those of the `cameras` that encode `number` needs. Encode 0 needs all."""
        static = [camera for camera in cameras if camera != WRIST]
        # Without a wrist camera, fewer cameras than turns would leave some encodes without any view.
        turns = self.turns if len(static) < len(cameras) else min(self.turns, len(static))
        due = {camera for place, camera in enumerate(static) if number == 0 or number % turns == place % turns}
        return tuple(camera for camera in cameras if camera == WRIST or camera in due)


Reuse: TypeAlias = Latest | Every | OnEvent | Deadline | Stagger
_NAMED: dict[str, type[OnEvent | Deadline | Stagger]] = {"event": OnEvent, "deadline": Deadline, "stagger": Stagger}


def parse_reuse(text: str) -> Reuse:
    """The reuse policy that a command line spells; `str` of a policy is such a spelling.

    Args:
        text: `latest`, a number of control ticks, or `event`, `deadline` or `stagger`, with or without `:NUMBER`.

    Raises:
        UsageError: anything else.
    """
    name, colon, number = text.partition(":")
    if text == "latest":
        return Latest()
    if re.fullmatch(r"[1-9][0-9]{0,5}", text):
        return Every(int(text))
    if name in _NAMED and not colon:
        return _NAMED[name]()
    if name in _NAMED and re.fullmatch(r"[1-9][0-9]{0,5}", number):
        return _NAMED[name](int(number))
    raise UsageError(
        f"unknown reuse {text!r}; use latest, or a whole number of control ticks from 1 to 999999, "
        "event, event:TICKS, deadline, deadline:MARGIN_MS, stagger or stagger:ENCODES"
    )


def _check_positive(option: str, number: int) -> None:
    if number < 1:
        raise UsageError(f"{option} must be at least 1, not {number}")
