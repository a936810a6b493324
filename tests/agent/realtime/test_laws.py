"""Laws that need many episodes or several processes."""

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from scipy import stats

from tests.builders.world import FakePlant, Jitter, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.reuse import Every, Latest
from vlatency.experiments.parallel.processes import Workers
from vlatency.sim.clock import ms_to_ns

ALPHA = 0.01
"""Of the Kolmogorov-Smirnov tests. Seeds are fixed, so a test that passes always passes."""


@pytest.mark.parametrize("vl_ms", [100, 200, 400])
def test_doubling_the_control_rate_doubles_the_stale_ticks(vl_ms: int) -> None:
    def stale(control_hz: float) -> tuple[int, int, int]:
        """Least lag of the features in ticks, ticks without features, and ticks with features of the past."""
        _, trace = play("async", Constant(vl_ms, 0), Latest(), control_hz, FakePlant(seconds=8))
        ages = [tick.feature_age_ns for tick in trace.ticks]
        lag, rest = divmod(min(age for age in ages if age is not None), trace.period_ns)
        assert rest == 0
        return lag, ages.count(None), sum(age is not None and age > 0 for age in ages)

    once, twice, four_times = np.array(stale(10)), np.array(stale(20)), np.array(stale(40))
    assert once[0] == vl_ms / 100
    np.testing.assert_array_equal(twice, 2 * once)
    np.testing.assert_array_equal(four_times, 4 * once)


@pytest.mark.parametrize(("vl_ms", "head_ms"), [(100, 0), (200, 10), (300, 90)])
def test_reaction_time_is_uniform_from_the_time_to_first_action_to_that_plus_the_encode_interval(
    vl_ms: int, head_ms: int
) -> None:
    _, trace = play("async", Constant(vl_ms, head_ms), plant=FakePlant(seconds=60))
    first_ms = trace.commands[0].applied_ns / 1e6
    assert first_ms == vl_ms + head_ms
    events = np.random.default_rng(1).uniform(ms_to_ns(1000), ms_to_ns(58_000), 500)
    captures = np.array([command.capture_ns for command in trace.commands])
    reactions_ms = [
        (trace.commands[int(np.searchsorted(captures, event))].applied_ns - event) / 1e6 for event in events
    ]
    assert stats.kstest(reactions_ms, stats.uniform(first_ms, vl_ms).cdf).pvalue > ALPHA
    wrong = stats.uniform(first_ms, 1.25 * vl_ms).cdf
    assert stats.kstest(reactions_ms, wrong).pvalue < ALPHA  # the test can tell


def hashed(seed: int) -> tuple[str, str]:
    """The trajectory and the whole record of one episode."""
    plant, trace = play("async", Jitter(seed), Every(2))
    return plant.trajectory_hash, repr(trace)


def burn() -> None:
    """Keep a core busy forever."""
    while True:
        pass


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """Compete for the CPU."""
    burners = [multiprocessing.get_context("spawn").Process(target=burn, daemon=True) for _ in range(processes)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.terminate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_episode_depends_neither_on_workers_nor_on_the_load_of_the_host() -> None:
    here = [hashed(seed) for seed in range(6)]
    for count, burners in ((1, 0), (2, 2)):
        with burning(burners), Workers(count) as workers:
            assert list(workers.map(hashed, range(6))) == here
