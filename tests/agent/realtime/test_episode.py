"""Laws of the simulated clock."""

import doctest
import hashlib
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.builders.world import NO_LATENCY, STEP_NS, FakePlant, FakePolicy, Jitter, begin, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.reuse import Every, Latest, Reuse
from vlatency.agent.realtime.timing import MODES, Mode, Timing
from vlatency.agent.realtime.trace import EpisodeTrace, Span
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError

CLOCKED = ("sync", "async")
REUSES = (Latest(), Every(1), Every(4))
SEEDS = range(5)


def spans(trace: EpisodeTrace, name: str) -> list[Span]:
    return [span for span in trace.spans if span.name == name]


def in_ms(times_ns: list[int | None]) -> list[float | None]:
    return [None if t_ns is None else t_ns / 1e6 for t_ns in times_ns]


@pytest.mark.parametrize("control_hz", [10, 30, 50, 47.3])
@pytest.mark.parametrize(("mode", "reuse"), [("async", Latest()), ("async", Every(1)), ("sync", Latest())])
def test_zero_latency_equals_the_paused_world_bit_for_bit(mode: Mode, reuse: Reuse, control_hz: float) -> None:
    paused, expected = play("pause", control_hz=control_hz)
    clocked, trace = play(mode, NO_LATENCY, reuse, control_hz)
    assert clocked.trajectory_hash == paused.trajectory_hash
    assert trace.ticks == expected.ticks
    assert trace.commands == expected.commands
    assert trace.spans == expected.spans


def test_latency_changes_the_trajectory() -> None:
    hashes = {play("async", Constant(vl_ms, 0))[0].trajectory_hash for vl_ms in (0, 2, 100)}
    assert len(hashes) == 3


