"""What is measured and compared: arms in places, each a cell."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlatency.experiments.evaluation.setting import Setting, name_of

AS_IS, LATE, WRONG = "", "late", "wrong"
"""Parts of a split: an arm itself, its timing with the reference's features, its features at the reference's timing."""

Place = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Cell:
    """One cell of the sweep's table.

    Attributes:
        place: the options that hold for all arms here, such as the task.
        arm: its name.
        part: AS_IS, LATE or WRONG.
        setting: what is measured; several cells of a sweep may have the same.
        policy: its folder.
    """

    place: Place
    arm: str
    part: str
    setting: Setting
    policy: str


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        name, about: for people.
        episodes: of each cell.
        looks: how often each comparison is looked at; 1: only at the end.
        arms: their names, the reference first.
        places: see `Cell`.
        cells: place by place, arm by arm.
        break_even: the option along which success falls and the threshold, if the sweep asks for that.
        left_out: further arms that cannot be measured, as nobody knows their latency, each with the reason.
    """

    name: str
    about: str
    episodes: int
    looks: int
    arms: tuple[str, ...]
    places: tuple[Place, ...]
    cells: tuple[Cell, ...]
    break_even: tuple[str, float] | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Of all cells, each once."""
        return tuple(dict.fromkeys(cell.setting for cell in self.cells))

    @property
    def hash(self) -> str:
        """SHA-256 of what the sweep measures and compares, apart from its name."""
        content = [(cell.place, cell.arm, cell.part, cell.setting.hash) for cell in self.cells]
        whole = json.dumps([content, self.episodes, self.looks, self.break_even])
        return hashlib.sha256(whole.encode()).hexdigest()

    @property
    def comparisons(self) -> int:
        """How many arms are compared with a reference."""
        return len(self.places) * (len(self.arms) - 1)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        cells = [
            {"place": dict(c.place), "arm": c.arm, "part": c.part, "policy": c.policy, "setting": c.setting.as_json()}
            for c in self.cells
        ]
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__ if name != "places"}, "cells": cells}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Plan":
        """The plan that `as_json` gave. KeyError, TypeError or ValueError if it is none."""
        cells = tuple(
            Cell(tuple(c["place"].items()), c["arm"], c["part"], Setting.from_json(c["setting"]), c["policy"])
            for c in values["cells"]
        )
        return cls(
            name=values["name"],
            about=values["about"],
            episodes=values["episodes"],
            looks=values["looks"],
            arms=tuple(values["arms"]),
            places=tuple(dict.fromkeys(cell.place for cell in cells)),
            cells=cells,
            break_even=tuple(values["break_even"]) if values["break_even"] else None,
            left_out=tuple((arm, reason) for arm, reason in values["left_out"]),
        )

    def cell(self, place: Place, arm: str, part: str = AS_IS) -> Cell | None:
        """The cell there, if the sweep has it."""
        found = (cell for cell in self.cells if (cell.place, cell.arm, cell.part) == (place, arm, part))
        return next(found, None)


def show(place: Place) -> str:
    """Such as "task conveyor, speed 0.05"."""
    return ", ".join(f"{name} {value}" for name, value in place) or "everywhere"


def run_plan(settings: Sequence[Setting], policy: str, episodes: int) -> Plan:
    """A run as a sweep of one place, whose arms are the modes; the first of them is the reference.

    Args:
        settings: one a mode.
        policy: its folder, or the source of a policy of others.
        episodes: of each mode.
    """
    first = settings[0]
    place: Place = (("env" if first.in_foreign_env else "task", first.task),)
    if first.speed is not None:
        place += (("speed", first.speed),)
    cells = tuple(Cell(place, setting.mode, AS_IS, setting, policy) for setting in settings)
    about = f"{show(place)}, in each mode"
    return Plan(name_of(settings), about, episodes, 1, tuple(cell.arm for cell in cells), (place,), cells)
