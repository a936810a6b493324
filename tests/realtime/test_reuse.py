"""Laws of reuse."""

import pytest

from agent.realtime.reuse import Every, Latest, Reuse, parse_reuse
from sim.errors import UsageError


def test_names_and_numbers_become_policies() -> None:
    assert parse_reuse("latest") == Latest()
    assert parse_reuse("15") == Every(15)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "nan", "newest", "²", "9" * 5000])
def test_anything_else_is_one_line_with_the_valid_values(text: str) -> None:
    with pytest.raises(UsageError, match=r"^unknown reuse .+; use latest, or a whole number of control ticks [^\n]+$"):
        parse_reuse(text)


def test_reuse_below_one_tick_is_refused() -> None:
    with pytest.raises(UsageError):
        Every(0)


@pytest.mark.parametrize("reuse", [Latest(), Every(1), Every(15)], ids=str)
@pytest.mark.parametrize("latency", [0, 1, 99, 100, 101, 1450])
@pytest.mark.parametrize("started", [0, 1, 50, 200])
def test_no_encode_starts_before_the_last_one_finished_nor_twice_at_one_instant(
    reuse: Reuse, latency: int, started: int
) -> None:
    following = reuse.next_start_ns(started, started + latency, 100)
    assert following >= started + latency
    assert following > started
