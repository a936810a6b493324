"""The scene: arena, robot, and slots for objects, whose shape, colour and size are rewritten without recompiling."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.arena import PLAIN, STILL, Arena, Scenery, add_arena, set_scenery, surface_velocity
from vlatency.sim.arm import arm_spec
from vlatency.sim.cameras import add_cameras
from vlatency.sim.names import HEIGHT, WIDTH

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.10, 0.25, 0.90),
    "yellow": (0.95, 0.85, 0.10),
    "magenta": (0.85, 0.15, 0.75),
    "cyan": (0.10, 0.80, 0.85),
}
DENSITY = 400.0
"""Density of the objects, that of light wood [kg/m^3]."""


@dataclass(frozen=True)
class Shape:
    """A primitive that the gripper can grasp.

    Attributes:
        geom: its MuJoCo geom type.
        size: half extents at scale 1 [m], with MuJoCo's meaning for that type.
        half_height: half its height at scale 1 when it lies on the table [m].
        yaw_period: rotation about the vertical after which a parallel grasp is the same [rad]; 0 if any yaw will do.
    """

    geom: mujoco.mjtGeom
    size: tuple[float, float, float]
    half_height: float
    yaw_period: float


SHAPES: dict[str, Shape] = {
    "cube": Shape(mujoco.mjtGeom.mjGEOM_BOX, (0.020, 0.020, 0.020), 0.020, np.pi / 2),
    "cylinder": Shape(mujoco.mjtGeom.mjGEOM_CYLINDER, (0.020, 0.025, 0.0), 0.025, 0.0),
    "ball": Shape(mujoco.mjtGeom.mjGEOM_SPHERE, (0.022, 0.0, 0.0), 0.022, 0.0),
    "bar": Shape(mujoco.mjtGeom.mjGEOM_BOX, (0.030, 0.014, 0.017), 0.017, np.pi),
}


@dataclass(frozen=True)
class Thing:
    """One object of a layout: what it is and where it lies.

    Attributes:
        shape: a name in `SHAPES`.
        colour: a name in `COLOURS`.
        x: position on the table [m].
        y: position on the table [m].
        yaw: rotation about the vertical [rad].
        scale: size relative to that of the shape.
    """

    shape: str
    colour: str
    x: float
    y: float
    yaw: float
    scale: float = 1.0

    @property
    def half_height(self) -> float:
        """Half its height when it lies on the table [m]."""
        return SHAPES[self.shape].half_height * self.scale


class World:
    """The compiled scene and its state.

    Args:
        arena: What surrounds the objects, and how many there may be.
    """

    def __init__(self, arena: Arena = PLAIN) -> None:
        self.arena, self.slots = arena, (slots := arena.slots)
        self.model = _scene(arena).compile()
        self.data = mujoco.MjData(self.model)
        self.bodies = np.array([self.model.body(f"slot{i}").id for i in range(slots)])
        self.geoms = np.array([self.model.geom(f"slot{i}").id for i in range(slots)])
        self._qpos = np.array([self.model.joint(f"slot{i}").qposadr[0] for i in range(slots)])
        self._qvel = np.array([self.model.joint(f"slot{i}").dofadr[0] for i in range(slots)])
        self.things: tuple[Thing, ...] = ()
        self.scenery = STILL

    def lay_out(self, things: Sequence[Thing], scenery: Scenery = STILL) -> None:
        """Place the objects, at rest or carried by the surface, and move unused slots out of sight.

        The caller must compute the kinematics afterwards (`mj_forward`).

        Raises:
            ValueError: There are more objects than slots, or the arena does not have what the scenery needs.
        """
        if len(things) > self.slots:
            raise ValueError(f"{len(things)} objects do not fit into {self.slots} slots")
        self.configure(things, scenery)
        riding = self.surface_velocity(np.array([[thing.x, thing.y, 0.0] for thing in things]).reshape(-1, 3))
        for slot in range(self.slots):
            thing = things[slot] if slot < len(things) else None
            start = self._qpos[slot]
            if thing is None:
                pose = [-1.0 - 0.2 * slot, 0.0, -0.5, 1, 0, 0, 0]
            else:
                pose = [thing.x, thing.y, thing.half_height, np.cos(thing.yaw / 2), 0, 0, np.sin(thing.yaw / 2)]
            self.data.qpos[start : start + 7] = pose
            self.data.qvel[self._qvel[slot] : self._qvel[slot] + 6] = 0 if thing is None else riding[slot]

    def configure(self, things: Sequence[Thing], scenery: Scenery = STILL) -> None:
        """Rewrite the shape, size, mass and colour of the slots, and the scenery. Poses stay."""
        model = self.model
        self.things, self.scenery = tuple(things), scenery
        target = [things[0].x, things[0].y, things[0].half_height] if things else [0.5, 0.0, 0.0]
        set_scenery(model, self.arena, scenery, np.array(target))
        for slot, (body, geom) in enumerate(zip(self.bodies, self.geoms, strict=True)):
            used = slot < len(things)
            # An unused slot has no contacts and no weight, and is invisible.
            model.geom_contype[geom] = model.geom_conaffinity[geom] = int(used)
            model.body_gravcomp[body] = 0.0 if used else 1.0
            model.geom_rgba[geom, 3] = float(used)
            if used:
                self._shape_slot(int(body), int(geom), things[slot])
        # Constants that depend on the masses, such as the inverse weights that scale the softness of contacts.
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def _shape_slot(self, body: int, geom: int, thing: Thing) -> None:
        model, shape = self.model, SHAPES[thing.shape]
        size = np.array(shape.size) * thing.scale
        model.geom_type[geom] = shape.geom
        model.geom_size[geom] = size
        model.geom_rgba[geom, :3] = COLOURS[thing.colour]
        # Without rolling friction a ball would never come to rest.
        model.geom_condim[geom] = 6 if thing.shape == "ball" else 4
        if shape.geom == mujoco.mjtGeom.mjGEOM_BOX:
            volume, radius = 8 * size.prod(), float(np.linalg.norm(size))
            moments = (
                np.array([size[1] ** 2 + size[2] ** 2, size[0] ** 2 + size[2] ** 2, size[0] ** 2 + size[1] ** 2]) / 3
            )
        elif shape.geom == mujoco.mjtGeom.mjGEOM_CYLINDER:
            volume, radius = 2 * np.pi * size[0] ** 2 * size[1], float(np.hypot(size[0], size[1]))
            across = size[0] ** 2 / 4 + size[1] ** 2 / 3
            moments = np.array([across, across, size[0] ** 2 / 2])
        else:
            volume, radius = 4 / 3 * np.pi * size[0] ** 3, float(size[0])
            moments = np.full(3, 0.4 * size[0] ** 2)
        model.geom_rbound[geom] = radius
        model.body_mass[body] = model.body_subtreemass[body] = DENSITY * volume
        model.body_inertia[body] = model.body_mass[body] * moments

    def positions(self) -> NDArray[np.float64]:
        """Centres (n, 3) of the objects [m]."""
        centres: NDArray[np.float64] = self.data.xpos[self.bodies[: len(self.things)]].copy()
        return centres

    def yaws(self) -> NDArray[np.float64]:
        """Rotations (n,) of the objects about the vertical [rad]."""
        matrices = self.data.xmat[self.bodies[: len(self.things)]]
        yaws: NDArray[np.float64] = np.arctan2(matrices[:, 3], matrices[:, 0])
        return yaws

    def velocities(self) -> NDArray[np.float64]:
        """Linear velocities (n, 3) of the objects [m/s]."""
        starts = self._qvel[: len(self.things)]
        velocities: NDArray[np.float64] = self.data.qvel[starts[:, None] + np.arange(3)]
        return velocities

    def spins(self) -> NDArray[np.float64]:
        """Angular velocities (n, 3) of the objects in the frame of the world [rad/s]."""
        starts = self._qvel[: len(self.things)]
        local = self.data.qvel[starts[:, None] + np.arange(3, 6)]
        rotations = self.data.xmat[self.bodies[: len(starts)]].reshape(-1, 3, 3)
        spins: NDArray[np.float64] = np.einsum("nij,nj->ni", rotations, local)
        return spins

    def surface_velocity(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Velocities (n, 6) of objects carried by the surface at `points` (n, 3) [m/s, rad/s]."""
        return surface_velocity(self.arena, self.scenery, points)


