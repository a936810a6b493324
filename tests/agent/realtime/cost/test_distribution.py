"""Laws of latencies that vary."""

import json
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.distribution import Lognormal, Samples, Steady
from vlatency.agent.realtime.cost.latency import LatencyModel
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

PROFILE = {
    "device": "a test",
    "head": {"p50_ms": 10, "p95_ms": 13, "p99_ms": 15},
    "overhead_ms": 10,
    "realised_tflops": 50,
    "contention": 1.5,
    "cold_start_ms": 500,
    "encode": [
        {"views": 3, "width": 224, "height": 224, "encoding": "batched", "samples_ms": [100, 101, 102, 250, 260]},
        {"views": 1, "width": 224, "height": 224, "encoding": "batched", "mean_ms": 40},
    ],
}


def model(tmp_path: Path, profile: dict[str, Any], views: int = 3, factor: float = 1.0) -> LatencyModel:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(profile))
    return parse_latency(str(path), Optimization(CAMERA_ORDER[:views]), factor)


def charges(latency: LatencyModel, seed: int, count: int = 20) -> tuple[list[float], list[float]]:
    stream = latency.stream(np.random.default_rng(seed))
    return [stream.encode_ns(3, 3) / 1e6 for _ in range(count)], [stream.head_ns() / 1e6 for _ in range(count)]


def test_samples_are_replayed_in_the_order_of_measurement_from_a_random_place() -> None:
    samples = (1.0, 2.0, 3.0, 4.0)
    starts = set()
    for seed in range(30):
        drawn = list(islice(Samples(samples).draws(np.random.default_rng(seed)), 9))
        starts.add(drawn[0])
        assert all(after == before % 4 + 1 for before, after in pairwise(drawn))
    assert starts == set(samples)


def test_a_lognormal_law_is_found_again_from_its_own_quantiles() -> None:
    truth = stats.lognorm(s=0.3, scale=120)
    law = Lognormal(*truth.ppf([0.5, 0.95, 0.99]))
    assert law.sigma == pytest.approx(0.3)
    drawn = list(islice(law.draws(np.random.default_rng(0)), 2000))
    assert stats.kstest(drawn, truth.cdf).pvalue > 0.01


def test_quantiles_that_fit_no_lognormal_law_are_met_in_the_middle() -> None:
    law = Lognormal(100, 150, 160)
    drawn = np.array(list(islice(law.draws(np.random.default_rng(1)), 20_000)))
    p50, p95, p99 = np.percentile(drawn, [50, 95, 99])
    assert p50 == pytest.approx(100, rel=0.02)
    assert (p95 < 150 and p99 > 160) or p95 == pytest.approx(150, rel=0.15)


def test_a_steady_law_draws_nothing_from_the_stream() -> None:
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    assert list(islice(Steady(5.0).draws(rng), 3)) == [5.0] * 3
    assert rng.bit_generator.state == before


def test_the_same_seed_gives_the_same_latencies_and_another_seed_others(tmp_path: Path) -> None:
    latency = model(tmp_path, PROFILE)
    assert charges(latency, 1) == charges(latency, 1) != charges(latency, 2)


def test_what_an_encode_takes_does_not_depend_on_how_often_the_head_ran(tmp_path: Path) -> None:
    latency = model(tmp_path, PROFILE)
    one, two = (latency.stream(np.random.default_rng(5)) for _ in range(2))
    for _ in range(20):
        one.head_ns()
        assert one.encode_ns(3, 3) == two.encode_ns(3, 3)


def test_preprocessing_is_charged_with_every_encode(tmp_path: Path) -> None:
    plain, more = model(tmp_path, PROFILE), model(tmp_path, PROFILE | {"preprocess": {"mean_ms": 20}})
    assert more.vl_ms == plain.vl_ms + 20
    assert more.head_ms == plain.head_ms
    (encodes, heads), (longer, same) = charges(plain, 3), charges(more, 3)
    assert longer == [encode + 20 for encode in encodes]
    assert same == heads


def test_only_the_first_encode_is_cold(tmp_path: Path) -> None:
    encodes, _ = charges(model(tmp_path, PROFILE), 4)
    assert encodes[0] >= 600
    assert max(encodes[1:]) <= 260


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_factor_multiplies_every_latency_and_the_nominal_ones(tmp_path: Path, factor: float) -> None:
    plain, scaled = model(tmp_path, PROFILE), model(tmp_path, PROFILE, factor=factor)
    for ours, theirs in zip(charges(scaled, 7), charges(plain, 7), strict=True):
        np.testing.assert_allclose(ours, np.multiply(theirs, factor), atol=1e-6)
    assert scaled.vl_ms == plain.vl_ms * factor
    assert scaled.head_ms == plain.head_ms * factor
    assert f"mine x {factor:g} (" in scaled.describe()
    fixed = parse_latency("fixed:100,10", Optimization(), factor)
    assert (fixed.vl_ms, fixed.head_ms) == (100 * factor, 10 * factor)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), 1e9])
def test_a_bad_factor_is_refused(factor: float) -> None:
    with pytest.raises(UsageError, match=r"^perf-factor must be above 0 and at most 100, not "):
        parse_latency("none", Optimization(), factor)


def test_the_nominal_latency_is_the_median(tmp_path: Path) -> None:
    latency = model(tmp_path, PROFILE)
    assert (latency.vl_ms, latency.head_ms, latency.contention) == (102, 10, 1.5)
    assert model(tmp_path, PROFILE, views=1).vl_ms == 40


@pytest.mark.parametrize(
    "change",
    [
        {"head": {"p50_ms": 10, "p95_ms": 9, "p99_ms": 15}},
        {"head": {"p50_ms": 0, "p95_ms": 9, "p99_ms": 15}},
        {"head": {"p50_ms": 10}},
        {"head": {"samples_ms": []}},
        {"head": {"samples_ms": [1, None]}},
        {"head": {"samples_ms": [1, -2]}},
        {"head": 11},
        {"contention": 0.5},
        {"cold_start_ms": -1},
    ],
)
def test_a_broken_law_is_one_line_with_the_path(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^latency profile [^\n]+mine.json [^\n]+$"):
        model(tmp_path, PROFILE | change)


def test_encodes_of_all_views_vary_as_if_there_were_none_of_fewer_between_them(tmp_path: Path) -> None:
    latency = model(tmp_path, PROFILE)
    one, two = (latency.stream(np.random.default_rng(6)) for _ in range(2))
    for _ in range(20):
        assert one.encode_ns(3, 3) == two.encode_ns(3, 3)
        assert two.encode_ns(1, 3) == ms_to_ns(40)
