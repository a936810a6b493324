"""Several worlds render in one process without affecting each other."""

import subprocess
import sys

import numpy as np
import pytest

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
