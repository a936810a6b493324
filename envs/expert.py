"""A scripted expert with privileged state: it teaches, and shows that a task can be done. No policy sees its inputs.

It is a memoryless function of the present, vectorised over states, so that labels for any state, any instructed object
and the next steps can be computed after the fact (which makes DAgger free). It uses nothing that a camera or a sensor
could not show: it closes on distance, never on yaw, because an expert that waits for what its student cannot see
teaches hovering.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vlatency.envs.pick import PickEnv
from vlatency.sim.clock import CHUNK_STEP_NS, ns_to_s
from vlatency.sim.world import SHAPES, World

Floats = NDArray[np.float64]

HOVER_M = 0.12
"""Height above the table from which the hand descends."""
LIFT_M = 0.24
LOWEST_M = 0.020
"""The end effector stays this far above the table: the pads travel along the approach as they close."""
STEP_S = ns_to_s(CHUNK_STEP_NS)
"""From one set-point to the next."""
STEP_M = 0.045
"""Longest move in `STEP_S`."""
NEAR_M = 0.012
"""Closing starts when the end effector is this near the grasp point."""
HELD_RATE = 0.15
"""Fingers slower than this [1/s] while closed on an object are taken to hold it."""
LEAD_S = 0.12
"""How far ahead of a riding object the hand aims: one control period, and what the servos lag."""
ON_SURFACE_M = 0.01
"""An object less than this above its resting height rides what it stands on."""


@dataclass(frozen=True)
class Scene:
    """A batch of n privileged states.

    Attributes:
        ee: (n, 4) end effector x, y, z [m], yaw [rad].
        gripper: (n,) 0 open to 1 closed.
        gripper_rate: (n,) [1/s].
        target: (n, 3) centre of the instructed object [m].
        target_yaw: (n,) [rad]
        yaw_period: (n,) symmetry of the object about the vertical [rad]; 0 = any.
        velocity: (n, 3), or (3,) for all, with which belt or turntable carry the object [m/s]; 0 where unknown.
    """

    ee: Floats
    gripper: Floats
    gripper_rate: Floats
    target: Floats
    target_yaw: Floats
    yaw_period: Floats
    velocity: Floats = field(default_factory=lambda: np.zeros(3))


def look(env: PickEnv, thing: int | None = None) -> Scene:
    """The privileged state of `env` as a batch of one; `thing` is the instructed object, the target unless given."""
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
    """(n, 3) velocities [m/s] with which the world carries objects at `positions` (n, 3); 0 for what is in the air."""
    riding = positions[:, 2] < half_heights + ON_SURFACE_M
    return world.surface_velocity(positions)[:, :3] * riding[:, None]


def expert(scene: Scene) -> Floats:
    """Set-points (n, 5) for the next control period."""
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

    # A funnel: the further to the side, the higher. `lost` fingers open on the spot, rising.
    height = np.clip(grasp[:, 2] + 3.0 * np.maximum(sideways - NEAR_M / 2, 0.0), None, np.maximum(HOVER_M, grasp[:, 2]))
    goal = np.column_stack([grasp[:, :2], height])
    goal[lost] = position[lost] + [0.0, 0.0, 0.03]
    goal[closing] = grasp[closing]
    goal[holding] = np.column_stack([position[holding, :2], np.full(holding.sum(), LIFT_M)])
    move = goal - position
    length = np.linalg.norm(move, axis=1, keepdims=True)
    # Slow over the last centimetres, so that the hand is at rest when the fingers close.
    longest = np.where(holding[:, None], STEP_M, np.clip(0.6 * length, 0.0, STEP_M))
    goal = position + move * np.minimum(1.0, longest / np.maximum(length, 1e-9))
    goal += np.where((holding | lost)[:, None], 0.0, scene.velocity * LEAD_S)

    wanted = _nearest_yaw(scene.target_yaw, scene.yaw_period)
    # Turning is for the approach; near the object it would sweep it aside.
    turn = np.clip(wanted - yaw, -0.25, 0.25) * ~(closing | holding | lost)
    return np.column_stack([goal, yaw + turn, (closing | holding).astype(float)])


def _nearest_yaw(yaw: Floats, period: Floats) -> Floats:
    """The hand's yaw nearest to home that grasps the object across; 0 where any yaw will do."""
    safe = np.where(period > 0, period, 1.0)
    return np.where(period > 0, yaw - safe * np.round(yaw / safe), 0.0)


def chunk(scene: Scene, steps: int) -> Floats:
    """The expert's next set-points (n, steps, 5), rolled out on a hand that obeys exactly."""
    points = []
    for _ in range(steps):
        point = expert(scene)
        points.append(point)
        scene = _imagine(scene, point)
    return np.stack(points, axis=1)


def _imagine(scene: Scene, point: Floats) -> Scene:
    """One control period later: the hand is there, fingers moved at their speed, a held object moved along."""
    held = (scene.gripper > 0.25) & (point[:, 4] > 0.5) & (np.abs(scene.gripper_rate) < HELD_RATE)
    target = scene.target + np.where(held[:, None], point[:, :3] - scene.ee[:, :3], STEP_S * scene.velocity)
    # 2F-85 on an object of about 40 mm: fingers stop near 0.45, after about 0.2 s of travel.
    stop = np.where(point[:, 4] > 0.5, np.maximum(scene.gripper, 0.45), 0.0)
    gripper = scene.gripper + np.clip(stop - scene.gripper, -0.35, 0.35)
    rate = (gripper - scene.gripper) / STEP_S
    return replace(scene, ee=point[:, :4], gripper=gripper, gripper_rate=rate, target=target)
