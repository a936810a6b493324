"""What makes up an episode: objects, scenery and events, all drawn at reset."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlatency.envs.events import Event, Push, Switch
from vlatency.envs.tasks import Area, Task
from vlatency.sim.arena import BELT, BOARDS, STILL, Scenery
from vlatency.sim.world import COLOURS, SHAPES, Thing

UPSTREAM_S, UPSTREAM_M = 2.5, 0.22
"""Objects on a belt start upstream, so that they pass the middle after this time, but at most this far upstream."""
TRIGGER_M = (0.08, 0.14)
"""Distance of the end effector at an event [m]: close enough for it to matter, too far for a grasp."""
PUSH_M = (0.05, 0.12)
"""Least and greatest distance of a push [m]."""
PUSH_CLEARANCE_M = 0.085
"""Distance from the path of a pushed object to the centres of the others [m], if the table has room for that."""
_TRIES = 64
_STUCK = 10_000
"""After so many rejected positions in a row the layout is started again."""


@dataclass(frozen=True)
class Script:
    """One episode before it starts. Object 0 is the target."""

    things: tuple[Thing, ...]
    scenery: Scenery = STILL
    event: Event | None = None


def draw_script(task: Task, rng: np.random.Generator, speed: float | None = None) -> Script:
    """Draw an episode of `task`.

    Args:
        task: The row of the task table.
        rng: The source of all randomness.
        speed: Replaces the drawn speed of belt or turntable [m/s]. Everything else stays as drawn.
    """
    # What `static` needs is drawn first, so that its episodes do not depend on what other tasks draw.
    things = _draw_things(task, rng)
    if task.alike[1]:
        things = _make_alike(things, int(rng.integers(task.alike[0], task.alike[1] + 1)), rng)
    scenery = STILL
    if task.moves:
        drawn, direction = float(rng.uniform(*task.speed)), float(rng.choice([-1.0, 1.0]))
        scenery = Scenery(speed=direction * (drawn if speed is None else speed))
        if task.arena.surface == BELT:
            upstream = -direction * min(abs(scenery.speed) * UPSTREAM_S, UPSTREAM_M)
            things = tuple(replace(thing, y=thing.y + upstream) for thing in things)
    if task.hidden[1]:
        count = int(rng.integers(task.hidden[0], task.hidden[1] + 1))
        scenery = Scenery(hidden_from=tuple(str(name) for name in rng.choice(list(BOARDS), count, replace=False)))
    return Script(things, scenery, _draw_event(task, things, rng))


def _draw_things(task: Task, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Objects of any shape, apart from each other, in different colours as far as there are enough."""
    count = int(rng.integers(task.objects[0], task.objects[1] + 1))
    colours = np.resize(rng.permutation(list(COLOURS)), count)
    places = _draw_places(task.area, count, rng)
    return tuple(
        Thing(
            shape=str(rng.choice(list(SHAPES))),
            colour=str(colour),
            x=float(place[0]),
            y=float(place[1]),
            yaw=float(rng.uniform(-np.pi, np.pi)),
            scale=float(rng.uniform(*task.scale)),
        )
        for colour, place in zip(colours, places, strict=True)
    )


def _draw_places(area: Area, count: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    corners = np.transpose([area.x, area.y])
    places: list[NDArray[np.float64]] = []
    refused = 0
    while len(places) < count:
        place = rng.uniform(*corners)
        apart = all(np.linalg.norm(place - other) >= area.spacing for other in places)
        if apart and np.linalg.norm(place - corners.mean(axis=0)) <= area.radius:
            places.append(place)
            refused = 0
        elif (refused := refused + 1) == _STUCK:
            places, refused = [], 0
    return places


def _make_alike(things: tuple[Thing, ...], alike: int, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Give objects 1 to `alike` the colour of the target and other shapes, so that no two objects are the same."""
    others = [colour for colour in dict.fromkeys(thing.colour for thing in things) if colour != things[0].colour]
    made = [things[0]]
    for number, thing in enumerate(things[1:], start=1):
        colour = things[0].colour if number <= alike else others[(number - alike - 1) % len(others)]
        taken = {other.shape for other in made if other.colour == colour}
        free = [shape for shape in SHAPES if shape not in taken]
        shape = str(rng.choice(free)) if thing.shape in taken else thing.shape
        made.append(replace(thing, colour=colour, shape=shape))
    return tuple(made)


def _draw_event(task: Task, things: tuple[Thing, ...], rng: np.random.Generator) -> Event | None:
    if not task.event:
        return None
    within = float(rng.uniform(*TRIGGER_M))
    if task.event == "switch":
        return Switch(within, int(rng.integers(1, len(things))))
    # The first of many pushes that avoids the other objects and stays on the table, or else the one with most room.
    pushes = [Push(within, float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(*PUSH_M))) for _ in range(_TRIES)]
    rooms = [_room(task.area, things, push) for push in pushes]
    return pushes[int(np.argmax(np.minimum(rooms, PUSH_CLEARANCE_M)))]


def _room(area: Area, things: tuple[Thing, ...], push: Push) -> float:
    """Least distance [m] from the path of object 0 to the centres of the others; negative if it leaves the area."""
    start = np.array([things[0].x, things[0].y])
    path = start + np.outer(np.linspace(0, push.distance_m, 7), [np.cos(push.heading), np.sin(push.heading)])
    low, high = np.transpose([area.x, area.y])
    outside = float(np.maximum(low - path[-1], path[-1] - high).max())
    others = np.array([[thing.x, thing.y] for thing in things[1:]])
    return -outside if outside > 0 else float(np.linalg.norm(path[:, None] - others, axis=-1).min())