def _scene(arena: Arena) -> mujoco.MjSpec:
    spec = arm_spec()
    spec.modelname = "vlatency"
    # On a software renderer shadows cost more than everything else, and they darken the colours.
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.headlight.ambient = [0.55, 0.55, 0.55]
    spec.visual.headlight.diffuse = [0.30, 0.30, 0.30]
    spec.visual.headlight.specular = [0.05, 0.05, 0.05]
    spec.visual.map.znear = 0.01
    spec.visual.global_.offwidth, spec.visual.global_.offheight = WIDTH, HEIGHT
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[0.75, 0.79, 0.83], rgb2=[0.75, 0.79, 0.83], width=32, height=192,
    )  # fmt: skip
    world = spec.worldbody
    world.add_light(
        pos=[0.5, 0, 2], dir=[0, 0, -1], diffuse=[0.3, 0.3, 0.3], specular=[0, 0, 0], castshadow=False,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )  # fmt: skip
    add_arena(spec, arena)
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, pos=[0, 0, -0.8], size=[4, 4, 0.1],
        rgba=[0.35, 0.37, 0.40, 1], contype=0, conaffinity=0,
    )  # fmt: skip
    for slot in range(arena.slots):
        body = world.add_body(name=f"slot{slot}", gravcomp=1)
        body.add_freejoint(name=f"slot{slot}")
        # Compiled as the largest box, so that MuJoCo's bounding volumes contain every shape that is written in later.
        body.add_geom(
            name=f"slot{slot}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.05, 0.05, 0.05], density=DENSITY,
            friction=[1.0, 0.02, 0.001], condim=4, rgba=[1, 1, 1, 1],
        )  # fmt: skip
    add_cameras(spec)
    return spec
