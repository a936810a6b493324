"""The tasks, one row each: what is on the table, what happens, what the robot is told, how long it has."""

from dataclasses import dataclass
from typing import Literal

from vlatency.sim.errors import UsageError
from vlatency.sim.stage import BELT, TURNTABLE, Stage
from vlatency.sim.world import Thing

SUCCESS = "the target hangs between both fingers, 8 cm higher than it rested, at rest, for 0.5 s"


@dataclass(frozen=True)
class Area:
    """Where objects are laid.

    Attributes:
        x, y: least and greatest centre [m].
        spacing: between centres [m]; at 0.10 an open hand fits between any two objects.
        radius: around the middle of the area, no further out than this [m].
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
        name: as given to `--task`.
        randomizes: what is drawn for each episode, beside colours, shapes, places and yaws of the objects.
        exposes: which optimization the task is there to test.
        success: what counts as such.
        objects: fewest and most of them.
        time_limit_s: simulated time the robot has.
        area: where the objects are laid.
        scale: least and greatest size of an object, relative to `sim.world.SHAPES`.
        alike: fewest and most other objects of the target's colour, each of another shape.
        stage: what stands around the objects.
        speed: least and greatest, of the belt or of the turntable's rim [m/s].
        hidden: from how many fixed cameras a board hides the target, at least and at most.
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
    stage: Stage = Stage()
    speed: tuple[float, float] = (0.0, 0.0)
    hidden: tuple[int, int] = (0, 0)
    event: Literal["", "push", "switch"] = ""

    @property
    def moves(self) -> bool:
        """Whether objects ride on something."""
        return self.stage.surface in (BELT, TURNTABLE)


TASKS = {
    task.name: task
    for task in (
        Task(
            "static",
            randomizes="3 to 6 objects, each of its own colour",
            exposes="nothing moves: the reference every delay is compared with",
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
            stage=Stage(slots=10),
        ),
        Task(
            "occluded",
            randomizes="boards that hide the target from 2 or 3 of the cameras top, front, left, right",
            exposes="fewer views: the one that is left may be blind",
            objects=(3, 5),
            stage=Stage(boards=True),
            hidden=(2, 3),
        ),
        Task(
            "conveyor",
            randomizes="speed of the belt, 0.02 to 0.10 m/s, and its direction",
            exposes="latency: the target is gone by speed times feature age",
            objects=(3, 5),
            area=Area(y=(-0.17, 0.17)),
            stage=Stage(surface="belt"),
            speed=(0.02, 0.10),
        ),
        Task(
            "turntable",
            randomizes="speed of the rim, 0.02 to 0.10 m/s, and its direction",
            exposes="latency, on a path that no straight line extrapolates",
            objects=(3, 5),
            area=Area(x=(0.35, 0.71), y=(-0.18, 0.18), radius=0.18),
            stage=Stage(surface="turntable"),
            speed=(0.02, 0.10),
        ),
        Task(
            "disturbed",
            randomizes="a push of the target by 5 to 12 cm, its direction, and how near the hand is when it comes",
            exposes="stale features: what was seen before the push is wrong after it",
            objects=(3, 5),
            event="push",
        ),
        Task(
            "switched",
            randomizes="the object named instead of the first one, and how near the hand is when that happens",
            exposes="stale language: features encoded with the old instruction lead to the old object",
            success=f"after the switch, {SUCCESS}; the target is then the object named last",
            event="switch",
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


def check_speed(task: Task, speed: float | None) -> None:
    """UsageError unless `speed` is None, or one [m/s] that `task` can have."""
    if speed is None:
        return
    if not task.moves:
        names = ", ".join(row.name for row in TASKS.values() if row.moves)
        raise UsageError(f"nothing rides in task '{task.name}', so it has no speed; tasks with one are {names}")
    if not 0 <= speed <= MAX_SPEED_M_S:
        raise UsageError(f"speed must be 0 to {MAX_SPEED_M_S:g} m/s, not {speed:g}")


MAX_SPEED_M_S = 0.5


def instruct(thing: Thing) -> str:
    """What the robot is told to pick up `thing`."""
    return f"Pick up the {thing.colour} {thing.shape}"
