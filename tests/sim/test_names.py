"""Every table that is keyed by a camera, a colour or a shape has the shared names, in their order."""

import subprocess
import sys

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.sim.arena import BOARDS
from vlatency.sim.cameras import CAMERAS
from vlatency.sim.names import CAMERA_ORDER, COLOUR_NAMES, SHAPE_NAMES, WRIST
from vlatency.sim.world import COLOURS, SHAPES


def test_the_tables_of_the_simulation_have_the_shared_names_in_their_order() -> None:
    assert tuple(CAMERAS) == CAMERA_ORDER
    assert tuple(COLOURS) == COLOUR_NAMES
    assert tuple(SHAPES) == SHAPE_NAMES


def test_a_board_can_stand_before_every_camera_but_the_one_that_moves() -> None:
    assert {*BOARDS, WRIST} == set(CAMERA_ORDER)


def test_the_policy_knows_the_names_of_the_simulation() -> None:
    config = PolicyConfig()
    assert (config.cameras, config.colours, config.shapes) == (CAMERA_ORDER, COLOUR_NAMES, SHAPE_NAMES)


def test_names_readings_and_options_load_neither_simulator_nor_model() -> None:
    code = """
import sys, vlatency.sim.clock, vlatency.sim.names, vlatency.sim.readings, vlatency.agent.optimization
print(sorted({"mujoco", "torch", "transformers", "gymnasium"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
