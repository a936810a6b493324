"""A scripted expert that knows the true state: it teaches policies, and shows that a task can be solved.

It is a function of the present state alone, and works on batches of states. So labels for any state, any instructed
object and the steps that follow can be computed afterwards, which makes DAgger free of charge. It decides by nothing
that cameras and sensors cannot show: it closes the fingers by distance and never by yaw, because a student of an expert
that waits for something invisible learns to hover.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vlatency.envs.pick import PickEnv
from vlatency.sim.clock import CHUNK_STEP_NS, ns_to_s
from vlatency.sim.world import SHAPES, World

Floats = NDArray[np.float64]

HOVER_M = 0.12
"""Height above the table from which the gripper descends [m]."""
LIFT_M = 0.24
LOWEST_M = 0.020
"""Least height of the end effector above the table [m]: while the fingers close, the pads move downwards."""
STEP_S = ns_to_s(CHUNK_STEP_NS)
"""Time from one set-point to the next."""
STEP_M = 0.045
"""Longest move in that time [m]."""
NEAR_M = 0.012
"""The fingers close when the end effector is this close to the grasp point [m]."""
HELD_RATE = 0.15
"""Fingers that are closed on an object and slower than this hold it [1/s]."""
LEAD_S = 0.12
"""How far ahead of a moving object the gripper aims: one control period, and the lag of the servos."""
ON_SURFACE_M = 0.01
"""An object less than this above its resting height is carried by the surface below it [m]."""


@dataclass(frozen=True)
class Scene:
    """A batch of n true states.

    Attributes:
        ee: (n, 4) end effector x, y, z [m], yaw [rad].
        gripper: (n,) 0 open to 1 closed.
        gripper_rate: (n,) [1/s].
        target: (n, 3) centre of the instructed object [m].
        target_yaw: (n,) [rad].
        yaw_period: (n,) symmetry of the object about the vertical [rad]; 0 if any yaw will do.
        velocity: (n, 3), or (3,) for all: velocity with which a belt or turntable carries the object [m/s].
    """

    ee: Floats
    gripper: Floats
    gripper_rate: Floats
    target: Floats
    target_yaw: Floats
    yaw_period: Floats
    velocity: Floats = field(default_factory=lambda: np.zeros(3))


def scene_of(env: PickEnv, thing: int | None = None) -> Scene:
    """The true state of `env` as a batch of one; the instructed object is number `thing`, or else the target."""
    thing = env.target_index if thing is None else thing
    world, readings, kind = env.arm.world, env.sensors(), env.things[thing]
    position = world.positions()[[thing]]
    return Scene(
        ee=readings.ee_pose[None],
        gripper=np.array([readings.gripper_pos]),
        gripper_rate=np.array([readings.gripper_vel]),
        target=position,
        target_yaw=world.yaws()[[thing]],
        yaw_period=np.array([SHAPES[kind.shape].yaw_period]),
        velocity=riding_velocity(world, position, np.array([kind.half_height])),
    )


def riding_velocity(world: World, positions: Floats, half_heights: Floats) -> Floats:
    """(n, 3) velocities [m/s] with which the surface carries objects at `positions` (n, 3); 0 for those in the air."""
    riding = positions[:, 2] < half_heights + ON_SURFACE_M
    return world.surface_velocity(positions)[:, :3] * riding[:, None]


def expert(scene: Scene) -> Floats:
    """Set-points (n, 5) for the next control period: x, y, z [m], yaw [rad], gripper 0 open or 1 closed."""
    position, yaw = scene.ee[:, :3], scene.ee[:, 3]
    grasp = scene.target.copy()
    grasp[:, 2] = np.maximum(grasp[:, 2], LOWEST_M)
    offset = grasp - position
    sideways = np.linalg.norm(offset[:, :2], axis=1)
    near = (sideways < NEAR_M) & (np.abs(offset[:, 2]) < NEAR_M)
    inside = (sideways < 2 * NEAR_M) & (np.abs(offset[:, 2]) < 2 * NEAR_M)
    closed = scene.gripper > 0.25
    holding = inside & closed & (np.abs(scene.gripper_rate) < HELD_RATE)
    closing = (near | (inside & closed)) & ~holding
    lost = closed & ~inside

    # A funnel: the further to the side, the higher. Fingers that lost the object open on the spot while rising.
    height = np.clip(grasp[:, 2] + 3.0 * np.maximum(sideways - NEAR_M / 2, 0.0), None, np.maximum(HOVER_M, grasp[:, 2]))
    goal = np.column_stack([grasp[:, :2], height])
    goal[lost] = position[lost] + [0.0, 0.0, 0.03]
    goal[closing] = grasp[closing]
    goal[holding] = np.column_stack([position[holding, :2], np.full(holding.sum(), LIFT_M)])
    move = goal - position
    length = np.linalg.norm(move, axis=1, keepdims=True)
    # Slow over the last centimetres, so that the gripper is at rest when the fingers close.
    longest = np.where(holding[:, None], STEP_M, np.clip(0.6 * length, 0.0, STEP_M))
    goal = position + move * np.minimum(1.0, longest / np.maximum(length, 1e-9))
    goal += np.where((holding | lost)[:, None], 0.0, scene.velocity * LEAD_S)

    wanted = _nearest_yaw(scene.target_yaw, scene.yaw_period)
    # It turns during the approach only. Near the object it would push it aside.
    turn = np.clip(wanted - yaw, -0.25, 0.25) * ~(closing | holding | lost)
    return np.column_stack([goal, yaw + turn, (closing | holding).astype(float)])


def _nearest_yaw(yaw: Floats, period: Floats) -> Floats:
    """The yaw nearest to 0 with which the gripper grasps the object squarely; 0 if any yaw will do."""
    safe = np.where(period > 0, period, 1.0)
    return np.where(period > 0, yaw - safe * np.round(yaw / safe), 0.0)


def chunk(scene: Scene, steps: int) -> Floats:
    """The expert's next set-points (n, steps, 5), for an end effector that follows them exactly."""
    points = []
    for _ in range(steps):
        point = expert(scene)
        points.append(point)
        scene = _imagine(scene, point)
    return np.stack(points, axis=1)


def _imagine(scene: Scene, point: Floats) -> Scene:
    """One control period later: the end effector is at `point`, fingers and a held object have moved."""
    held = (scene.gripper > 0.25) & (point[:, 4] > 0.5) & (np.abs(scene.gripper_rate) < HELD_RATE)
    target = scene.target + np.where(held[:, None], point[:, :3] - scene.ee[:, :3], STEP_S * scene.velocity)
    # On an object of about 40 mm the fingers of the 2F-85 stop near 0.45, after about 0.2 s.
    stop = np.where(point[:, 4] > 0.5, np.maximum(scene.gripper, 0.45), 0.0)
    gripper = scene.gripper + np.clip(stop - scene.gripper, -0.35, 0.35)
    rate = (gripper - scene.gripper) / STEP_S
    return replace(scene, ee=point[:, :4], gripper=gripper, gripper_rate=rate, target=target)
