"""What can happen while the gripper approaches the target: a push, or a new instruction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlatency.sim.clock import NS_PER_S
from vlatency.sim.world import World

Floats = NDArray[np.float64]

PUSH_NS = 400_000_000
"""Duration of a push."""
_TAU_S = 0.004
"""Time constant with which the push corrects the velocity of the object."""
_GRAVITY_M_S2 = 9.81


@dataclass(frozen=True)
class Push:
    """A force moves the target along the table.

    Attributes:
        within_m: it starts when the end effector is this close to the target [m].
        heading: its direction, measured from x towards y [rad].
        distance_m: how far it moves the target [m].
    """

    within_m: float
    heading: float
    distance_m: float


@dataclass(frozen=True)
class Switch:
    """The instruction changes to another object.

    Attributes:
        within_m: it happens when the end effector is this close to the target [m].
        to: number of the new target.
    """

    within_m: float
    to: int


Event = Push | Switch
"""Triggered by distance, not by time, so that it happens during the approach however slowly the robot moves."""


def push_wrench(world: World, slot: int, push: Push, since_ns: int) -> Floats:
    """Force and torque on an object during a push.

    They make the velocity follow half a sine, and hold the object upright. An impulse would topple cylinders and make
    balls roll off the table.

    Args:
        world: The world with the object in it.
        slot: Number of the object.
        push: The push.
        since_ns: Time since it began [ns].

    Returns:
        (6,) force [N] and torque [N m]; zeros when the push is over.
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
    # Friction acts at the bottom, the push at the centre. Without this torque the object would tip over.
    upright = np.cross([0.0, 0.0, -world.things[slot].half_height], friction)
    return np.concatenate(
        [mass * (wanted - velocity) / _TAU_S + friction, upright - turning * world.spins()[slot] / _TAU_S]
    )
