"""When to look again: an encode's features serve many control ticks, and a reuse policy says when the next one starts.

The vision-language server takes one job at a time, so no policy starts an encode before the last one has finished.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from sim.errors import UsageError


@dataclass(frozen=True)
class Latest:
    """Back to back: the next encode starts when the last one finishes."""

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

    def next_start_ns(self, started_ns: int, finished_ns: int, period_ns: int) -> int:
        """Start of the encode after the one of [started_ns, finished_ns]; control ticks are multiples of period_ns."""
        first_free_tick = -(-finished_ns // period_ns)
        return max(started_ns // period_ns + self.ticks, first_free_tick) * period_ns


Reuse: TypeAlias = Latest | Every


def parse_reuse(text: str) -> Reuse:
    """`latest`, or a number of control ticks. UsageError for anything else."""
    if text == "latest":
        return Latest()
    if re.fullmatch(r"[1-9][0-9]{0,5}", text):
        return Every(int(text))
    raise UsageError(f"unknown reuse {text!r}; use latest, or a whole number of control ticks from 1 to 999999")
