"""What surrounds the objects: a table, a conveyor belt or a turntable, and boards that block the view of cameras."""

from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.cameras import CAMERAS
from vlatency.sim.errors import UsageError

TABLE, BELT, TURNTABLE = "table", "belt", "turntable"
BELT_HALF_M = (0.19, 0.60)
CENTRE_M = (0.53, 0.0)
"""Centre of the belt and of the turntable."""
RIM_M = 0.24
"""Radius of the turntable. Its speed is given at the rim."""
_STEP_DOWN_M = 0.004
"""The table is this much lower than a belt or a turntable, so that no object touches both at once."""


@dataclass(frozen=True)
class Arena:
    """What is compiled into a world and cannot change between episodes.

    Attributes:
        slots: the greatest number of objects.
        surface: what the objects stand on.
        boards: whether there are boards that can block a camera's view.
    """

    slots: int = 6
    surface: Literal["table", "belt", "turntable"] = "table"
    boards: bool = False


@dataclass(frozen=True)
class Scenery:
    """What can change between episodes in one arena, apart from the objects.

    Attributes:
        speed: of the belt towards +y, or of the turntable's rim counter-clockwise seen from above [m/s].
        hidden_from: cameras that cannot see object 0 at its initial position, because a board is in the way.
    """

    speed: float = 0.0
    hidden_from: tuple[str, ...] = ()


PLAIN, STILL = Arena(), Scenery()
"""A table on which nothing moves."""


@dataclass(frozen=True)
class Board:
    """A thin board across the line of sight of one camera, out of the robot's reach, so that nothing touches it.

    Attributes:
        axis: the axis of the world that the board is perpendicular to.
        at: position on that axis [m].
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
"""By the camera whose view a board blocks. The wrist camera moves with the gripper, so no board can block it."""


def add_arena(spec: mujoco.MjSpec, arena: Arena) -> None:
    """Add the table and whatever else is in `arena`.

    Raises:
        UsageError: The installed MuJoCo cannot move a surface.
    """
    moving = arena.surface != TABLE
    if moving and not hasattr(mujoco.MjsGeom, "surfacevel"):
        raise UsageError(
            f"a {arena.surface} needs geoms with a surface velocity, which MuJoCo {mujoco.__version__} does not have; "
            "install mujoco 3.17, or choose a task on which nothing is carried along, such as static"
        )
    top = -_STEP_DOWN_M if moving else 0.0
    _add_slab(spec, "table", (0.4, 0.0, top), mujoco.mjtGeom.mjGEOM_BOX, [0.6, 0.6, 0.02], [0.62, 0.60, 0.57, 1])
    if moving:
        belt = arena.surface == BELT
        shape = mujoco.mjtGeom.mjGEOM_BOX if belt else mujoco.mjtGeom.mjGEOM_CYLINDER
        size = [*BELT_HALF_M, 0.02] if belt else [RIM_M, 0.02, 0]
        _add_slab(spec, "surface", (*CENTRE_M, 0.0), shape, size, [0.36, 0.38, 0.41, 1])
        # With zero MuJoCo would compile surface velocities away. Every layout overwrites this one.
        spec.geom("surface").surfacevel = [0, 1, 0, 0, 0, 0]
    for camera, board in BOARDS.items() if arena.boards else ():
        spec.worldbody.add_geom(
            name=f"board_{camera}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=[0, 0, -2], size=board.half,
            rgba=[0.42, 0.31, 0.22, 1], contype=0, conaffinity=0,
        )  # fmt: skip


def _add_slab(
    spec: mujoco.MjSpec,
    name: str,
    top: tuple[float, float, float],
    shape: mujoco.mjtGeom,
    size: list[float],
    rgba: list[float],
) -> None:
    """Add a slab 4 cm thick, the centre of whose upper side is at `top` [m]."""
    x, y, z = top
    spec.worldbody.add_geom(
        name=name, type=shape, pos=[x, y, z - 0.02], size=size, rgba=rgba, friction=[1.0, 0.01, 0.001]
    )


def set_scenery(model: mujoco.MjModel, arena: Arena, scenery: Scenery, target: NDArray[np.float64]) -> None:
    """Write `scenery` into a compiled world: surface velocity, and boards between the cameras and `target` (3,) [m].

    Raises:
        ValueError: The arena has nothing that moves, or no boards, and the scenery needs it.
    """
    if arena.surface == TABLE and scenery.speed:
        raise ValueError("a table does not move; use a belt or a turntable")
    if scenery.hidden_from and not arena.boards:
        raise ValueError("this arena has no boards")
    if arena.surface != TABLE:
        spin = scenery.speed / RIM_M
        model.geom_surfacevel[model.geom("surface").id] = (
            [0, scenery.speed, 0, 0, 0, 0] if arena.surface == BELT else [0, 0, 0, 0, 0, spin]
        )
    for camera, board in BOARDS.items() if arena.boards else ():
        geom = model.geom(f"board_{camera}")
        geom.rgba[3] = float(camera in scenery.hidden_from)
        geom.pos[:] = _across(board, target, np.array(CAMERAS[camera].position))


def _across(board: Board, target: NDArray[np.float64], camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre (3,) of the board where it crosses the line from `target` to `camera`. Upright ones stand on the table."""
    axis = board.axis
    distance, whole = board.at - target[axis], camera[axis] - target[axis]
    point: NDArray[np.float64] = target + (camera - target) * distance / whole
    if axis != 2:
        point[2] = board.half[2]
    return point


def surface_velocity(arena: Arena, scenery: Scenery, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Velocities (n, 6) of objects carried by the surface at `points` (n, 3): linear [m/s] and angular [rad/s]."""
    velocity = np.zeros((len(points), 6))
    if arena.surface == BELT:
        velocity[:, 1] = scenery.speed
    elif arena.surface == TURNTABLE:
        spin = scenery.speed / RIM_M
        velocity[:, 0], velocity[:, 1] = spin * (CENTRE_M[1] - points[:, 1]), spin * (points[:, 0] - CENTRE_M[0])
        velocity[:, 5] = spin
    return velocity
