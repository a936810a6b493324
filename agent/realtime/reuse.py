"""When to look again, and at which views: an encode's features serve many control ticks, until the next one's.

The vision-language server takes one job at a time, so no policy starts an encode before the last one has finished.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

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
        """Start of the encode after the one of [started_ns, finished_ns]; control ticks are multiples of period_ns."""
        if finished_ns > started_ns:
            return finished_ns
        return (started_ns // period_ns + 1) * period_ns  # it took no time: until the next tick there is nothing new


@dataclass(frozen=True)
class Every:
    """At control ticks only, `ticks` apart, or at the first tick with the server free if that is later."""

    ticks: int

    def __post_init__(self) -> None:
        if self.ticks < 1:
            raise UsageError(f"reuse must be at least 1 control tick, not {self.ticks}")

    def __str__(self) -> str:
        return str(self.ticks)

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """Start of the encode after the one of [started_ns, finished_ns]; control ticks are multiples of period_ns."""
        first_free_tick = -(-finished_ns // period_ns)
        return max(started_ns // period_ns + self.ticks, first_free_tick) * period_ns


@dataclass(frozen=True)
class OnEvent:
    """When something happened since the last control tick, and if `ticks` is given at every so many-th tick anyway.

    An event: the fingers stopped (at an object, or at their end), the force at the wrist jumped, or the instruction is
    another one. If the server is busy then, it looks again as soon as it is free.
    """

    ticks: int | None = None

    def __str__(self) -> str:
        return "event" if self.ticks is None else f"event:{self.ticks}"

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int | None:
        """As in `Every`; None without `ticks`."""
        return None if self.ticks is None else Every(self.ticks).next_start_ns(started_ns, finished_ns, period_ns)

    def noticed(self, before: Readings, now: Readings) -> bool:
        """Whether the sensors at this tick, and at the one before, tell of an event."""
        force_n = np.linalg.norm(now.wrench[-10:, :3].mean(0) - now.wrench[:10, :3].mean(0))
        stopped = abs(before.gripper_vel) >= FINGERS_MOVE_PER_S > abs(now.gripper_vel)
        return bool(stopped or force_n >= FORCE_JUMP_N)


@dataclass(frozen=True)
class Deadline:
    """So late that the features are just there at the control tick at which a back-to-back encode would serve first.

    Finishing between two ticks only makes features older before anyone can use them; "Towards Streaming Perception"
    (Li et al. 2020, arXiv 2005.10420) waits for the same reason when the tail would shrink. The next encode is
    expected to take as long as the last one.
    """

    margin_ms: int = 2
    """Start so much earlier [ms]: durations vary, and an exposure waits for the next physics step."""

    def __str__(self) -> str:
        return f"deadline:{self.margin_ms}"

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """Start of the encode after the one of [started_ns, finished_ns]; control ticks are multiples of period_ns."""
        if finished_ns == started_ns:
            return Latest().next_start_ns(started_ns, finished_ns, period_ns)
        lasts_ns = finished_ns - started_ns + self.margin_ms * 1_000_000
        tick_ns = -(-(finished_ns + lasts_ns) // period_ns) * period_ns
        return tick_ns - lasts_ns


@dataclass(frozen=True)
class Stagger:
    """Back to back, but not of all views: the wrist camera's each time, that of a static camera every `turns`-th time.

    A static view ages more slowly than that of a camera that moves with the hand. The features keep the older views.
    """

    turns: int = 3

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise UsageError(f"reuse stagger must be at least 1 encode, not {self.turns}")

    def __str__(self) -> str:
        return f"stagger:{self.turns}"

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """As in `Latest`."""
        return Latest().next_start_ns(started_ns, finished_ns, period_ns)

    def views(self, cameras: Sequence[str], number: int) -> tuple[str, ...]:
        """Those of the `cameras` that encode `number` looks at, counted from one of them all, which is number 0."""
        static = [camera for camera in cameras if camera != WRIST]
        # Without a wrist camera fewer cameras than turns would leave an encode with nothing to look at.
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
