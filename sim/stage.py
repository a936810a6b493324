"""What stands around the objects: a table, a belt or a turntable, and boards that hide things from cameras."""

from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.cameras import CAMERAS

TABLE, BELT, TURNTABLE = "table", "belt", "turntable"
BELT_HALF_M = (0.19, 0.60)
CENTRE_M = (0.53, 0.0)
"""Of the belt and of the turntable."""
RIM_M = 0.24
"""Radius of the turntable; its speed is told at the rim."""
_STEP_DOWN_M = 0.004
"""The table lies this much below a belt, so that the two are never touched at once."""


@dataclass(frozen=True)
class Stage:
    """What is compiled into a world and cannot change between episodes.

    Attributes:
        slots: how many objects a layout may hold.
        surface: what they stand on.
        boards: whether there are boards to hide things behind.
    """

    slots: int = 6
    surface: Literal["table", "belt", "turntable"] = "table"
    boards: bool = False


@dataclass(frozen=True)
class Scenery:
    """What changes between the episodes of one stage, apart from the objects.

    Attributes:
        speed: of the belt towards +y, or of the turntable's rim, counter-clockwise from above [m/s].
        hidden_from: cameras from which a board hides thing 0 where it was laid.
    """

    speed: float = 0.0
    hidden_from: tuple[str, ...] = ()


PLAIN, STILL = Stage(), Scenery()
"""Objects at rest on a table."""


@dataclass(frozen=True)
class Board:
    """A thin board across the line of sight from one camera, beyond the reach of the arm, so that nothing touches it.

    Attributes:
        axis: of the world, to which the board is perpendicular.
        at: where on this axis it stands [m].
        half: half extents [m].
    """

    axis: int
    at: float
    half: tuple[float, float, float]


BOARDS: dict[str, Board] = {
    "top": Board(2, 0.75, (0.030, 0.030, 0.003)),
    "front": Board(0, 0.86, (0.003, 0.05, 0.17)),
    "left": Board(1, 0.42, (0.05, 0.003, 0.17)),
    "right": Board(1, -0.42, (0.05, 0.003, 0.17)),
}
"""By the camera that a board blinds. The wrist camera goes where the hand goes: no board can stay in its way."""


def furnish(spec: mujoco.MjSpec, stage: Stage) -> None:
    """Add the table and what `stage` asks for."""
    moving = stage.surface != TABLE
    _add_slab(spec, "table", (0.4, 0.0), mujoco.mjtGeom.mjGEOM_BOX, [0.6, 0.6, 0.02], [0.62, 0.60, 0.57, 1],
              top=-_STEP_DOWN_M if moving else 0.0)  # fmt: skip
    if moving:
        belt = stage.surface == BELT
        shape = mujoco.mjtGeom.mjGEOM_BOX if belt else mujoco.mjtGeom.mjGEOM_CYLINDER
        size = [*BELT_HALF_M, 0.02] if belt else [RIM_M, 0.02, 0]
        _add_slab(spec, "surface", CENTRE_M, shape, size, [0.36, 0.38, 0.41, 1])
        # Not zero, or MuJoCo compiles surface velocities away; every layout overwrites it.
        spec.geom("surface").surfacevel = [0, 1, 0, 0, 0, 0]
    for camera, board in BOARDS.items() if stage.boards else ():
        spec.worldbody.add_geom(
            name=f"board_{camera}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=[0, 0, -2], size=board.half,
            rgba=[0.42, 0.31, 0.22, 1], contype=0, conaffinity=0,
        )  # fmt: skip


def _add_slab(
    spec: mujoco.MjSpec,
    name: str,
    centre: tuple[float, float],
    shape: mujoco.mjtGeom,
    size: list[float],
    rgba: list[float],
    top: float = 0.0,
) -> None:
    spec.worldbody.add_geom(
        name=name, type=shape, pos=[*centre, top - 0.02], size=size, rgba=rgba, friction=[1.0, 0.01, 0.001]
    )


def set_scenery(model: mujoco.MjModel, stage: Stage, scenery: Scenery, place: NDArray[np.float64]) -> None:
    """Rewrite a compiled world: surface velocity, and boards between `place` (3,) [m] and the cameras named.

    Raises:
        ValueError: the scenery asks for what the stage does not have.
    """
    if stage.surface == TABLE and scenery.speed:
        raise ValueError("a table does not move; a belt and a turntable do")
    if scenery.hidden_from and not stage.boards:
        raise ValueError("this stage has no boards")
    if stage.surface != TABLE:
        spin = scenery.speed / RIM_M
        model.geom_surfacevel[model.geom("surface").id] = (
            [0, scenery.speed, 0, 0, 0, 0] if stage.surface == BELT else [0, 0, 0, 0, 0, spin]
        )
    for camera, board in BOARDS.items() if stage.boards else ():
        geom = model.geom(f"board_{camera}")
        geom.rgba[3] = float(camera in scenery.hidden_from)
        geom.pos[:] = _across(board, place, np.array(CAMERAS[camera].position))


def _across(board: Board, place: NDArray[np.float64], eye: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre (3,) of the board where it crosses the line from `place` to `eye`; upright ones stand on the table."""
    point: NDArray[np.float64] = place + (eye - place) * (board.at - place[board.axis]) / (
        eye[board.axis] - place[board.axis]
    )
    if board.axis != 2:
        point[2] = board.half[2]
    return point


def surface_velocity(stage: Stage, scenery: Scenery, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Velocities (n, 6) of what rides the surface at `points` (n, 3): linear [m/s] and angular [rad/s]."""
    velocity = np.zeros((len(points), 6))
    if stage.surface == BELT:
        velocity[:, 1] = scenery.speed
    elif stage.surface == TURNTABLE:
        spin = scenery.speed / RIM_M
        velocity[:, 0], velocity[:, 1] = spin * (CENTRE_M[1] - points[:, 1]), spin * (points[:, 0] - CENTRE_M[0])
        velocity[:, 5] = spin
    return velocity
