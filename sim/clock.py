"""Simulated time: integer nanoseconds since the start of the episode, and the queue of events.

Integers add without rounding. So the order of events is the same on every machine, and a run repeats bit for bit.
"""

from __future__ import annotations

import heapq
import math
from operator import index
from typing import Generic, TypeVar

from vlatency.sim.errors import UsageError

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PHYSICS_STEP_NS = 2_000_000
"""One step of the physics: 2 ms, 500 Hz."""
CHUNK_STEP_NS = 100_000_000
"""Time from one set-point of a chunk to the next, and between the moments of a demonstration: 100 ms, 10 Hz."""

T = TypeVar("T")


def ms_to_ns(ms: float) -> int:
    """Milliseconds to the nearest nanosecond. ValueError for NaN, OverflowError for infinity."""
    return round(ms * NS_PER_MS)


def s_to_ns(s: float) -> int:
    """Seconds to the nearest nanosecond. ValueError for NaN, OverflowError for infinity."""
    return round(s * NS_PER_S)


def ns_to_ms(ns: int) -> float:
    """Nanoseconds to milliseconds."""
    return ns / NS_PER_MS


def ns_to_s(ns: int) -> float:
    """Nanoseconds to seconds."""
    return ns / NS_PER_S


def hz_to_period_ns(hz: float) -> int:
    """Period of a rate, to the nearest nanosecond.

    Raises:
        UsageError: Unless 0 < hz <= 1e9.
    """
    if not (math.isfinite(hz) and 0 < hz <= NS_PER_S):
        raise UsageError(f"a rate must be above 0 and at most {NS_PER_S} Hz, not {hz}")
    return round(NS_PER_S / hz)


class EventQueue(Generic[T]):
    """Events in the order of their time [ns], then of their priority (smaller first), then of their insertion.

    An event that is postponed keeps its place among others of the same time and priority: that of when it was due.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, int, T]] = []
        self._pushed = 0

    def push(self, t_ns: int, priority: int, item: T) -> None:
        """Schedule `item`. TypeError unless the time is an integer: a single float would end reproducibility."""
        # The sequence number is unique, so the heap never compares two items.
        heapq.heappush(self._heap, (index(t_ns), priority, index(t_ns), self._pushed, item))
        self._pushed += 1

    def pop(self) -> tuple[int, int, T]:
        """Remove and return the first event as (t_ns, priority, item). IndexError if there is none."""
        self._popped = heapq.heappop(self._heap)
        t_ns, priority, _, _, item = self._popped
        return t_ns, priority, item

    def postpone(self, t_ns: int) -> None:
        """Put the event that was popped last back, for `t_ns`."""
        heapq.heappush(self._heap, (index(t_ns), *self._popped[1:]))

    def __len__(self) -> int:
        return len(self._heap)
