"""The scene: a stage, the arm, and slots whose object (shape, colour, size) is rewritten in place, never recompiled."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.arm import arm_spec
from vlatency.sim.cameras import add_cameras
from vlatency.sim.stage import PLAIN, STILL, Scenery, Stage, furnish, set_scenery, surface_velocity

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.10, 0.25, 0.90),
    "yellow": (0.95, 0.85, 0.10),
    "magenta": (0.85, 0.15, 0.75),
    "cyan": (0.10, 0.80, 0.85),
}
DENSITY = 400.0
"""Objects of light wood [kg/m^3]."""


@dataclass(frozen=True)
class Shape:
    """A graspable primitive.

    Attributes:
        geom: MuJoCo geom type.
        size: half extents [m] in MuJoCo's meaning for the type, at scale 1.
        half_height: of the object as it lies on the table [m], at scale 1.
        yaw_period: rotation about the vertical after which a parallel grasp is the same [rad]; 0 where any yaw will do.
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
        shape, colour: names in SHAPES and COLOURS.
        x, y: position on the table [m].
        yaw: about the vertical [rad].
        scale: of the shape's size.
    """

    shape: str
    colour: str
    x: float
    y: float
    yaw: float
    scale: float = 1.0

    @property
    def half_height(self) -> float:
        """Of the object as it lies on the table [m]."""
        return SHAPES[self.shape].half_height * self.scale


class World:
    """The compiled scene and its state.

    Args:
        stage: what stands around the objects, and how many there may be.
    """

    def __init__(self, stage: Stage = PLAIN) -> None:
        self.stage, self.slots = stage, (slots := stage.slots)
        self.model = _scene(stage).compile()
        self.data = mujoco.MjData(self.model)
        self.bodies = np.array([self.model.body(f"slot{i}").id for i in range(slots)])
        self.geoms = np.array([self.model.geom(f"slot{i}").id for i in range(slots)])
        self._qpos = np.array([self.model.joint(f"slot{i}").qposadr[0] for i in range(slots)])
        self._qvel = np.array([self.model.joint(f"slot{i}").dofadr[0] for i in range(slots)])
        self.things: tuple[Thing, ...] = ()
        self.scenery = STILL

    def lay_out(self, things: Sequence[Thing], scenery: Scenery = STILL) -> None:
        """Put `things` where they belong, at rest or riding, and unused slots out of sight. No kinematics yet.

        Raises:
            ValueError: more things than slots, or scenery that the stage does not have.
        """
        if len(things) > self.slots:
            raise ValueError(f"{len(things)} objects do not fit into {self.slots} slots")
        self.dress(things, scenery)
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

    def dress(self, things: Sequence[Thing], scenery: Scenery = STILL) -> None:
        """Rewrite shape, size, mass and colour of the slots, and the scenery; poses stay."""
        model = self.model
        self.things, self.scenery = tuple(things), scenery
        place = [things[0].x, things[0].y, things[0].half_height] if things else [0.5, 0.0, 0.0]
        set_scenery(model, self.stage, scenery, np.array(place))
        for slot, (body, geom) in enumerate(zip(self.bodies, self.geoms, strict=True)):
            used = slot < len(things)
            # An unused slot floats where it was parked: no contact, no weight, no picture.
            model.geom_contype[geom] = model.geom_conaffinity[geom] = int(used)
            model.body_gravcomp[body] = 0.0 if used else 1.0
            model.geom_rgba[geom, 3] = float(used)
            if used:
                self._shape_slot(int(body), int(geom), things[slot])
        # Derived constants (inverse weights that scale contact softness) follow the new masses.
        mujoco.mj_setConst(model, mujoco.MjData(model))

    def _shape_slot(self, body: int, geom: int, thing: Thing) -> None:
        model, shape = self.model, SHAPES[thing.shape]
        size = np.array(shape.size) * thing.scale
        model.geom_type[geom] = shape.geom
        model.geom_size[geom] = size
        model.geom_rgba[geom, :3] = COLOURS[thing.colour]
        # A ball needs rolling friction or it never comes to rest.
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
        """Centres (n, 3) [m] of the laid-out objects."""
        centres: NDArray[np.float64] = self.data.xpos[self.bodies[: len(self.things)]].copy()
        return centres

    def yaws(self) -> NDArray[np.float64]:
        """Yaw (n,) [rad] of the laid-out objects about the vertical."""
        matrices = self.data.xmat[self.bodies[: len(self.things)]]
        yaws: NDArray[np.float64] = np.arctan2(matrices[:, 3], matrices[:, 0])
        return yaws

    def velocities(self) -> NDArray[np.float64]:
        """Linear velocities (n, 3) [m/s] of the laid-out objects."""
        starts = self._qvel[: len(self.things)]
        velocities: NDArray[np.float64] = self.data.qvel[starts[:, None] + np.arange(3)]
        return velocities

    def spins(self) -> NDArray[np.float64]:
        """Angular velocities (n, 3) [rad/s] of the laid-out objects, in the world's frame."""
        starts = self._qvel[: len(self.things)]
        local = self.data.qvel[starts[:, None] + np.arange(3, 6)]
        rotations = self.data.xmat[self.bodies[: len(starts)]].reshape(-1, 3, 3)
        spins: NDArray[np.float64] = np.einsum("nij,nj->ni", rotations, local)
        return spins

    def surface_velocity(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Velocities (n, 6) [m/s, rad/s] of what rides the surface at `points` (n, 3)."""
        return surface_velocity(self.stage, self.scenery, points)


def _scene(stage: Stage) -> mujoco.MjSpec:
    spec = arm_spec()
    spec.modelname = "vlatency"
    # Shadows cost more than everything else on a software renderer, and darken the colours.
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.headlight.ambient = [0.55, 0.55, 0.55]
    spec.visual.headlight.diffuse = [0.30, 0.30, 0.30]
    spec.visual.headlight.specular = [0.05, 0.05, 0.05]
    spec.visual.map.znear = 0.01
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 720
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[0.75, 0.79, 0.83], rgb2=[0.75, 0.79, 0.83], width=32, height=192,
    )  # fmt: skip
    world = spec.worldbody
    world.add_light(
        pos=[0.5, 0, 2], dir=[0, 0, -1], diffuse=[0.3, 0.3, 0.3], specular=[0, 0, 0], castshadow=False,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )  # fmt: skip
    furnish(spec, stage)
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, pos=[0, 0, -0.8], size=[4, 4, 0.1],
        rgba=[0.35, 0.37, 0.40, 1], contype=0, conaffinity=0,
    )  # fmt: skip
    for slot in range(stage.slots):
        body = world.add_body(name=f"slot{slot}", gravcomp=1)
        body.add_freejoint(name=f"slot{slot}")
        # Compiled as the largest box, so that MuJoCo's bounding volumes hold for every shape written in later.
        body.add_geom(
            name=f"slot{slot}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.05, 0.05, 0.05], density=DENSITY,
            friction=[1.0, 0.02, 0.001], condim=4, rgba=[1, 1, 1, 1],
        )  # fmt: skip
    add_cameras(spec)
    return spec
