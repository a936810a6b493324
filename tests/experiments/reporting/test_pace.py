"""One function says what a control tick waits for, and what the clock recorded overrules it."""

from dataclasses import replace

import pytest

from tests.builders.studies import timed_cell
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Apart, Servers, Shared
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.evaluation.feature_ages import HISTOGRAM
from vlatency.experiments.reporting.candidates import Device, make_candidates
from vlatency.experiments.reporting.pace import high_ms, late_ticks, loop_ms


@pytest.mark.parametrize(
    ("mode", "servers", "robot", "ms"),
    [
        ("pause", Apart(), RobotTiming(), None),
        ("sync", Apart(), RobotTiming(), 160),
        ("sync", Shared(2.0), RobotTiming(camera_delay_ms=30, actuation_ms=20), 210),
        ("async", Apart(), RobotTiming(), 60),
        ("async", Apart(), RobotTiming(actuation_ms=20), 80),
        ("async", Shared(2.0), RobotTiming(), 120),
        ("async", Shared(5.0), RobotTiming(), 160),  # head and encode end together
        ("async", Shared(1.0), RobotTiming(), 60),
    ],
)
def test_what_a_tick_waits_for(mode: Mode, servers: Servers, robot: RobotTiming, ms: float | None) -> None:
    timing = Timing(actions=SETPOINTS, mode=mode, latency=FixedLatency(100, 60), servers=servers, robot=robot)
    assert loop_ms(timing, 100, 60) == ms
    assert mode == "pause" or high_ms(timing) == ms


def test_a_report_and_a_recommendation_state_the_same_pace_on_a_shared_gpu() -> None:
    # fixed:100,60 on one GPU: the report said 16.7 Hz and "keeps 10 Hz", the recommendation 8.3.
    result = timed_cell(
        Timing(actions=SETPOINTS, mode="async", latency=FixedLatency(100, 60), servers=Shared(2.0)), 4, 4
    )
    (candidate,) = make_candidates([result], Device("fixed:100,60", "shared"))
    assert result.rate_hz == candidate.rate_hz == pytest.approx(8.33, abs=0.01)
    assert result.keeps_up is candidate.keeps_up is False


def test_what_missed_201_of_600_ticks_does_not_keep_up_whatever_its_latencies_promise() -> None:
    timing = Timing(actions=SETPOINTS, mode="async", latency=FixedLatency(100, 60))
    assert timed_cell(timing, 4, 4).keeps_up is True
    missed = timed_cell(timing, 4, 4, ticks=150, missed=50, overruns=0)
    assert missed.keeps_up is False and missed.late == 196 and missed.overruled
    assert timed_cell(timing, 4, 4, ticks=150, missed=1, overruns=30).keeps_up is False
    assert timed_cell(replace(timing, mode="pause"), 4, 4, ticks=150, missed=50).keeps_up is None


def test_ticks_before_the_first_features_and_the_last_one_are_not_late() -> None:
    row = {"ticks": 40, "missed": 9, "overruns": 2, HISTOGRAM: [20, 12]}
    assert late_ticks([row]) == 2 and late_ticks([row, row | {"missed": 12}]) == 7
    assert late_ticks([{"mode": "pause"}]) == 0
