"""Laws of reuse policies: when the next encode starts."""

from collections.abc import Callable

import pytest

from tests.builders.world import Eventful, FakePlant, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.reuse import Deadline, Every, Latest, OnEvent, Reuse, Stagger, parse_reuse
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError

POLICIES: dict[str, Reuse] = {
    "latest": Latest(),
    "15": Every(15),
    "event": OnEvent(),
    "event:15": OnEvent(15),
    "deadline": Deadline(),
    "deadline:20": Deadline(20),
    "stagger": Stagger(),
    "stagger:5": Stagger(5),
}


@pytest.mark.parametrize("text", POLICIES)
def test_names_and_numbers_become_policies(text: str) -> None:
    assert parse_reuse(text) == POLICIES[text]


NUMBERED = [kind(number) for kind in (Every, OnEvent, Deadline, Stagger) for number in (1, 999_999)]


@pytest.mark.parametrize("reuse", [*POLICIES.values(), *NUMBERED], ids=str)
def test_the_text_of_a_policy_is_one_that_the_parser_takes(reuse: Reuse) -> None:
    assert parse_reuse(str(reuse)) == reuse


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "nan", "newest", "stagger:0", "stagger:", "²", "9" * 5000])
def test_anything_else_is_one_line_with_the_valid_values(text: str) -> None:
    with pytest.raises(UsageError, match=r"^.+ latest, .+ 999999, event, .+, deadline, .+, stagger [^\n]+$"):
        parse_reuse(text)


@pytest.mark.parametrize("kind", [Every, OnEvent, Deadline, Stagger])
def test_numbers_below_one_are_refused(kind: Callable[[int], Reuse]) -> None:
    with pytest.raises(UsageError, match="at least 1, not 0"):
        kind(0)


@pytest.mark.parametrize("reuse", [Latest(), Every(1), Every(15), OnEvent(2), Deadline(), Stagger()], ids=str)
@pytest.mark.parametrize("latency", [0, 1, 99, 100, 101, 1450])
@pytest.mark.parametrize("started", [0, 1, 50, 200])
def test_no_encode_starts_before_the_last_one_has_finished_nor_twice_at_one_instant(
    reuse: Reuse, latency: int, started: int
) -> None:
    following = reuse.next_start_ns(started, started + latency, 100)
    assert following is not None
    assert following >= started + latency
    assert following > started


@pytest.mark.parametrize("vl_ms", range(10, 500, 49))
def test_deadline_gives_features_as_fresh_as_latest_with_no_more_encodes(vl_ms: int) -> None:
    def ages(reuse: Reuse) -> tuple[float, int, set[int]]:
        plant, trace = play("async", Constant(vl_ms, 0), reuse, plant=FakePlant(seconds=20))
        known = [tick.feature_age_ns for tick in trace.ticks if tick.feature_age_ns is not None]
        return sum(known) / len(known) / 1e6, len(plant.captured), set(known)

    latest, deadline = ages(Latest()), ages(Deadline())
    assert deadline[0] <= latest[0] + 4  # the margin and one physics step
    assert deadline[1] <= latest[1]
    assert min(deadline[2]) <= ms_to_ns(vl_ms + 4)


def test_an_event_starts_an_encode_at_the_tick_that_notices_it_and_nothing_else_does() -> None:
    plant, _ = play("async", Constant(150, 10), OnEvent(), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 900, 1300]


def test_an_event_during_an_encode_starts_the_next_one_as_soon_as_the_encoder_is_free() -> None:
    plant, _ = play("async", Constant(330, 10), OnEvent(), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 900, 1300]
    plant, _ = play("async", Constant(450, 10), OnEvent(), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 950, 1400]


def test_event_with_a_number_also_encodes_every_so_many_ticks() -> None:
    plant, _ = play("async", Constant(150, 10), OnEvent(6), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 900, 1300, 1900]


def test_event_with_a_number_is_every_where_nothing_happens() -> None:
    assert play("async", Constant(150, 10), OnEvent(4))[1] == play("async", Constant(150, 10), Every(4))[1]
