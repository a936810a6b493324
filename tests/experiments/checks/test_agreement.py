"""Laws of the comparison between simulated time and the wall clock."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.builders.world import play
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import Constant, FixedLatency
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.agree import Args, main
from vlatency.experiments.analysis.paired import paired
from vlatency.experiments.checks.agreement import MAX_DISTANCE, Arm, agree, compare, ks_distance, spread
from vlatency.experiments.checks.wall_clock import Late
from vlatency.experiments.shared.command import RunError
from vlatency.experiments.shared.files import ROOT
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER


def test_a_constant_latency_is_spread_around_itself_and_what_varies_is_left_alone() -> None:
    for model in (FixedLatency(400, 30), parse_latency("insertion_vla", Optimization(CAMERA_ORDER, 640, 360, "joint"))):
        stream = spread(model, 1.3).stream(np.random.default_rng(0))
        encodes = np.array([stream.encode_ns(5, 5) for _ in range(20_000)]) / 1e6
        np.testing.assert_allclose(np.percentile(encodes, [50, 95]), model.vl_ms * np.array([1, 1.3]), rtol=0.02)
        assert stream.head_ns() == ms_to_ns(model.head_ms)
    varied = spread(FixedLatency(400, 30), 1.3)
    assert spread(varied, 2) == varied
    assert spread(FixedLatency(400, 30), 1).stream(np.random.default_rng(0)).encode_ns(5, 5) == ms_to_ns(400)


def test_the_distance_is_the_largest_gap_between_the_distribution_functions() -> None:
    assert ks_distance([1, 2, 3, 4], [1, 2, 3, 4]) == 0
    assert ks_distance([1, 2, 3, 4], [4, 2, 3, 9]) == 0.25
    assert ks_distance([1, 2], [3, 4, 5]) == 1


def test_agreement_needs_near_ages_and_outcomes_that_do_not_differ_significantly() -> None:
    same, other = paired([True] * 10, [True] * 10), paired([False] * 10, [True] * 10)
    assert agree(MAX_DISTANCE - 0.001, same) and not agree(MAX_DISTANCE, same) and not agree(0, other)


def arm(name: str, trace: EpisodeTrace, late: Late = Late()) -> Arm:
    return Arm(name, [True], [trace], [late])


def test_the_lines_warn_of_few_ages_and_of_a_busy_host() -> None:
    _, trace = play("async", Constant(400, 30))
    agreed, lines = compare(arm("simulated", trace), arm("wall clock", trace))
    assert agreed and lines[-1].endswith(" agree")
    assert any("only 4 values" in line for line in lines) and not any("busy" in line for line in lines)
    _, other = play("async", Constant(150, 30))
    agreed, lines = compare(arm("simulated", trace), arm("wall clock", other, Late(ticks=9)))
    assert not agreed and lines[-1].endswith(" DISAGREE")
    assert any("busy" in line and "9 of 20" in line for line in lines)


def test_episodes_without_features_cannot_be_compared() -> None:
    _, trace = play("async", Constant(5000, 30))
    with pytest.raises(RunError, match="--latency"):
        compare(arm("simulated", trace), arm("wall clock", trace))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"episodes": 0}, "episodes must be at least 1, not 0"),
        ({"views": 6}, "views must be 1 to 5, not 6"),
        ({"latency": "h300"}, "fixed:VL_MS,HEAD_MS"),
        ({"latency": "none"}, "latency of an encode in ms must be 1 to 5000, not 0"),
        ({"spread": 0.5}, "spread must be 1 to 3, not 0.5"),
        ({"spread": float("nan")}, "spread must be 1 to 3, not nan"),
        ({"policy": "/nowhere"}, "no policy folder '/nowhere'"),
    ],
)
def test_bad_values_name_the_good_ones_before_anything_runs(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        main(replace(Args(), **change))
    assert says in str(error.value) and "\n" not in str(error.value)


def command(*args: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "80"}
    line = [sys.executable, str(ROOT / "experiments" / "agree.py"), *args]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=env, timeout=240)


def test_bad_input_is_one_line_with_exit_status_2() -> None:
    done = command("--spread", "9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: spread must be 1 to 3, not 9\n"


@pytest.mark.gl
@pytest.mark.slow
def test_a_real_comparison_prints_its_table_and_its_exit_status_follows_the_verdict() -> None:
    done = command("--views", "1", "--episodes", "1")
    assert done.stderr == "" and done.returncode in (0, 1), done.stderr
    assert "simulated" in done.stdout and "Kolmogorov-Smirnov distance" in done.stdout
    assert done.stdout.rstrip().endswith("DISAGREE" if done.returncode else "threads agree")
