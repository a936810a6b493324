"""Several worlds look in one process without getting in each other's way."""

import subprocess
import sys

import numpy as np

from vlatency.sim.plant import ArmPlant
from vlatency.sim.world import Thing

POSE = np.array([0.45, 0.0, 0.35, 0.0])


def world(colour: str) -> ArmPlant:
    arm = ArmPlant(control_hz=10)
    arm.begin([Thing("cube", colour, 0.5, 0.0, 0.0)], POSE)
    return arm


def look(colour: str) -> ArmPlant:
    arm = world(colour)
    arm.eyes.look(arm.world.data, ["top"])
    return arm


def test_eyes_that_open_and_close_change_nothing_for_others() -> None:
    red, blue = world("red"), world("blue")
    alone = red.eyes.look(red.world.data, ["top"])["top"]
    other = blue.eyes.look(blue.world.data, ["top"])["top"]
    assert not np.array_equal(alone, other)
    red.eyes.look(red.world.data, ["top"])
    blue.close()
    assert np.array_equal(red.eyes.look(red.world.data, ["top"])["top"], alone)
    assert np.array_equal(blue.eyes.look(blue.world.data, ["top"])["top"], other)
    red.eyes.look(red.world.data, ["top"])
    del blue
    assert np.array_equal(red.eyes.look(red.world.data, ["top"])["top"], alone)
    red.close()


def test_a_process_that_leaves_its_eyes_open_ends_in_silence() -> None:
    code = "from tests.sim.test_cameras import look; worlds = [look('red'), look('blue')]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
