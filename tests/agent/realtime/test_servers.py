"""Laws of two GPUs, and of one that encoder and head share."""

from itertools import pairwise
from typing import Any, get_args

import pytest

from tests.builders.world import Jitter, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.reuse import Every, Latest
from vlatency.agent.realtime.servers import Apart, Servers, ServersName, Shared, make_servers
from vlatency.agent.realtime.trace import EpisodeTrace


def lasting_ms(trace: EpisodeTrace, name: str) -> list[float]:
    return [(span.end_ns - span.start_ns) / 1e6 for span in trace.spans if span.name == name]


@pytest.mark.parametrize("head", [1, 10, 70, 1000])
@pytest.mark.parametrize("left", [0, 1, 15, 60, 3000])
@pytest.mark.parametrize("contention", [1.0, 1.3, 2.0, 5.0])
def test_a_shared_gpu_finishes_both_jobs_in_the_sum_of_their_times(contention: float, left: int, head: int) -> None:
    takes, delay = Shared(contention).share(head * 1000, left * 1000)
    assert head * 1000 <= takes <= contention * head * 1000 + 1
    assert delay >= 0
    if left:
        assert max(takes, left * 1000 + delay) == pytest.approx((head + left) * 1000, abs=2)


def test_two_gpus_never_slow_each_other_down() -> None:
    assert Apart().share(11, 400) == (11, 0)
    assert Apart().encode_delay_ns(11) == 0


def test_beside_an_encode_a_head_run_takes_contention_times_as_long_and_delays_the_encode() -> None:
    _, trace = play("async", Constant(250, 10), Every(4), servers=Shared(2.0))
    assert lasting_ms(trace, "head")[:5] == [10, 20, 20, 20, 10]  # the encode of 400 ms lasts until 680
    assert lasting_ms(trace, "encode")[:2] == [250, 280]


def test_with_priority_a_head_run_keeps_its_time_and_delays_the_encode() -> None:
    _, trace = play("async", Constant(250, 10), Every(4), servers=Shared(1.0))
    assert set(lasting_ms(trace, "head")) == {10}
    assert lasting_ms(trace, "encode")[:2] == [250, 280]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("servers", [Shared(1.0), Shared(2.0), Shared(1.2)], ids=str)
def test_a_delayed_encode_is_not_used_before_it_has_finished_and_its_server_takes_no_second_job(
    servers: Servers, seed: int
) -> None:
    _, trace = play("async", Jitter(seed), Latest(), servers=servers)
    for name in ("encode", "head"):
        jobs = [span for span in trace.spans if span.name == name]
        assert all(job.end_ns <= following.start_ns for job, following in pairwise(jobs))
    ends = {span.capture_ns: span.end_ns for span in trace.spans if span.name == "encode"}
    for command in trace.commands:
        assert command.read_ns >= ends[command.capture_ns]
        assert ends[command.capture_ns] == command.capture_ns + command.vl_ns


@pytest.mark.parametrize("servers", [Shared(1.0), Shared(2.0)], ids=str)
def test_sharing_changes_nothing_in_sync_mode_where_encoder_and_head_take_turns(servers: Any) -> None:
    assert play("sync", Jitter(1), servers=servers)[1] == play("sync", Jitter(1))[1]


def test_names_become_servers() -> None:
    named = {name: make_servers(name, 1.7) for name in get_args(ServersName)}
    assert named == {"two": Apart(), "shared": Shared(1.7), "shared-priority": Shared(1.0)}
    assert [str(servers) for servers in named.values()] == list(named)


@pytest.mark.parametrize("contention", [1.0, 1.7])
@pytest.mark.parametrize("name", get_args(ServersName))
def test_the_text_of_servers_is_a_name_that_makes_them(name: ServersName, contention: float) -> None:
    servers = make_servers(name, contention)
    again: Any = str(servers)
    assert make_servers(again, contention) == servers
