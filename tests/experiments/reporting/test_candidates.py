"""Candidates keep the pace of the device, and one is beaten only where its whole interval lies below."""

from dataclasses import replace

import pytest

from tests.builders.studies import cell
from vlatency.agent.realtime.cost.schema import CONTENTION
from vlatency.agent.realtime.servers import ServersName
from vlatency.experiments.reporting.candidates import (
    Device,
    dominated,
    find_device,
    make_candidates,
    rank,
    without_figure,
)
from vlatency.sim.errors import UsageError

DEVICE = Device("fixed:100,11")


def test_a_candidate_is_beaten_only_by_one_that_is_significantly_better_and_no_slower() -> None:
    good = make_candidates([cell(100, 18, 20), cell(100, 20, 20, "sync")], DEVICE)
    (bad,) = make_candidates([cell(100, 5, 20, "sync")], DEVICE)
    assert dominated([*good, bad]) == [None, None, 0]  # 18 of 20 does not differ from 20 of 20
    # What is only known to be at least so good may be better than that.
    (bound,) = make_candidates([cell(100, 5, 20, "sync")], Device("fixed:90,11"))
    assert dominated([*good, bound]) == [None, None, None]
    assert [candidate.keeps_up for candidate in rank([bad, *good])] == [True, False, False]


def test_a_bound_is_called_one_wherever_the_candidate_is_named() -> None:
    (candidate,) = make_candidates([cell(400, 20, 20)], DEVICE)
    assert "at least 100 % [83, 100], n = 20" in candidate.describe()


@pytest.mark.parametrize(("servers", "slower"), [("two", 1.0), ("shared", CONTENTION), ("shared-priority", 1.0)])
def test_on_one_gpu_the_head_is_slower_while_an_encode_runs_unless_it_has_priority(
    servers: ServersName, slower: float
) -> None:
    (candidate,) = make_candidates([cell(100, 20, 20)], Device("fixed:100,11", servers))
    assert candidate.rate_hz == pytest.approx(1000 / 11 / slower)


def test_in_sync_the_pace_is_that_of_a_slow_encode() -> None:
    (candidate,) = make_candidates([cell(100, 20, 20, "sync")], DEVICE)
    assert candidate.rate_hz == pytest.approx(1000 / 111)


def test_cells_that_differ_in_latency_alone_are_one_candidate() -> None:
    assert len(make_candidates([cell(100, 18, 20), cell(400, 18, 20)], DEVICE)) == 1


def test_a_configuration_without_a_latency_on_the_device_is_no_candidate_and_is_named() -> None:
    plain, device = cell(100, 18, 20), Device("insertion_vla")
    setting = replace(plain.setting, optimization=replace(plain.setting.optimization, quant="bnb-int8"))
    int8 = replace(plain, setting=setting)
    assert [candidate.results for candidate in make_candidates([plain, int8], device)] == [(plain,)]
    ((name, reason),) = without_figure([plain, int8], device).items()
    assert "bnb-int8" in name and "insertion_vla has no figure for quant bnb-int8" in reason
    assert without_figure([plain, int8], DEVICE) == {}


def test_a_device_may_be_a_profile_or_of_the_roofline() -> None:
    assert find_device("insertion_vla") == "insertion_vla"
    assert find_device("h100") == "roofline:h100"
    with pytest.raises(UsageError, match="unknown latency 'abacus'.*insertion_vla"):
        find_device("abacus")
