"""The tasks, one row each: what is on the table, what the robot is told, how long it has."""

from dataclasses import dataclass

import numpy as np

from sim.errors import UsageError
from sim.world import COLOURS, SHAPES, Thing

TABLE_X_M = (0.40, 0.66)
TABLE_Y_M = (-0.22, 0.22)
SPACING_M = 0.10
"""Between centres: an open hand fits between any two objects."""


@dataclass(frozen=True)
class Task:
    """One row of the task table.

    Attributes:
        name: as given to `--task`.
        objects: fewest and most objects on the table.
        time_limit_s: simulated time the robot has.
        exposes: which optimization the task is there to test.
    """

    name: str
    objects: tuple[int, int]
    time_limit_s: float
    exposes: str


TASKS = {
    task.name: task
    for task in (
        Task(
            "static",
            objects=(3, 6),
            time_limit_s=12.0,
            exposes="nothing moves: the reference every delay is compared with",
        ),
    )
}


def find_task(name: str) -> Task:
    """The row called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in TASKS:
        raise UsageError(f"unknown task '{name}'; tasks are {', '.join(TASKS)}")
    return TASKS[name]


def draw_layout(task: Task, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Objects of distinct colours, any shapes, apart from each other. Thing 0 is the target."""
    count = int(rng.integers(task.objects[0], task.objects[1] + 1))
    colours = rng.permutation(list(COLOURS))[:count]
    places: list[np.ndarray] = []
    while len(places) < count:
        place = rng.uniform(*np.transpose([TABLE_X_M, TABLE_Y_M]))
        if all(np.linalg.norm(place - other) >= SPACING_M for other in places):
            places.append(place)
    return tuple(
        Thing(
            shape=str(rng.choice(list(SHAPES))),
            colour=str(colour),
            x=float(place[0]),
            y=float(place[1]),
            yaw=float(rng.uniform(-np.pi, np.pi)),
            scale=float(rng.uniform(0.9, 1.1)),
        )
        for colour, place in zip(colours, places, strict=True)
    )


def instruct(thing: Thing) -> str:
    """What the robot is told to pick up `thing`."""
    return f"Pick up the {thing.colour} {thing.shape}"
