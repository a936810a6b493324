"""Laws of reuse."""

from dataclasses import replace

import numpy as np
import pytest

from tests.agent.realtime.fakes import FakePlant, Felt, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.reuse import Deadline, Every, Latest, OnEvent, Reuse, Stagger, parse_reuse
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError


def test_names_and_numbers_become_policies() -> None:
    assert parse_reuse("latest") == Latest()
    assert parse_reuse("15") == Every(15)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "nan", "newest", "stagger:0", "stagger:", "²", "9" * 5000])
def test_anything_else_is_one_line_with_the_valid_values(text: str) -> None:
    with pytest.raises(UsageError, match=r"^unknown reuse .+; use latest, or a whole number of control ticks [^\n]+$"):
        parse_reuse(text)


def test_reuse_below_one_tick_is_refused() -> None:
    with pytest.raises(UsageError):
        Every(0)


@pytest.mark.parametrize("reuse", [Latest(), Every(1), Every(15), OnEvent(2), Deadline(), Stagger()], ids=str)
@pytest.mark.parametrize("latency", [0, 1, 99, 100, 101, 1450])
@pytest.mark.parametrize("started", [0, 1, 50, 200])
def test_no_encode_starts_before_the_last_one_finished_nor_twice_at_one_instant(
    reuse: Reuse, latency: int, started: int
) -> None:
    following = reuse.next_start_ns(started, started + latency, 100)
    assert following is not None
    assert following >= started + latency
    assert following > started


def test_events_deadlines_and_staggering_have_names() -> None:
    assert parse_reuse("stagger") == Stagger(3)
    assert parse_reuse("stagger:5") == Stagger(5)
    assert parse_reuse("event") == OnEvent()
    assert parse_reuse("event:15") == OnEvent(15)
    assert parse_reuse("deadline") == Deadline()
    assert parse_reuse("deadline:20") == Deadline(20)


@pytest.mark.parametrize("vl_ms", range(10, 500, 49))
def test_deadlines_lose_no_tick_and_give_features_as_fresh_as_back_to_back_with_no_more_encodes(vl_ms: int) -> None:
    def ages(reuse: Reuse) -> tuple[float, int, set[int]]:
        plant, trace = play("async", Constant(vl_ms, 0), reuse, plant=FakePlant(seconds=20))
        known = [tick.feature_age_ns for tick in trace.ticks if tick.feature_age_ns is not None]
        return sum(known) / len(known) / 1e6, len(plant.captured), set(known)

    latest, deadline = ages(Latest()), ages(Deadline())
    assert deadline[0] <= latest[0] + 4  # the margin and one physics step
    assert deadline[1] <= latest[1]
    assert min(deadline[2]) <= ms_to_ns(vl_ms + 4)


class Eventful(FakePlant):
    """At 500 ms the fingers stop, at 900 the force jumps, from 1300 the instruction is another one."""

    @property
    def instruction(self) -> str:  # type: ignore[override]
        return "Pick up the blue object" if self.now_ns < ms_to_ns(1290) else "Pick up the red object"

    def sensors(self) -> Felt:
        wrench = np.zeros((50, 6))
        if ms_to_ns(820) <= self.now_ns <= ms_to_ns(900):
            wrench[25:, 2] = 30.0
        moving = ms_to_ns(300) <= self.now_ns < ms_to_ns(490)
        return replace(super().sensors(), gripper_vel=1.5 * moving, wrench=wrench)


def test_an_event_starts_an_encode_at_the_tick_that_notices_it_and_nothing_else_does() -> None:
    plant, _ = play("async", Constant(150, 10), OnEvent(), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 900, 1300]


def test_an_event_during_an_encode_starts_the_next_one_when_the_server_is_free() -> None:
    plant, _ = play("async", Constant(330, 10), OnEvent(), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 900, 1300]
    plant, _ = play("async", Constant(450, 10), OnEvent(), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 950, 1400]


def test_events_and_a_number_of_ticks_go_together() -> None:
    plant, _ = play("async", Constant(150, 10), OnEvent(6), plant=Eventful())
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 500, 900, 1300, 1900]


def test_without_events_a_number_of_ticks_is_every() -> None:
    assert play("async", Constant(150, 10), OnEvent(4))[1] == play("async", Constant(150, 10), Every(4))[1]