def test_a_paused_world_ignores_the_latency() -> None:
    assert play("pause", Constant(1450, 11))[1] == play("pause")[1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reuse", REUSES, ids=str)
@pytest.mark.parametrize("mode", CLOCKED)
def test_no_command_takes_effect_before_its_exposure_and_the_latencies_charged(
    mode: Mode, reuse: Reuse, seed: int
) -> None:
    plant, trace = play(mode, Jitter(seed), reuse)
    assert len(trace.commands) > 5
    for (applied_ns, setpoint), command in zip(plant.commanded, trace.commands, strict=True):
        assert applied_ns == command.applied_ns
        assert round(setpoint[0] * 1e9) == command.capture_ns
        earliest_ns = command.capture_ns + command.vl_ns + command.head_ns
        felt_ns = round(setpoint[1] * 1e9)
        assert applied_ns >= earliest_ns
        assert 0 <= applied_ns - felt_ns - command.head_ns < STEP_NS


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", CLOCKED)
def test_feature_age_never_falls_except_when_new_features_arrive(mode: Mode, seed: int) -> None:
    _, trace = play(mode, Jitter(seed))
    finishes = [span.end_ns for span in spans(trace, "encode")]
    for tick, following in pairwise(trace.ticks):
        if any(tick.t_ns < finish <= following.t_ns for finish in finishes) or tick.feature_age_ns is None:
            continue
        assert following.feature_age_ns == tick.feature_age_ns + following.t_ns - tick.t_ns


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reuse", REUSES, ids=str)
@pytest.mark.parametrize("mode", CLOCKED)
def test_a_busy_server_never_takes_a_second_job(mode: Mode, reuse: Reuse, seed: int) -> None:
    _, trace = play(mode, Jitter(seed), reuse)
    for name in ("encode", "head"):
        assert all(job.end_ns <= following.start_ns for job, following in pairwise(spans(trace, name)))


def test_at_one_instant_an_encode_finishes_then_cameras_expose_then_a_command_applies_then_the_head_reads() -> None:
    plant, trace = play("async", Constant(100, 100))
    at_once = [what for t_ns, what in plant.log if t_ns == ms_to_ns(200)]
    assert at_once == ["capture", "sensors", "command", "sensors"]
    assert trace.ticks[2].feature_age_ns == ms_to_ns(100)


@pytest.mark.parametrize("vl_ms", [0, 1.3, 250, 310.97])
def test_latest_encodes_back_to_back(vl_ms: float) -> None:
    plant, trace = play("async", Constant(vl_ms, 10))
    apart = {following - start for start, following in pairwise(plant.captured)}
    assert plant.captured == [span.start_ns for span in spans(trace, "encode")]
    assert apart == {-(-ms_to_ns(vl_ms) // STEP_NS) * STEP_NS or ms_to_ns(100)}


@pytest.mark.parametrize("vl_ms", [0, 90, 300])
def test_every_k_ticks_starts_encodes_k_ticks_apart(vl_ms: float) -> None:
    plant, _ = play("async", Constant(vl_ms, 10), Every(3))
    assert in_ms([*plant.captured]) == [0, 300, 600, 900, 1200, 1500, 1800]


def test_every_k_ticks_waits_for_the_first_tick_at_which_the_encoder_is_free() -> None:
    plant, _ = play("async", Constant(381.3, 10.97), Every(3))
    assert in_ms([*plant.captured]) == [0, 400, 800, 1200, 1600]


def test_sync_commands_come_every_encode_plus_head() -> None:
    _, trace = play("sync", Constant(380, 10))
    assert in_ms([command.applied_ns for command in trace.commands]) == [390, 780, 1170, 1560, 1950]


def test_sync_never_commands_faster_than_the_control_rate() -> None:
    _, trace = play("sync", Constant(30, 10))
    assert {b.applied_ns - a.applied_ns for a, b in pairwise(trace.commands)} == {ms_to_ns(100)}
    assert trace.missed == 0


def test_async_ticks_of_a_case_computed_by_hand() -> None:
    _, trace = play("async", Constant(250, 10), plant=FakePlant(seconds=1.0))
    ticks = trace.ticks
    assert in_ms([tick.t_ns for tick in ticks]) == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]
    assert in_ms([tick.image_age_ns for tick in ticks]) == [0, 100, 200, 50, 150, 0, 100, 200, 50, 150]
    assert in_ms([tick.feature_age_ns for tick in ticks]) == [None] * 3 + [300, 400, 250, 350, 450, 300, 400]
    assert in_ms([tick.command_latency_ns for tick in ticks]) == [None] * 3 + [310, 410, 260, 360, 460, 310, 410]
    assert [tick.missed for tick in ticks] == [True] * 3 + [False] * 7
    assert (trace.missed, trace.overruns, len(trace.commands)) == (3, 0, 7)


def test_sync_ticks_of_a_case_computed_by_hand() -> None:
    _, trace = play("sync", Constant(250, 10), plant=FakePlant(seconds=1.0))
    assert in_ms([span.start_ns for span in spans(trace, "encode")]) == [0, 260, 520, 780]
    assert [n for n, tick in enumerate(trace.ticks) if not tick.missed] == [2, 5, 7]
    ages = [None, None, None, 300, 400, 500, 340, 440, 280, 380]
    assert in_ms([tick.feature_age_ns for tick in trace.ticks]) == ages
    assert trace.missed == 7


def test_a_head_slower_than_the_control_period_overruns_and_misses_ticks() -> None:
    _, trace = play("async", Constant(0, 150), plant=FakePlant(seconds=1.0))
    assert [tick.missed for tick in trace.ticks] == [False, True] * 5
    assert [tick.overrun for tick in trace.ticks] == [True, False] * 5


def test_a_head_as_slow_as_the_control_period_misses_no_tick() -> None:
    _, trace = play("async", Constant(0, 100))
    assert (trace.missed, trace.overruns) == (0, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_tick_of_the_grid_is_recorded_and_either_missed_or_leads_to_one_command(seed: int) -> None:
    _, trace = play("async", Jitter(seed), Every(2))
    assert [tick.t_ns for tick in trace.ticks] == list(range(0, trace.end_ns, trace.period_ns))
    assert len(trace.ticks) - trace.missed == len(spans(trace, "head"))


@pytest.mark.parametrize("mode", CLOCKED)
def test_same_seed_same_trace_and_another_seed_another(mode: Mode) -> None:
    (first, trace), (again, same), (_, other) = (play(mode, Jitter(seed)) for seed in (1, 1, 2))
    assert trace == same
    assert first.trajectory_hash == again.trajectory_hash
    assert trace != other


def test_an_unknown_mode_is_one_line_with_the_valid_ones() -> None:
    unknown: Any = "fast"
    with pytest.raises(UsageError, match=r"^.*'fast'.* pause, sync, async$"):
        begin(FakePlant(), unknown)


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_that_is_over_before_it_begins_asks_for_nothing(mode: Mode) -> None:
    plant, trace = play(mode, plant=FakePlant(seconds=0))
    assert (trace.spans, trace.ticks, trace.commands) == ((), (), ())
    assert plant.captured == []


def test_the_clock_needs_neither_torch_nor_a_physics_engine_nor_the_environments() -> None:
    modules = "event_loop driver episode execution requests reuse robot_timing servers trace cost.distribution "
    modules += "cost.latency cost.named cost.profile cost.roofline"
    names = ", ".join(f"vlatency.agent.realtime.{module}" for module in modules.split())
    code = f"import sys, {names}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "mujoco", "gymnasium", "vlatency.envs"} & set(loaded)


@pytest.mark.parametrize("documented", [episode, Timing])
def test_the_example_in_the_docstring_runs_as_written(documented: Callable[..., object]) -> None:
    given = {"env": FakePlant(), "policy": FakePolicy()}
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, extraglobs=given)
    result = doctest.DocTestRunner().run(example)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("mode", "reuse", "digest"),
    [
        ("pause", Latest(), "d56d56a188ed4fe7"),
        ("sync", Latest(), "ed32716388777485"),
        ("async", Latest(), "0cc7b2d7d8d7fb37"),
        ("async", Every(3), "98debf394c3344f7"),
    ],
)
def test_by_default_every_event_is_where_the_first_release_had_it(mode: Mode, reuse: Reuse, digest: str) -> None:
    whole = hashlib.sha256()
    for seed in range(3):
        for control_hz in (10, 47.3):
            plant, trace = play(mode, Jitter(seed), reuse, control_hz)
            whole.update(plant.trajectory_hash.encode())
            for record in (
                [(s.name, s.start_ns, s.end_ns, s.capture_ns) for s in trace.spans],
                [(c.applied_ns, c.capture_ns, c.vl_ns, c.head_ns) for c in trace.commands],
                [
                    (t.t_ns, t.image_age_ns, t.feature_age_ns, t.command_latency_ns, t.overrun, t.missed)
                    for t in trace.ticks
                ],
            ):
                whole.update(repr(record).encode())
    assert whole.hexdigest()[:16] == digest
