"""Laws of features whose views were encoded at different times."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.builders.world import Scene, play
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Stagger
from vlatency.agent.vla.model.features import Features
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.sim.clock import NS_PER_S, ms_to_ns
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.readings import Readings

Requests = Callable[..., Encode]
CAMERAS = CAMERA_ORDER[:3]
SMALL = Optimization(CAMERAS, 112, 112)


def only(request: Encode, *cameras: str) -> Encode:
    return replace(request, images={camera: request.images[camera] for camera in cameras})


def later(request: Encode, before: Features, ms: float, x: float) -> Encode:
    """The request so much later, with the end effector at `x`."""
    hand = replace(request.readings, ee_pose=np.array([x, 0.1, 0.2, 0.3]))
    return replace(request, t_ns=before.newest.t_ns + ms_to_ns(ms), before=before, readings=hand)


def test_views_that_are_not_encoded_stay_as_they_were_and_grow_older(model: VLA, request_of: Requests) -> None:
    policy = VLAPolicy(model, SMALL)
    (first,) = policy.encode([request_of(0)])
    (second,) = policy.encode([later(only(request_of(1), "wrist"), first, 130, 0.4)])
    (third,) = policy.encode([later(only(request_of(2), "top", "wrist"), second, 70, 0.3)])
    assert np.array_equal(second.newest.views[[0, 2]], first.newest.views[[0, 2]])
    assert np.array_equal(third.newest.views[2], first.newest.views[2])
    (whole,) = policy.encode([request_of(2)])
    np.testing.assert_allclose(third.newest.views[:2], whole.newest.views[:2], atol=1e-5)
    assert np.abs(third.newest.views[:2] - first.newest.views[:2]).max() > 1e-2
    np.testing.assert_allclose(second.newest.lag_s, [0.13, 0, 0.13])
    np.testing.assert_allclose(third.newest.lag_s, [0, 0, 0.2])
    assert second.newest.ee_at_capture[:, 0].tolist() == [0.5, 0.4, 0.5]
    assert third.newest.ee_at_capture[:, 0].tolist() == [0.3, 0.3, 0.5]
    assert first.newest.lag_s.tolist() == [0, 0, 0]  # nothing is changed in place


@pytest.mark.parametrize("cameras", [("wrist",), ("left",), ()])
def test_under_another_instruction_all_views_are_needed(
    model: VLA, request_of: Requests, cameras: tuple[str, ...]
) -> None:
    policy = VLAPolicy(model, SMALL)
    (before,) = policy.encode([request_of(0)])
    with pytest.raises(ValueError, match="no image of camera 'top'"):
        policy.encode([later(only(request_of(1, "Pick up the blue ball"), *cameras), before, 100, 0.5)])
    if "wrist" not in cameras:  # none of the views that the policy is configured for
        with pytest.raises(ValueError, match="no image of camera 'top'"):
            policy.encode([later(only(request_of(1), *cameras), before, 100, 0.5)])


def test_views_in_one_sequence_are_all_needed(model: VLA, request_of: Requests) -> None:
    policy = VLAPolicy(model, replace(SMALL, encoding="joint"))
    (before,) = policy.encode([request_of(0)])
    with pytest.raises(ValueError, match="no image of camera 'top'"):
        policy.encode([later(only(request_of(1), "wrist"), before, 100, 0.5)])


def test_the_head_gets_the_age_of_each_view(model: VLA, request_of: Requests, readings: Readings) -> None:
    policy = VLAPolicy(model, SMALL)
    (features,) = policy.encode([request_of(0)])
    aged = replace(features, newest=replace(features.newest, lag_s=np.array([0.5, 0, 0.5])))
    fresh, old = policy.act([Act(features, readings, 0), Act(aged, readings, 0)])
    assert not np.array_equal(fresh, old)


class Recorded(VLAPolicy):
    """Keeps its answers."""

    def __init__(self, model: VLA, optimization: Optimization) -> None:
        super().__init__(model, optimization)
        self.answers: list[tuple[Encode, Features]] = []

    def encode(self, requests: Sequence[Encode]) -> list[Features]:
        answers = super().encode(requests)
        self.answers += zip(requests, answers, strict=True)
        return answers


def test_the_views_in_the_features_are_as_old_as_the_trace_says(model: VLA, readings: Readings) -> None:
    policy = Recorded(model, SMALL)
    plant = Scene(readings, 1.0)
    _, trace = play("async", Constant(90, 10), Stagger(2), 10, plant, policy, CAMERAS)
    spans = [span for span in trace.spans if span.name == "encode"]
    assert len(spans) == len(policy.answers) > 8
    taken: dict[str, int] = {}
    hand: dict[str, float] = {}
    for span, (request, features) in zip(spans, policy.answers, strict=True):
        taken |= dict.fromkeys(span.views, span.capture_ns)
        hand |= dict.fromkeys(span.views, request.readings.ee_pose[0])
        newest = features.newest
        told = {c: newest.t_ns - round(lag * NS_PER_S) for c, lag in zip(CAMERAS, newest.lag_s, strict=True)}
        assert told == taken
        assert newest.ee_at_capture[:, 0].tolist() == [hand[camera] for camera in CAMERAS]
    assert len(set(taken.values())) > 1
