"""A cell speaks for a device only if its clock charged no less, in all of the distribution and on such servers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.studies import timed_cell
from tests.builders.sweeps import SETTING
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.reuse import parse_reuse
from vlatency.agent.realtime.servers import ServersName, make_servers
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.reporting.candidates import Device, make_candidates
from vlatency.experiments.reporting.charges import WEIGHTS, add, charges, no_slower, slower_in
from vlatency.experiments.reporting.pace import expected_late, high_ms

POINT = {"views": 3, "width": 224, "height": 224, "encoding": "batched"}
PLAIN: dict[str, Any] = {
    "device": "a made-up GPU",
    "overhead_ms": 1,
    "realised_tflops": 20,
    "head": {"samples_ms": [10.0] * 100},
    "encode": [{**POINT, "samples_ms": [300.0] * 100}],
}
COLD = {"cold_start_ms": 11_900}
RARE_ENCODES = {"encode": [{**POINT, "samples_ms": [300.0] * 96 + [9000.0] * 4}]}
SLOW_HEADS = {"head": {"samples_ms": [10.0] * 51 + [5000.0] * 49}}
PREPROCESSING = {"preprocess": {"mean_ms": 200}}
ONE_GPU = {"contention": 2.4}


def profile(folder: Path, **change: Any) -> str:
    """The path of a profile."""
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps({**PLAIN, **change}))
    return str(path)


def timing(latency: str, mode: Mode = "async", servers: ServersName = "two", contention: float = 1.0) -> Timing:
    model = parse_latency(latency, SETTING.optimization)
    return Timing(actions=SETPOINTS, mode=mode, latency=model, servers=make_servers(servers, contention))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (COLD, "the first encode: 1.22e+04 ms against 300"),
        (RARE_ENCODES, "the encode at the slowest 4 %: 9000 ms against 300"),
        (SLOW_HEADS, "the head at the slowest 49 %: 5000 ms against 10"),
        (PREPROCESSING, "the encode: 500 ms against 300"),
        (ONE_GPU, "the servers: one GPU with contention 2.4 against two GPUs"),
    ],
)
def test_a_device_with_the_same_medians_and_percentiles_is_not_judged_from_cells_that_were_spared(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    measured = timed_cell(timing(profile(tmp_path)), 400, 400)
    (same,) = make_candidates([measured], Device(profile(tmp_path)))
    assert same.interpolated and same.interpolated.how == "at" and same.keeps_up
    (other,) = make_candidates([measured], Device(profile(tmp_path, **change)))
    assert other.interpolated is None and says in other.unlike()
    # The cells of the slower device speak for the faster one.
    slow = Device(profile(tmp_path, **change))
    (bound,) = make_candidates([timed_cell(slow.timing(SETTING), 400, 400)], Device(profile(tmp_path)))
    assert bound.interpolated and bound.interpolated.how == "at least"


def test_a_contention_of_2_4_is_not_judged_from_cells_at_1_0(tmp_path: Path) -> None:
    shared = profile(tmp_path, contention=1.0)
    one_gpu: tuple[ServersName, ...] = ("shared", "shared-priority")
    measured = [timed_cell(timing(shared, servers=servers), 400, 400) for servers in one_gpu]
    (candidate,) = make_candidates(measured, Device(profile(tmp_path, contention=2.4)))
    assert candidate.interpolated is None and "contention 2.4 against one GPU with contention 1" in candidate.unlike()
    expected: dict[ServersName, bool] = {"two": True, "shared-priority": True, "shared": False}
    for servers, known in expected.items():
        (candidate,) = make_candidates(measured, Device(profile(tmp_path, contention=2.4), servers))
        assert (candidate.interpolated is not None) is known
    (candidate,) = make_candidates(measured, Device(shared, contention=2.4))
    assert candidate.interpolated is None


def test_in_sync_mode_the_servers_do_not_matter(tmp_path: Path) -> None:
    latency = profile(tmp_path)
    assert no_slower(timing(latency, "sync", "shared", 2.4), timing(latency, "sync"))
    assert not no_slower(timing(latency, "async", "shared", 2.4), timing(latency, "async"))


def test_stagger_compares_encodes_of_fewer_views_too(tmp_path: Path) -> None:
    slow_single = {**POINT, "views": 1, "samples_ms": [290.0]}
    one, two = (timing(profile(tmp_path, encode=[*PLAIN["encode"], *more])) for more in ([slow_single], []))
    assert no_slower(one, two, 3)
    stagger = parse_reuse("stagger:2")
    assert "an encode of 1" in slower_in(replace(one, reuse=stagger), replace(two, reuse=stagger), 3)[0]


def test_a_sum_has_the_distribution_of_drawn_sums() -> None:
    rng = np.random.default_rng(1)
    model = parse_latency("insertion_vla", SETTING.optimization)
    assert charges(model).encode[0] == pytest.approx(model.vl_ms)
    x, y = (np.quantile(rng.gamma(shape, 10, 100_000), np.cumsum(WEIGHTS) - WEIGHTS / 2) for shape in (2, 5))
    total = add(x, y)
    assert np.all(np.diff(total) >= 0) and float(WEIGHTS @ total) == pytest.approx(70, rel=0.01)
    at = np.searchsorted(np.cumsum(WEIGHTS), 0.95)
    drawn = np.percentile(rng.gamma(2, 10, 100_000) + rng.gamma(5, 10, 100_000), 95)
    assert float(total[at]) == pytest.approx(drawn, rel=0.02)


def test_what_a_first_order_dominance_is_holds_for_random_samples(tmp_path: Path) -> None:
    """Against its definition: no quantile is longer, which a plain comparison of sorted samples says, too."""
    rng = np.random.default_rng(5)
    told = [0, 0]
    for _ in range(200):
        a, b = (np.round(rng.lognormal(4, 0.3, 100) * rng.choice([1, 1.2]), 1) for _ in range(2))
        one, two = (
            timing(profile(tmp_path, encode=[{**POINT, "samples_ms": list(map(float, samples))}])) for samples in (a, b)
        )
        right = bool(np.all(np.sort(a) <= np.maximum(np.sort(b) * 1.01, np.sort(b) + 0.5)))
        assert no_slower(one, two) is right
        told[right] += 1
    assert min(told) > 10


def test_a_device_keeps_up_only_if_almost_all_head_runs_do(tmp_path: Path) -> None:
    assert expected_late(timing(profile(tmp_path))) == 0 and high_ms(timing(profile(tmp_path))) == 10
    slow = timing(profile(tmp_path, **SLOW_HEADS))
    assert high_ms(slow) == 5000 and expected_late(slow) > 0.9
    rare = timing(profile(tmp_path, head={"samples_ms": [10.0] * 995 + [5000.0] * 5}))
    assert high_ms(rare) == 10 and expected_late(rare) == pytest.approx(0.2, abs=0.02)  # each one costs 50 ticks


def test_what_the_clock_recorded_at_shorter_latencies_overrules_what_the_latencies_promise() -> None:
    here = Timing(actions=SETPOINTS, mode="async", latency=FixedLatency(100, 60))
    on_time, late = (timed_cell(here, 20, 20, ticks=100, missed=missed, overruns=0) for missed in (1, 34))
    assert make_candidates([on_time], Device("fixed:100,60"))[0].keeps_up
    for device in ("fixed:100,60", "fixed:120,70"):
        assert not make_candidates([late], Device(device))[0].keeps_up
    assert make_candidates([late], Device("fixed:90,60"))[0].keeps_up
