"""Several worlds render in one process without affecting each other, and images may be drawn later."""

import subprocess
import sys

import numpy as np
import pytest

from vlatency.sim.lazy_images import LazyImages
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.plant import ArmPlant
from vlatency.sim.world import Thing

POSE = np.array([0.45, 0.0, 0.35, 0.0])


def world(colour: str) -> ArmPlant:
    arm = ArmPlant(control_hz=10)
    arm.begin([Thing("cube", colour, 0.5, 0.0, 0.0)], POSE)
    return arm


def look(colour: str) -> ArmPlant:
    arm = world(colour)
    arm.renderer.render(arm.world.data, ["top"])
    return arm


@pytest.mark.gl
def test_a_renderer_that_opens_or_closes_changes_nothing_for_others() -> None:
    red, blue = world("red"), world("blue")
    alone = red.renderer.render(red.world.data, ["top"])["top"]
    other = blue.renderer.render(blue.world.data, ["top"])["top"]
    assert not np.array_equal(alone, other)
    red.renderer.render(red.world.data, ["top"])
    blue.close()
    assert np.array_equal(red.renderer.render(red.world.data, ["top"])["top"], alone)
    assert np.array_equal(blue.renderer.render(blue.world.data, ["top"])["top"], other)
    red.renderer.render(red.world.data, ["top"])
    del blue
    assert np.array_equal(red.renderer.render(red.world.data, ["top"])["top"], alone)
    red.close()


@pytest.mark.gl
def test_a_process_that_leaves_its_renderers_open_ends_in_silence() -> None:
    code = "from tests.sim.test_cameras import look; worlds = [look('red'), look('blue')]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.gl
def test_images_that_are_drawn_later_are_those_of_their_instant() -> None:
    arm = world("red")
    seen, exposed = [], []
    for number in range(6):
        arm.command([0.5, 0.1 * (-1) ** number, 0.05, 0.3, number % 2])
        for _ in range(60):
            arm.step()
        seen.append(arm.renderer.render(arm.world.data, CAMERA_ORDER))
        exposed.append(arm.capture(CAMERA_ORDER))
    path = arm.trajectory_hash
    for now, later in zip(reversed(seen), reversed(exposed), strict=True):
        assert all(np.array_equal(later[camera], now[camera]) for camera in CAMERA_ORDER)
    assert len({image["wrist"].tobytes() for image in seen}) == 6
    arm.step()
    assert arm.trajectory_hash != path
    arm.close()


@pytest.mark.gl
def test_what_somebody_still_holds_is_drawn_before_the_scene_changes() -> None:
    arm = world("red")
    red, held = arm.renderer.render(arm.world.data, ["top"])["top"], arm.capture(["top"])
    arm.begin([Thing("ball", "blue", 0.45, 0.1, 0.0)], POSE)
    assert not np.array_equal(arm.capture(["top"])["top"], red)
    assert np.array_equal(held["top"], red)
    arm.close()


@pytest.mark.gl
def test_what_nobody_holds_is_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = world("red")
    monkeypatch.setattr(arm.renderer, "render", None)
    held = arm.capture(CAMERA_ORDER)
    assert (list(held), len(held)) == (list(CAMERA_ORDER), 5)
    assert "top" in held
    assert "rear" not in held
    del held
    arm.begin([], POSE)
    with pytest.raises(KeyError):
        arm.capture(["rear"])


def test_an_image_is_drawn_once() -> None:
    drawn: list[str] = []

    def draw(camera: str) -> np.ndarray:
        drawn.append(camera)
        return np.zeros((1, 1, 3), np.uint8)

    images = LazyImages(("top", "wrist"), draw)
    assert images["wrist"] is images["wrist"]
    assert drawn == ["wrist"]
    assert set(dict(images)) == {"top", "wrist"}
    assert drawn == ["wrist", "top"]
    with pytest.raises(KeyError):
        images["front"]
