"""A result is the same in memory and in JSON, and one function says what a control tick waits for."""

import json
from dataclasses import replace

import pytest

from tests.builders.studies import RUN, RUN_ROWS, run_config
from tests.builders.sweeps import SETTING
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.cost.schema import CONTENTION
from vlatency.agent.realtime.execution import OpenLoop
from vlatency.agent.realtime.servers import Apart, Servers, make_servers
from vlatency.agent.realtime.timing import Mode
from vlatency.experiments.reporting.pace import loop_ms, rate_hz
from vlatency.experiments.reporting.result import Result, summarize
from vlatency.experiments.reporting.summary import Summary


def test_a_result_comes_back_from_json_as_it_went(summaries: dict[str, Summary]) -> None:
    results = [result for summary in summaries.values() for result in summary.results]
    assert any(result.split for result in results) and any(result.letters for result in results)
    for result in results:
        assert Result.from_json(json.loads(json.dumps(result.as_json()))) == result


def test_a_result_counts_its_episodes_and_names_its_origin() -> None:
    result = summarize(RUN[2], [row for row in RUN_ROWS if row["mode"] == "async"], run_config(RUN))
    assert (result.k, result.n, result.missed, result.ticks) == (17, 20, 20, 800)
    assert result.success and result.success.low < 0.85 < result.success.high
    assert result.origin and result.origin.policy.stand_in and result.origin.latency.startswith("fixed")
    assert summarize(RUN[2], [], None).success is None


@pytest.mark.parametrize(
    ("mode", "servers", "ms"),
    [
        ("pause", Apart(), None),
        ("sync", Apart(), 60.0),
        ("async", Apart(), 10.0),
        ("async", make_servers("shared", CONTENTION), 10.0 * CONTENTION),
        ("async", make_servers("shared-priority", CONTENTION), 10.0),
        ("sync", make_servers("shared", CONTENTION), 60.0),
    ],
)
def test_a_tick_waits_for_the_encode_only_in_sync_and_for_a_slower_head_on_a_shared_gpu(
    mode: Mode, servers: Servers, ms: float | None
) -> None:
    timing = replace(SETTING.timing, mode=mode, servers=servers)
    assert loop_ms(timing, 50.0, 10.0) == ms
    result = summarize(replace(SETTING, timing=timing), [], None)
    assert (result.loop_ms, result.rate_hz) == (ms, rate_hz(ms)) and result.keeps_up is (None if ms is None else True)


def test_a_configuration_is_equal_at_any_latency_and_seed_and_at_no_other_option() -> None:
    one = summarize(SETTING, [], None).configuration
    latency = parse_latency("insertion_vla", SETTING.optimization)
    for timing in (replace(SETTING.timing, latency=latency), replace(SETTING.timing, latency=FixedLatency(1, 2))):
        assert summarize(replace(SETTING, seed=3, timing=timing), [], None).configuration == one
    other = replace(SETTING, timing=replace(SETTING.timing, execution=OpenLoop(4)))
    assert summarize(other, [], None).configuration != one
