"""Laws of simulated time."""

import itertools
import math
from typing import Any

import pytest

from vlatency.sim.clock import EventQueue, hz_to_period_ns, ms_to_ns, ns_to_ms, ns_to_s, s_to_ns
from vlatency.sim.errors import UsageError


def test_events_come_in_order_of_time_then_priority_then_push() -> None:
    events = [(5, 1, "e"), (5, 0, "c"), (3, 9, "b"), (5, 0, "d"), (0, 2, "a")]
    queue = EventQueue[str]()
    for event in events:
        queue.push(*event)
    assert "".join(queue.pop()[2] for _ in events) == "abcde"
    assert len(queue) == 0


def test_order_does_not_depend_on_the_order_of_pushes_unless_all_else_is_equal() -> None:
    events = [(t, priority) for t in range(2) for priority in range(3)]
    for shuffled in itertools.permutations(events):
        queue = EventQueue[None]()
        for t, priority in shuffled:
            queue.push(t, priority, None)
        assert [queue.pop()[:2] for _ in events] == events


def test_items_are_never_compared() -> None:
    queue = EventQueue[object]()
    first, second = object(), object()
    queue.push(1, 0, first)
    queue.push(1, 0, second)
    assert queue.pop()[2] is first
    assert queue.pop()[2] is second


def test_a_time_that_is_not_an_integer_is_refused() -> None:
    t_ns: Any = 1.0
    with pytest.raises(TypeError):
        EventQueue[None]().push(t_ns, 0, None)


def test_conversions_are_exact_for_the_times_that_occur() -> None:
    assert ms_to_ns(10.97) == 10_970_000
    assert ms_to_ns(381.303) == 381_303_000
    assert s_to_ns(0.002) == ms_to_ns(2) == 2_000_000
    assert ns_to_ms(ms_to_ns(1452.82)) == 1452.82
    assert ns_to_s(s_to_ns(3.8)) == 3.8
    assert hz_to_period_ns(10) == ms_to_ns(100)


@pytest.mark.parametrize("hz", [0, -1, math.nan, math.inf, 2e9])
def test_an_impossible_rate_is_one_line_with_the_valid_range(hz: float) -> None:
    with pytest.raises(UsageError, match=r"^a rate must be above 0 and at most 1000000000 Hz, not .+$"):
        hz_to_period_ns(hz)


def test_events_due_at_one_time_keep_their_order_when_the_first_of_them_is_postponed() -> None:
    queue = EventQueue[str]()
    for item in ("older", "newer"):
        queue.push(5, 0, item)
    assert queue.pop() == (5, 0, "older")
    queue.postpone(7)
    assert queue.pop() == (5, 0, "newer")
    queue.postpone(7)
    assert [queue.pop()[2] for _ in range(2)] == ["older", "newer"]
