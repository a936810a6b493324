"""Laws of `stagger`, which encodes the static views in turn."""

from typing import Any

import numpy as np
import pytest

from tests.builders.world import Eventful, FakePlant, Jitter, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Latest, Stagger
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Shared
from vlatency.agent.realtime.trace import EpisodeTrace, Span
from vlatency.experiments.recording.perfetto import chrome_trace
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.names import CAMERA_ORDER, WRIST

ROBOTS = (
    RobotTiming(),
    RobotTiming(camera_delay_ms=33),
    RobotTiming(camera_hz=30, camera_delay_ms=120),
    RobotTiming(actuation_ms=40, late="drop"),
)
SUBSETS = (CAMERA_ORDER, CAMERA_ORDER[:2], ("wrist", "left", "front"), ("wrist",), ("top", "front"), ("top",))


class Keeping:
    """Its features are the time of each view and the instruction; its set-points depend on all of them."""

    def __init__(self) -> None:
        self.answers: list[tuple[Encode, dict[str, int]]] = []

    def encode(self, requests: list[Encode]) -> list[object]:
        for request in requests:
            before: Any = request.before
            kept = before[1] if before and before[0] == request.instruction else {}
            self.answers.append((request, kept | dict.fromkeys(request.images, request.t_ns)))
        return [(request.instruction, taken) for request, taken in self.answers[-len(requests) :]]

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        chunks = []
        for request in requests:
            features: Any = request.features
            taken = np.array(list(features[1].values()))
            readings: Any = request.readings
            assert request.age_ns == readings.t_ns - taken.max()
            chunks.append(np.tile([*np.sin(taken.sum() / 1e9 + np.arange(4)), readings.position], (8, 1)))
        return chunks


def encodes(trace: EpisodeTrace) -> list[Span]:
    return [span for span in trace.spans if span.name == "encode"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("robot", ROBOTS)
def test_a_single_turn_is_latest_bit_for_bit(robot: RobotTiming, seed: int) -> None:
    (plant, trace), (other, expected) = (
        play("async", Jitter(seed), reuse, 20, Eventful(), Keeping(), CAMERA_ORDER, robot=robot, servers=Shared(1.5))
        for reuse in (Stagger(1), Latest())
    )
    assert plant.trajectory_hash == other.trajectory_hash
    assert (trace, plant.rendered) == (expected, other.rendered)


def test_a_single_turn_without_latency_is_the_paused_world_bit_for_bit() -> None:
    plant, trace = play("async", Constant(0, 0), Stagger(1), policy=Keeping(), cameras=CAMERA_ORDER)
    paused, expected = play("pause", policy=Keeping(), cameras=CAMERA_ORDER)
    assert plant.trajectory_hash == paused.trajectory_hash
    assert (trace.ticks, trace.commands, trace.spans) == (expected.ticks, expected.commands, expected.spans)


@pytest.mark.parametrize("turns", [1, 2, 3, 6])
@pytest.mark.parametrize("cameras", SUBSETS, ids=len)
def test_the_wrist_view_is_in_every_encode_and_a_static_view_at_least_in_every_nth(
    cameras: tuple[str, ...], turns: int
) -> None:
    _, trace = play("async", Constant(40, 5), Stagger(turns), policy=Keeping(), cameras=cameras)
    looks = [span.views for span in encodes(trace)]
    assert looks[0] == cameras
    assert len(looks) > 20
    for camera in cameras:
        at = [number for number, views in enumerate(looks) if camera in views]
        assert max(np.diff(at)) <= (1 if camera == WRIST else turns)
    assert all(views == tuple(camera for camera in cameras if camera in views) != () for views in looks)
    if cameras == CAMERA_ORDER and turns > 1:  # the turns share the four static views evenly
        assert {len(views) for views in looks[1:]} <= {1, 1 + 4 // turns, 1 - -4 // turns}


@pytest.mark.parametrize("delay_ms", [0, 33])
def test_only_the_views_that_an_encode_needs_are_rendered(delay_ms: float) -> None:
    policy = Keeping()
    robot = RobotTiming(camera_delay_ms=delay_ms)
    plant, trace = play("async", Jitter(1), Stagger(), 10, Eventful(), policy, CAMERA_ORDER, robot=robot)
    needed = [(span.capture_ns, span.views) for span in encodes(trace)]
    assert list(zip(plant.captured, plant.rendered, strict=True))[: len(needed)] == needed
    assert len(plant.captured) <= len(needed) + 1  # the end may come between exposure and encode
    assert [tuple(request.images) for request, _ in policy.answers] == [views for _, views in needed]


def test_free_running_cameras_all_expose_and_an_encode_gets_the_views_that_are_due() -> None:
    policy = Keeping()
    robot = RobotTiming(camera_hz=30, camera_delay_ms=120)
    plant, trace = play("async", Constant(50, 5), Stagger(), 10, policy=policy, cameras=CAMERA_ORDER, robot=robot)
    assert set(plant.rendered) == {CAMERA_ORDER}
    assert [tuple(request.images) for request, _ in policy.answers] == [span.views for span in encodes(trace)]
    assert {len(span.views) for span in encodes(trace)[1:]} == {2, 3}


def test_a_new_instruction_makes_all_views_due_again() -> None:
    _, trace = play("async", Constant(150, 10), Stagger(), 10, Eventful(), Keeping(), CAMERA_ORDER)
    whole = [span.capture_ns for span in encodes(trace) if span.views == CAMERA_ORDER]
    first = next(span.capture_ns for span in encodes(trace) if span.capture_ns >= ms_to_ns(1290))
    assert whole == [0, first]


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_features_hold_views_of_the_ages_in_the_trace(robot: RobotTiming) -> None:
    policy = Keeping()
    _, trace = play("async", Jitter(2), Stagger(), 10, Eventful(), policy, CAMERA_ORDER, robot=robot)
    taken: dict[str, int] = {}
    known: list[tuple[int, dict[str, int]]] = []
    for span, (_, kept) in zip(encodes(trace), policy.answers, strict=True):
        taken = taken | dict.fromkeys(span.views, span.capture_ns)
        assert kept == taken
        known.append((span.end_ns, taken))
    assert any(tick.oldest_view_age_ns != tick.feature_age_ns for tick in trace.ticks)
    for tick in trace.ticks:
        usable = [views for end_ns, views in known if end_ns <= tick.t_ns]
        ages = [tick.t_ns - t_ns for t_ns in usable[-1].values()] if usable else []
        assert (tick.feature_age_ns, tick.oldest_view_age_ns) == (min(ages, default=None), max(ages, default=None))


def test_an_encode_is_charged_for_its_views_only() -> None:
    _, trace = play("async", Constant(300, 10), Stagger(2), plant=FakePlant(5), policy=Keeping(), cameras=CAMERA_ORDER)
    takes = [(len(span.views), (span.end_ns - span.start_ns) / 1e6) for span in encodes(trace)]
    assert set(takes) == {(5, 300), (3, 180)}


def test_a_chrome_trace_names_the_views_of_each_encode() -> None:
    _, trace = play("async", Constant(100, 10), Stagger(), policy=Keeping(), cameras=CAMERA_ORDER[:3])
    views = [event["args"]["views"] for event in chrome_trace(trace, {})["traceEvents"] if event["name"] == "encode"]
    assert views[:4] == ["top, wrist, front", "wrist, front", "wrist", "top, wrist"]
