"""Laws of two GPUs, and of one that encoder and head share."""

import random
from itertools import pairwise
from typing import Any, get_args

import pytest

from tests.builders.world import Jitter, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.reuse import Every, Latest, Reuse
from vlatency.agent.realtime.servers import Apart, Servers, ServersName, Shared, make_servers
from vlatency.agent.realtime.trace import EpisodeTrace


def lasting_ms(trace: EpisodeTrace, name: str) -> list[float]:
    return [(span.end_ns - span.start_ns) / 1e6 for span in trace.spans if span.name == name]


@pytest.mark.parametrize("head", [1, 10, 70, 1000])
@pytest.mark.parametrize("left", [0, 1, 15, 60, 3000])
@pytest.mark.parametrize("contention", [1.0, 1.3, 2.0, 5.0])
def test_a_shared_gpu_finishes_both_jobs_in_the_sum_of_their_times(contention: float, left: int, head: int) -> None:
    takes, delay = Shared(contention).start_head(head * 1000, left * 1000)
    assert head * 1000 <= takes <= contention * head * 1000 + 1
    assert delay >= 0
    if left:
        assert max(takes, left * 1000 + delay) == (head + left) * 1000
        assert Shared(contention).start_encode(left * 1000, head * 1000) == (left * 1000 + delay, takes - head * 1000)


def test_two_gpus_never_slow_each_other_down() -> None:
    assert Apart().start_head(11, 400) == (11, 0)
    assert Apart().start_encode(400, 11) == (400, 0)


class Working(Jitter):
    """Jitter that adds up the work that it hands out."""

    work_ns = 0

    def encode_ns(self, views: int, of: int) -> int:
        self.work_ns += (work_ns := super().encode_ns(views, of))
        return work_ns

    def head_ns(self) -> int:
        self.work_ns += (work_ns := super().head_ns())
        return work_ns


def busy_ns(trace: EpisodeTrace) -> int:
    """How long a job or two were running."""
    total = end_ns = 0
    for span in sorted(trace.spans, key=lambda span: span.start_ns):
        total += max(0, span.end_ns - max(span.start_ns, end_ns))
        end_ns = max(end_ns, span.end_ns)
    return total


@pytest.mark.parametrize("seed", range(1000))
def test_a_shared_gpu_is_busy_for_as_long_as_its_work_takes(seed: int) -> None:
    choose = random.Random(seed).choice
    latency = Working(seed, choose([5, 40, 80, 300, 900]), choose([2, 30, 60, 120, 300]))
    servers = Shared(choose([1.0, 1.2, 2.0, 5.0]))
    policies: list[Reuse] = [Latest(), Every(2), Every(4)]
    reuse = choose(policies)
    _, trace = play("async", latency, reuse, choose([10, 20, 50]), servers=servers)
    assert abs(busy_ns(trace) - latency.work_ns) <= len(trace.spans)


@pytest.mark.parametrize("contention", [1.0, 2.0, 5.0])
def test_a_head_that_runs_when_an_encode_starts_is_slowed_down_as_well(contention: float) -> None:
    """The published case: encodes of 40 ms and heads of 60 ms, which overlap either way round."""
    plant, trace = play("async", Constant(40, 60), Latest(), servers=Shared(contention))
    done_ms = sum({"encode": 40, "head": 60}[span.name] for span in trace.spans)
    assert busy_ns(trace) == pytest.approx(done_ms * 1e6, rel=1e-6)
    assert [t_ns for t_ns, _ in plant.commanded] == [command.applied_ns for command in trace.commands]


@pytest.mark.parametrize("seed", range(20))
def test_neither_job_ever_ends_earlier_with_more_contention(seed: int) -> None:
    rng = random.Random(seed)
    head_ns, encode_ns = rng.randrange(1, 10**8), rng.randrange(1, 10**8)
    rising = [Shared(contention) for contention in (1.0, 1.1, 1.5, 2.0, 3.0, 10.0)]
    for start in (lambda servers: servers.start_head(head_ns, encode_ns), lambda s: s.start_encode(encode_ns, head_ns)):
        found = [start(servers) for servers in rising]
        assert found == sorted(found)
        assert all(left[1] <= right[1] for left, right in pairwise(found))


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
