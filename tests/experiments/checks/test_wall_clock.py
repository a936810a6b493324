"""Laws of the loop on the wall clock, which need no luck with it."""

from concurrent.futures import Executor, Future
from typing import Any, cast

import numpy as np
import pytest

from tests.builders.world import CAMERAS, FakePlant, FakePolicy, Jitter, Streamed, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.requests import Encode, Infer
from vlatency.agent.realtime.timing import Timing
from vlatency.experiments.checks.wall_clock import Host, Late, WallLoop, WholeLoop
from vlatency.sim.actions import ActionSpec, Hold, Kind
from vlatency.sim.clock import ms_to_ns


class Imagined(Executor):
    """A host whose clock moves only in sleep and whose second thread costs no time, so that laws hold exactly."""

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
    return plant, *WallLoop(plant, CAMERAS, latency, 10, policy or FakePolicy(), host).run()


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

    with Host() as host, pytest.raises(ValueError, match="no weights"):
        WallLoop(FakePlant(), CAMERAS, Constant(50, 10), 10, Broken(), host).run()


def test_real_threads_sleep_out_every_latency_and_never_wake_early() -> None:
    with Host() as host:
        loop = WallLoop(FakePlant(1.0), CAMERAS, Constant(110, 10), 10, FakePolicy(), host)
        trace, _ = loop.run()
    encodes = [span for span in trace.spans if span.name == "encode"][:-1]
    assert encodes and all(span.end_ns - span.start_ns >= ms_to_ns(110) for span in encodes)
    assert all(command.applied_ns - command.read_ns >= ms_to_ns(10) for command in trace.commands)
    assert all(tick.t_ns >= i * ms_to_ns(100) for i, tick in enumerate(trace.ticks))


class Whole:
    """Answers a look with a chunk that says when it looked and where the mass was."""

    def infer(self, requests: list[Infer]) -> list[np.ndarray]:
        return [np.tile([each.t_ns / 1e9, -each.readings.position, 0.1, 0.0, 0.0], (3, 1)) for each in requests]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("hold", ["repeat", "zero"])
def test_the_same_holds_of_a_policy_of_one_stage(seed: int, hold: Hold) -> None:
    kinds: tuple[Kind, ...] = ("delta", "delta", "absolute", "absolute", "absolute")
    timing = Timing(latency=Streamed(source=Jitter(seed)), stages=1, actions=ActionSpec(kinds, ms_to_ns(20), hold))
    simulated = FakePlant()
    steps = episode(simulated, CAMERAS, timing, np.random.default_rng(0))
    (expected,) = run_episodes([steps], Whole())
    plant, host = FakePlant(), cast(Host, Imagined())
    trace, late = WholeLoop(plant, CAMERAS, Jitter(seed), timing, Whole(), host).run()
    assert plant.trajectory_hash == simulated.trajectory_hash
    assert trace == expected and late == Late()
