"""The laws of the clock hold for any combination of options."""

from itertools import pairwise

import pytest

from tests.builders.world import STEP_NS, Sloping, drawn, play
from vlatency.experiments.recording.perfetto import chrome_trace


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
