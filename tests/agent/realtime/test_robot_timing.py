"""Laws of free-running cameras, of camera and actuator delays, and of late chunks."""

from typing import Any

import pytest

from tests.builders.world import STEP_NS, FakePlant, Jitter, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.reuse import Every, Latest, Reuse
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.timing import Mode
from vlatency.agent.realtime.trace import Span
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError

FREE_RUNNING = (
    RobotTiming(camera_hz=30),
    RobotTiming(camera_hz=30, camera_phase_ms=7, camera_delay_ms=50),
    RobotTiming(15, 3.3, 150),
)
SEEDS = range(4)


def encodes(robot: RobotTiming, reuse: Reuse, seed: int, mode: Mode = "async") -> tuple[FakePlant, list[Span]]:
    plant, trace = play(mode, Jitter(seed), reuse, robot=robot)
    return plant, [span for span in trace.spans if span.name == "encode"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_no_command_takes_effect_before_all_delays_have_passed(mode: Mode, seed: int) -> None:
    robot = RobotTiming(camera_delay_ms=33, actuation_ms=21)
    _, trace = play(mode, Jitter(seed), robot=robot)
    assert len(trace.commands) > 3
    for command in trace.commands:
        charged_ns = robot.delay_ns + command.vl_ns + command.head_ns + robot.actuation_ns
        assert command.applied_ns >= command.capture_ns + charged_ns


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reuse", [Latest(), Every(3)], ids=str)
@pytest.mark.parametrize("robot", FREE_RUNNING, ids=str)
def test_an_encode_takes_the_newest_frame_that_has_arrived_or_waits_for_the_next(
    robot: RobotTiming, reuse: Reuse, seed: int
) -> None:
    _, jobs = encodes(robot, reuse, seed)
    frames = [robot.exposure_ns(frame) for frame in range(200)]
    assert len({job.capture_ns for job in jobs}) == len(jobs) > 3
    for job in jobs:
        assert any(0 <= job.capture_ns - frame < STEP_NS for frame in frames)
        assert job.start_ns >= job.capture_ns + robot.delay_ns - STEP_NS
        newer = [frame for frame in frames if frame > job.capture_ns]
        assert newer[0] + robot.delay_ns > job.start_ns - STEP_NS


@pytest.mark.parametrize("robot", FREE_RUNNING, ids=str)
def test_frames_that_no_encode_can_take_are_not_rendered(robot: RobotTiming) -> None:
    plant, trace = play("async", Constant(400, 10), robot=robot)
    frames = 2.0 * robot.camera_hz
    assert len([span for span in trace.spans if span.name == "encode"]) <= len(plant.captured) < 0.75 * frames


def test_cameras_on_demand_expose_at_each_look_and_the_encode_waits_for_the_cable() -> None:
    _, trace = play("async", Constant(200, 10), robot=RobotTiming(camera_delay_ms=50))
    starts = [(span.capture_ns / 1e6, span.start_ns / 1e6) for span in trace.spans if span.name == "encode"]
    assert starts[:3] == [(0, 50), (250, 300), (500, 550)]
    assert trace.ticks[3].feature_age_ns == ms_to_ns(300)
    assert trace.ticks[4].image_age_ns == ms_to_ns(150)


def test_actuation_delays_every_command_and_no_head_run() -> None:
    _, plain = play("async", Constant(200, 10))
    _, slow = play("async", Constant(200, 10), robot=RobotTiming(actuation_ms=40))
    assert plain.spans == slow.spans
    apart = [b.applied_ns - a.applied_ns for a, b in zip(plain.commands, slow.commands, strict=True)]
    assert set(apart) == {ms_to_ns(40)}


def test_late_chunks_are_applied_on_arrival_or_never() -> None:
    _, applied = play("async", Constant(0, 150))
    _, dropped = play("async", Constant(0, 150), robot=RobotTiming(late="drop"))
    heads = sum(span.name == "head" for span in dropped.spans)
    assert (applied.dropped, len(dropped.commands), dropped.dropped) == (0, 0, heads)
    assert applied.overruns == dropped.overruns == heads


@pytest.mark.parametrize("seed", SEEDS)
def test_every_finished_head_run_is_applied_or_dropped(seed: int) -> None:
    _, trace = play("async", Jitter(seed), robot=RobotTiming(late="drop"))
    heads = [span for span in trace.spans if span.name == "head"]
    late = [span for span in heads if span.end_ns - span.start_ns > trace.period_ns and span.end_ns < trace.end_ns]
    assert trace.dropped == len(late) > 0
    assert 0 <= len(heads) - len(late) - len(trace.commands) <= 1
    assert not {span.start_ns for span in late} & {command.read_ns for command in trace.commands}


@pytest.mark.parametrize("seed", range(60))
def test_an_older_command_never_overwrites_a_newer_one(seed: int) -> None:
    """Commands due within one physics step take effect in the order in which their sensors were read."""
    robot = RobotTiming(actuation_ms=(0.0, 0.7, 1.0, 2.0, 3.3)[seed % 5])
    plant, trace = play("async", Jitter(seed, 5, 3), control_hz=500, robot=robot, plant=FakePlant(seconds=0.5))
    read = [command.read_ns for command in trace.commands]
    assert read == sorted(read)
    felt = [point[1] for _, point in plant.commanded]
    assert felt == sorted(felt)
    assert len(felt) > 50


def test_a_tick_whose_chunk_is_dropped_is_missed() -> None:
    _, applied = play("async", Constant(0, 150))
    _, dropped = play("async", Constant(0, 150), robot=RobotTiming(late="drop"))
    assert applied.missed == len(applied.ticks) // 2
    assert dropped.missed >= len(dropped.ticks) - 1
    assert not dropped.commands


def test_a_command_that_actuation_makes_late_is_an_overrun_and_can_be_dropped() -> None:
    slow = RobotTiming(actuation_ms=95)
    _, trace = play("async", Constant(0, 10), robot=slow)
    assert trace.overruns == len(trace.ticks)
    assert play("async", Constant(0, 10), robot=RobotTiming(actuation_ms=90))[1].overruns == 0
    _, dropped = play("async", Constant(0, 10), robot=RobotTiming(actuation_ms=95, late="drop"))
    assert not dropped.commands
    assert dropped.dropped > 10


def test_the_age_of_features_is_told_when_they_are_used_and_at_every_tick() -> None:
    _, trace = play("sync", Constant(400, 10))
    assert set(trace.used_ages_ns) == {ms_to_ns(400)}
    assert max(tick.feature_age_ns or 0 for tick in trace.ticks) > ms_to_ns(700)
    _, paused = play("pause")
    assert set(paused.used_ages_ns) == {0}


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({"camera_hz": -1}, "camera-hz.*0.1 to 500"),
        ({"camera_hz": float("nan")}, "camera-hz.*0.1 to 500"),
        ({"camera_phase_ms": -1}, "camera-phase-ms.* 0 to 10000"),
        ({"camera_delay_ms": float("inf")}, "camera-delay-ms.* 0 to 10000"),
        ({"actuation_ms": float("nan")}, "actuation-ms.* 0 to 10000"),
        ({"late": "ignore"}, "apply, drop"),
    ],
)
def test_bad_values_name_the_good_ones(change: dict[str, Any], valid: str) -> None:
    with pytest.raises(UsageError, match=valid):
        RobotTiming(**change)
