"""Laws of looks that are encoded when the head first reads them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.builders.world import Jitter, Scene, play
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.execution import OpenLoop, RollForward
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import OnEvent, Stagger
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.agent.vla.model.features import Features, ForwardPass
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.experiments.checks.laziness import Eager
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.lazy_images import LazyImages
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.readings import Readings

CAMERAS = CAMERA_ORDER[:2]
SMALL = Optimization(CAMERAS, 112, 112)
SETTINGS: dict[str, dict[str, Any]] = {
    "pause": {"mode": "pause"},
    "sync": {"mode": "sync", "latency": Constant(70, 11)},
    "events": {"latency": Constant(20, 11), "reuse": OnEvent(3)},
    "fast": {"latency": Constant(20, 11)},
    "irregular": {"latency": 1},
    "in turn": {"latency": Constant(20, 11), "reuse": Stagger(2)},
    "chunks": {"latency": Constant(70, 11), "execution": OpenLoop(3)},
    "expected poses": {"latency": 2, "execution": RollForward(2)},
    "free cameras": {"latency": Constant(20, 11), "robot": RobotTiming(30, 3.3, 33, 20, "drop")},
}
"""By default asynchronous; a number is the seed of random latencies."""
ALL_READ = ("pause", "sync", "events")


class LazyScene(Scene):
    """Its views are drawn when they are read."""

    def __init__(self, readings: Readings) -> None:
        super().__init__(readings, 1.6)
        self.drawn: list[tuple[int, str]] = []

    @property
    def instruction(self) -> str:  # type: ignore[override]
        return "Pick up the blue object" if self.now_ns < ms_to_ns(750) else "Pick up the red object"

    def capture(self, cameras: Sequence[str]) -> LazyImages:  # type: ignore[override]
        views, t_ns = super().capture(cameras), self.now_ns

        def draw(camera: str) -> np.ndarray:
            self.drawn.append((t_ns, camera))
            return views[camera]

        return LazyImages(cameras, draw)


class Counted(VLAPolicy):
    """Notes which views the encoder reads, and which looks the head reads."""

    def __init__(self, model: VLA) -> None:
        super().__init__(model, SMALL)
        self.read: list[tuple[str, ...]] = []
        self.needed: set[ForwardPass] = set()

    def _run(self, passes: Sequence[ForwardPass]) -> None:
        self.read += [each.cameras for each in passes]
        super()._run(passes)

    def act(self, requests: Sequence[Act]) -> list[np.ndarray]:
        for request in requests:
            assert isinstance(request.features, Features)
            looks = (request.features.newest, request.features.past)
            self.needed.update(forward for look in looks if look for forward, _ in look.sources)
        return super().act(requests)


def played(model: VLA, readings: Readings, setting: str, eager: bool) -> tuple[LazyScene, EpisodeTrace, Counted]:
    plant, policy, options = LazyScene(readings), Counted(model), {"mode": "async"} | SETTINGS[setting]
    if isinstance(seed := options.get("latency"), int):
        options["latency"] = Jitter(seed, vl_ms=60)
    _, trace = play(plant=plant, policy=Eager(policy) if eager else policy, cameras=CAMERAS, **options)
    return plant, trace, policy


@pytest.mark.parametrize("setting", SETTINGS)
def test_only_what_the_head_reads_is_drawn_and_encoded_and_nothing_else_changes(
    model: VLA, readings: Readings, setting: str
) -> None:
    (plant, trace, policy), (whole, expected, eager) = (
        played(model, readings, setting, each) for each in (False, True)
    )
    assert (plant.trajectory_hash, plant.log, trace) == (whole.trajectory_hash, whole.log, expected)
    looks = [span.views for span in trace.spans if span.name == "encode"]
    assert sorted(eager.read) == sorted(looks)
    assert len(policy.read) == len(policy.needed)
    assert sorted(camera for _, camera in plant.drawn) == sorted(camera for views in policy.read for camera in views)
    assert len(set(plant.drawn)) == len(plant.drawn)  # none twice
    assert (len(policy.read) == len(looks)) == (setting in ALL_READ), f"{len(policy.read)} of {len(looks)}"


def test_with_an_encode_of_a_fifth_of_a_control_period_four_of_five_are_never_computed(
    model: VLA, readings: Readings
) -> None:
    _, trace, policy = played(model, readings, "fast", eager=False)
    names = [span.name for span in trace.spans]
    assert (names.count("encode"), names.count("head")) == (80, 15)
    assert len(policy.read) == 15 + 2  # the first one under each of two instructions shows motion for 0.6 s


def test_what_is_wrong_with_an_image_is_said_when_it_is_read(
    model: VLA, request_of: Callable[..., Encode], readings: Readings
) -> None:
    policy, request = VLAPolicy(model), replace(request_of(0), deferrable=True)
    bad = {name: image.astype(np.float32) for name, image in request.images.items()}
    (features,) = policy.encode([replace(request, images=bad)])
    with pytest.raises(ValueError, match="uint8"):
        policy.act([Act(features, readings, 0)])
    with pytest.raises(ValueError, match="no image of camera"):  # that is known without an image
        policy.encode([replace(request, images={})])
