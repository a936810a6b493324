"""The tasks, one row each: objects, events, instruction, time limit."""

from dataclasses import dataclass
from typing import Literal

from vlatency.sim.arena import BELT, TURNTABLE, Arena
from vlatency.sim.errors import UsageError
from vlatency.sim.world import Thing

SUCCESS = "both fingers hold the target 8 cm above its resting height, at rest, for 0.5 s"


@dataclass(frozen=True)
class Area:
    """Where objects are placed.

    Attributes:
        x: least and greatest x of a centre [m].
        y: least and greatest y of a centre [m].
        spacing: least distance between two centres [m]; at 0.10 an open gripper fits between any two objects.
        radius: greatest distance of a centre from the middle of the area [m].
    """

    x: tuple[float, float] = (0.40, 0.66)
    y: tuple[float, float] = (-0.22, 0.22)
    spacing: float = 0.10
    radius: float = float("inf")


WHOLE_TABLE = Area()


@dataclass(frozen=True)
class Task:
    """One row of the task table.

    Attributes:
        name: the value of `--task`.
        randomizes: what is drawn for each episode besides the colours, shapes, positions and yaws of the objects.
        exposes: what the task is meant to reveal about an optimization.
        success: what counts as success.
        objects: least and greatest number of objects.
        time_limit_s: time limit in simulated seconds.
        area: where the objects are placed.
        scale: least and greatest size of an object, relative to `sim.world.SHAPES`.
        alike: least and greatest number of other objects of the target's colour, each of another shape.
        arena: what surrounds the objects.
        speed: least and greatest speed of the belt or of the turntable's rim [m/s].
        hidden: least and greatest number of fixed cameras from which a board hides the target.
        event: what happens during the approach.
    """

    name: str
    randomizes: str
    exposes: str
    success: str = SUCCESS
    objects: tuple[int, int] = (3, 6)
    time_limit_s: float = 12.0
    area: Area = WHOLE_TABLE
    scale: tuple[float, float] = (0.9, 1.1)
    alike: tuple[int, int] = (0, 0)
    arena: Arena = Arena()
    speed: tuple[float, float] = (0.0, 0.0)
    hidden: tuple[int, int] = (0, 0)
    event: Literal["", "push", "switch"] = ""

    @property
    def moves(self) -> bool:
        """Whether the surface carries the objects along."""
        return self.arena.surface in (BELT, TURNTABLE)


TASKS = {
    task.name: task
    for task in (
        Task(
            "static",
            randomizes="3 to 6 objects, each of its own colour",
            exposes="nothing moves: the reference for every delay",
        ),
        Task(
            "shape",
            randomizes="2 or 3 more objects of the target's colour, of other shapes",
            exposes="features too coarse to tell shapes: resolution, pooling, quantization",
            objects=(4, 6),
            alike=(2, 3),
        ),
        Task(
            "small",
            randomizes="cubes 20 to 24 mm wide, the other shapes in proportion",
            exposes="resolution: such a cube is 4 pixels wide in a 112x112 view from above",
            scale=(0.5, 0.6),
        ),
        Task(
            "clutter",
            randomizes="8 to 10 objects, 2 or 3 of them of the target's colour; no two alike in colour and shape",
            exposes="confusion of the target with others: resolution, pooling, smaller models",
            objects=(8, 10),
            area=Area(x=(0.36, 0.68), y=(-0.27, 0.27)),
            alike=(2, 3),
            arena=Arena(slots=10),
        ),
        Task(
            "occluded",
            randomizes="boards that hide the target from 2 or 3 of the cameras top, front, left, right",
            exposes="fewer views: the target may be hidden from those that are left",
            objects=(3, 5),
            arena=Arena(boards=True),
            hidden=(2, 3),
        ),
        Task(
            "conveyor",
            randomizes="speed of the belt, 0.02 to 0.10 m/s, and its direction",
            exposes="latency: the target has moved on by speed times feature age",
            objects=(3, 5),
            area=Area(y=(-0.17, 0.17)),
            arena=Arena(surface="belt"),
            speed=(0.02, 0.10),
        ),
        Task(
            "turntable",
            randomizes="speed of the rim, 0.02 to 0.10 m/s, and its direction",
            exposes="latency, on a path that a straight line does not extrapolate",
            objects=(3, 5),
            area=Area(x=(0.35, 0.71), y=(-0.18, 0.18), radius=0.18),
            arena=Arena(surface="turntable"),
            speed=(0.02, 0.10),
        ),
        Task(
            "disturbed",
            randomizes="a push of the target by 5 to 12 cm, its direction, and how close the gripper is at that moment",
            exposes="stale features: what was seen before the push is wrong after it",
            objects=(3, 5),
            event="push",
        ),
        Task(
            "switched",
            randomizes="the object that replaces the first one, and how close the gripper is at that moment",
            exposes="stale language: features of the old instruction lead to the old object",
            success=f"after the switch, {SUCCESS}; the target is the object named last",
            event="switch",
        ),
    )
}


def find_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        UsageError: There is none.
    """
    if name not in TASKS:
        raise UsageError(f"unknown task '{name}'; tasks are {', '.join(TASKS)}")
    return TASKS[name]


def check_speed(task: Task, speed: float | None) -> None:
    """Raise UsageError unless `speed` [m/s] is None or a speed that `task` can have."""
    if speed is None:
        return
    if not task.moves:
        names = ", ".join(row.name for row in TASKS.values() if row.moves)
        raise UsageError(f"nothing moves in task '{task.name}', so it has no speed; tasks with a speed are {names}")
    if not 0 <= speed <= MAX_SPEED_M_S:
        raise UsageError(f"speed must be 0 to {MAX_SPEED_M_S:g} m/s, not {speed:g}")


MAX_SPEED_M_S = 0.5


def instruct(thing: Thing) -> str:
    """The instruction to pick up `thing`."""
    return f"Pick up the {thing.colour} {thing.shape}"
