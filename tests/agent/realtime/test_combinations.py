"""The laws of the clock hold for any combination of options."""

import random
from itertools import pairwise
from typing import Any

import pytest

from tests.agent.realtime.fakes import STEP_NS, Jitter, play
from tests.agent.realtime.test_execution import ALL, Sloping
from vlatency.agent.realtime.reuse import Deadline, Every, Latest, OnEvent, Stagger
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Apart, Shared
from vlatency.experiments.recording.perfetto import chrome_trace


def drawn(seed: int) -> dict[str, Any]:
    """Arguments of `play`."""
    choose = random.Random(seed).choice
    return {
        "mode": choose(["sync", "async", "async"]),
        "latency": Jitter(seed, choose([5, 80, 300, 900]), choose([2, 30, 120, 300])),
        "reuse": choose([Latest(), Every(1), Every(3), OnEvent(), OnEvent(4), Deadline(), Deadline(30), Stagger(3)]),
        "control_hz": choose([7, 10, 20, 47.3, 100, 500]),
        "execution": choose(ALL),
        "servers": choose([Apart(), Shared(1.0), Shared(1.3), Shared(4.0)]),
        "robot": RobotTiming(
            camera_hz=choose([0, 0, 7, 30, 60, 499]),
            camera_phase_ms=choose([0, 3.3, 40]),
            camera_delay_ms=choose([0, 1.7, 33, 200]),
            actuation_ms=choose([0, 5, 150]),
            late=choose(["apply", "drop"]),
        ),
    }


@pytest.mark.parametrize("seed", range(150))
def test_servers_take_one_job_at_a_time_and_nothing_is_early(seed: int) -> None:
    options = drawn(seed)
    plant, trace = play(**options, policy=Sloping())
    robot = options["robot"]
    for name in ("encode", "head"):
        jobs = [span for span in trace.spans if span.name == name]
        assert jobs == sorted(jobs, key=lambda job: job.start_ns)
        assert all(job.end_ns <= following.start_ns for job, following in pairwise(jobs))
    for command in trace.commands:
        charged_ns = robot.delay_ns + command.vl_ns + command.head_ns + robot.actuation_ns
        # A frame arrives by the grid of the cameras, of which the exposure is the next physics step.
        assert command.applied_ns > command.capture_ns + charged_ns - STEP_NS * bool(robot.camera_hz) - 1
    assert [command.applied_ns for command in trace.commands] == [t_ns for t_ns, _ in plant.commanded]
    assert len(chrome_trace(trace, {})["traceEvents"]) > len(trace.spans) + len(trace.commands) + len(trace.ticks)


@pytest.mark.parametrize("seed", range(0, 150, 10))
def test_every_combination_repeats_bit_for_bit(seed: int) -> None:
    (first, trace), (again, same) = (play(**drawn(seed), policy=Sloping()) for _ in range(2))
    assert first.trajectory_hash == again.trajectory_hash
    assert trace == same
