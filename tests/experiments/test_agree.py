"""Laws of the loop on the wall clock, which need no luck with it, and of the comparison with simulated time."""

import os
import subprocess
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.agent.realtime.fakes import CAMERAS, FakePlant, FakePolicy, Jitter, play
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import Constant, FixedLatency, parse_latency
from vlatency.agent.realtime.requests import Encode
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.agree import LIMIT, Args, Arm, agree, conclusions, ks_distance, main, spread
from vlatency.experiments.analysis.paired import paired
from vlatency.experiments.checks.wall_clock import Late, WallClock, WallLoop
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

ROOT = Path(__file__).resolve().parents[2]


class Imagined(Executor):
    """A clock that passes only in sleep, and a thread of which only its time is real: a law is exact under both."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._running: list[tuple[int, Future[Any], Any]] = []

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until_ns(self, t_ns: int) -> None:
        self._now_ns = max(self._now_ns, t_ns)
        self._finish()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        began_ns = self._now_ns
        result = fn(*args, **kwargs)
        future: Future[Any] = Future()
        self._running.append((self._now_ns, future, result))
        self._now_ns = began_ns
        self._finish()
        return future

    def _finish(self) -> None:
        for end_ns, future, result in self._running:
            if end_ns <= self._now_ns and not future.done():
                future.set_result(result)


def on_the_wall(latency: Any, plant: FakePlant | None = None, policy: Any = None, host: Any = None) -> Any:
    host = host or Imagined()
    plant = plant or FakePlant()
    return plant, *WallLoop(plant, CAMERAS, latency, 10, policy or FakePolicy(), host, host).run()


@pytest.mark.parametrize("seed", range(20))
def test_on_a_host_that_is_never_late_the_wall_clock_gives_simulated_time_bit_for_bit(seed: int) -> None:
    simulated_plant, simulated = play("async", Jitter(seed))
    plant, trace, late = on_the_wall(Jitter(seed))
    assert trace == simulated and len(trace.ticks) == 20 and late == Late()
    assert plant.trajectory_hash == simulated_plant.trajectory_hash


@pytest.mark.parametrize(("vl_ms", "head_ms"), [(0, 0), (400, 30), (300, 100), (37.3, 0), (130, 250)])
def test_the_same_holds_where_events_meet(vl_ms: float, head_ms: float) -> None:
    _, simulated = play("async", Constant(vl_ms, head_ms))
    _, trace, _ = on_the_wall(Constant(vl_ms, head_ms))
    assert trace == simulated


def test_a_computation_within_the_latency_leaves_no_mark_and_a_longer_one_is_counted() -> None:
    class Slow(FakePolicy):
        def encode(self, requests: list[Encode]) -> list[object]:
            host.sleep_until_ns(host.now_ns() + ms_to_ns(25))
            return super().encode(requests)

    host = Imagined()
    _, simulated = play("async", Constant(130, 20))
    _, trace, late = on_the_wall(Constant(130, 20), policy=Slow(), host=host)
    assert (trace, late) == (simulated, Late())

    host = Imagined()
    _, trace, late = on_the_wall(Constant(10, 20), policy=Slow(), host=host)
    encodes = [span for span in trace.spans if span.name == "encode"]
    assert {span.end_ns - span.start_ns for span in encodes[:-1]} == {ms_to_ns(25)}
    assert late.encodes == len(encodes) - 1 > 10 and late.ticks == 0


def test_while_views_are_drawn_the_physics_stands_still_and_a_tick_in_this_time_is_late() -> None:
    class Drawn(FakePlant):
        def capture(self, cameras: Any) -> Any:
            views = super().capture(cameras)
            host.sleep_until_ns(host.now_ns() + ms_to_ns(21))
            return views

    host = Imagined()
    plant, trace, late = on_the_wall(Constant(95, 20), plant=Drawn(), host=host)
    starts = [span.start_ns for span in trace.spans if span.name == "encode"]
    assert plant.captured == starts  # views show the instant at which they are dated
    instants = [tick.t_ns for tick in trace.ticks]
    assert instants[1] == ms_to_ns(116) and late.worst_tick_ns == ms_to_ns(20)
    assert late.ticks == sum(t_ns - i * ms_to_ns(100) > ms_to_ns(2) for i, t_ns in enumerate(instants)) > 0
    for tick in trace.ticks:
        finished = [span for span in trace.spans if span.name == "encode" and span.end_ns <= tick.t_ns]
        assert tick.feature_age_ns == (tick.t_ns - finished[-1].capture_ns if finished else None)


def test_a_loop_that_wakes_late_uses_no_features_before_the_step_at_which_they_were_there() -> None:
    class Drowsy(Imagined):
        def sleep_until_ns(self, t_ns: int) -> None:
            super().sleep_until_ns(t_ns if t_ns % ms_to_ns(2) else t_ns + ms_to_ns(1.5))

    _, trace, late = on_the_wall(Constant(201, 20), host=Drowsy())
    encodes = [span for span in trace.spans if span.name == "encode"]
    heads = [span for span in trace.spans if span.name == "head"]
    for head in heads:
        assert head.capture_ns == [span.capture_ns for span in encodes if span.end_ns <= head.start_ns][-1]
    assert heads[0].start_ns == ms_to_ns(300) and late == Late()


def test_an_error_in_the_encoder_thread_ends_the_episode() -> None:
    class Broken(FakePolicy):
        def encode(self, requests: list[Encode]) -> list[object]:
            raise ValueError("no weights")

    with ThreadPoolExecutor(1) as encoder, pytest.raises(ValueError, match="no weights"):
        WallLoop(FakePlant(), CAMERAS, Constant(50, 10), 10, Broken(), WallClock(), encoder).run()


def test_real_threads_sleep_out_every_latency_and_never_wake_early() -> None:
    with ThreadPoolExecutor(1) as encoder:
        loop = WallLoop(FakePlant(1.0), CAMERAS, Constant(110, 10), 10, FakePolicy(), WallClock(), encoder)
        trace, _ = loop.run()
    encodes = [span for span in trace.spans if span.name == "encode"][:-1]
    assert encodes and all(span.end_ns - span.start_ns >= ms_to_ns(110) for span in encodes)
    assert all(command.applied_ns - command.read_ns >= ms_to_ns(10) for command in trace.commands)
    assert all(tick.t_ns >= i * ms_to_ns(100) for i, tick in enumerate(trace.ticks))


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
    assert agree(LIMIT - 0.001, same) and not agree(LIMIT, same) and not agree(0, other)


def arm(name: str, trace: EpisodeTrace, late: Late = Late()) -> Arm:  # noqa: B008
    found = Arm(name)
    found.add(True, trace, late)
    return found


def test_the_sentences_warn_of_ages_on_few_values_and_of_a_busy_host() -> None:
    _, trace = play("async", Constant(400, 30))
    same = paired([True], [True])
    lines = conclusions(arm("simulated", trace), arm("wall clock", trace), 0.0, same)
    assert lines[-1] == "simulated time and real threads agree"
    assert "these ages have 4 values only" in lines[1] and not any("could not keep up" in line for line in lines)
    lines = conclusions(arm("simulated", trace), arm("wall clock", trace, Late(ticks=9)), 0.5, same)
    assert lines[-1] == "simulated time and real threads DISAGREE"
    assert "the host could not keep up: 9 of 20 ticks" in lines[-2]


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


@pytest.mark.slow
def test_a_real_comparison_prints_its_table_and_its_exit_status_follows_the_verdict() -> None:
    done = command("--views", "1", "--episodes", "1")
    assert done.stderr == "" and done.returncode in (0, 1), done.stderr
    assert "simulated" in done.stdout and "Kolmogorov-Smirnov distance" in done.stdout
    assert done.stdout.rstrip().endswith("DISAGREE" if done.returncode else "threads agree")
