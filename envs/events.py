"""What happens during an episode while the hand approaches: a push, or another instruction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlatency.sim.clock import NS_PER_S
from vlatency.sim.world import World

Floats = NDArray[np.float64]

PUSH_NS = 400_000_000
"""How long a push lasts."""
_TAU_S = 0.004
"""Time constant with which the push corrects the object's velocity."""
_GRAVITY_M_S2 = 9.81


@dataclass(frozen=True)
class Push:
    """A force drags the target along the table.

    Attributes:
        within_m: it starts when the end effector is this near to the target [m].
        heading: its direction, from x towards y [rad].
        distance_m: how far it drags [m].
    """

    within_m: float
    heading: float
    distance_m: float


@dataclass(frozen=True)
class Switch:
    """The robot is told to pick up something else.

    Attributes:
        within_m: when the end effector is this near to the target [m].
        to: number of the new target.
    """

    within_m: float
    to: int


Event = Push | Switch
"""Triggered by distance, not by time: it strikes during the approach however slowly the robot moves."""


def push_wrench(world: World, slot: int, push: Push, since_ns: int) -> Floats:
    """Force [N] and torque [N m] (6,) on an object `since_ns` after its push began; zero once the push is over.

    The object follows a half sine of velocity, held upright: a bare kick would topple cylinders and let balls roll off
    the table.
    """
    if since_ns >= PUSH_NS:
        return np.zeros(6)
    along = np.array([np.cos(push.heading), np.sin(push.heading), 0.0])
    phase = np.pi * since_ns / PUSH_NS
    wanted = push.distance_m * np.pi / 2 / (PUSH_NS / NS_PER_S) * np.sin(phase) * along
    body = world.bodies[slot]
    mass, turning = world.model.body_mass[body], world.model.body_inertia[body].max()
    velocity = world.velocities()[slot] * [1, 1, 0]
    friction = mass * _GRAVITY_M_S2 * along
    # Friction drags at the foot, the push at the centre: without this torque the object tips over.
    upright = np.cross([0.0, 0.0, -world.things[slot].half_height], friction)
    return np.concatenate(
        [mass * (wanted - velocity) / _TAU_S + friction, upright - turning * world.spins()[slot] / _TAU_S]
    )
