"""Measured cells, each in a folder named by the hash of its setting and software, so that nothing is measured twice.

A cell's folder is an ordinary run folder of one mode. Sweeps that need the same setting share it. Other software or
another renderer means another folder.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vlatency.agent.realtime.reuse import Latest
from vlatency.agent.realtime.timing import Timing
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.run_folder import CONFIG, EPISODES, OtherSchema, RunFolder
from vlatency.experiments.evaluation.setting import Setting
from vlatency.sim.errors import UsageError

Software = dict[str, Any]


def canonical(setting: Setting) -> Setting:
    """The setting without the options that its mode ignores, so that settings with equal episodes are equal."""
    timing = setting.timing
    if timing.mode == "pause":
        timing = Timing(
            "pause", timing.control_hz, execution=timing.execution, stages=timing.stages, actions=timing.actions
        )
    elif timing.mode == "sync":
        timing = replace(timing, reuse=Latest())
    return replace(setting, timing=timing)


class Cells:
    """The cells below one folder, for one software. Write to them under `shared.files.locked` of that folder.

    Args:
        root: the folder; made when the first row comes.
        software: as of `provenance.software`.
    """

    def __init__(self, root: Path, software: Software) -> None:
        self.root, self.software = root, software
        self._open: dict[Path, RunFolder] = {}

    def path(self, setting: Setting) -> Path:
        """Where the rows of a cell are, or will be."""
        content = json.dumps([setting.hash, self.software], sort_keys=True)
        return self.root / hashlib.sha256(content.encode()).hexdigest()[:16]

    def rows(self, setting: Setting, episodes: int) -> list[Row]:
        """What is measured of the cell's first `episodes` seeds, by seed. UsageError if its folder is damaged."""
        folder = self._folder(setting)
        return folder.rows_of(setting, episodes) if folder else []

    def config(self, setting: Setting) -> dict[str, Any] | None:
        """config.json of a cell; None if it has no episode yet."""
        folder = self._folder(setting)
        return folder.config if folder else None

    def append(self, setting: Setting, row: Row, episodes: int, describe: Callable[[], dict[str, Any]]) -> None:
        """Add a row, on disk before this returns.

        Args:
            setting: of the cell.
            row: of a seed that is missing.
            episodes: how many the sweep wants.
            describe: gives the content of config.json if the cell is new.
        """
        folder = self._folder(setting)
        if folder is None:
            config = describe() | {"episodes": episodes, "software": self.software}
            folder = self._open[self.path(setting)] = RunFolder.create(self.path(setting), config)
        folder.extend(episodes)
        folder.append(row)

    def restore(self, setting: Setting, episodes: int, describe: Callable[[], dict[str, Any]]) -> None:
        """Keep the rows of a damaged cell, and what is damaged in other files.

        A config.json that is damaged or gone is written anew: the folder's name says whose rows they are.

        Args:
            setting: of the cell.
            episodes: how many the sweep wants.
            describe: gives the content of config.json.
        """
        path = self.path(setting)
        try:
            if (path / EPISODES).is_file():
                RunFolder(path).set_aside()
        except OtherSchema:
            raise
        except UsageError:
            with suppress(FileNotFoundError):
                (path / CONFIG).replace(path / "config.damaged")
            print(f"warning: {path / CONFIG} was damaged or gone, and is written anew", file=sys.stderr)
            RunFolder.create(path, describe() | {"episodes": episodes, "software": self.software}).set_aside()

    def _folder(self, setting: Setting) -> RunFolder | None:
        path = self.path(setting)
        if path not in self._open and (path / CONFIG).is_file():
            folder = RunFolder(path)
            folder.check_continues([setting], folder.config["episodes"])
            self._open[path] = folder
        return self._open.get(path)

    def elsewhere(self, setting: Setting) -> int:
        """Rows of this setting that were measured with other software, and are not used."""
        mine = self.path(setting)
        same = [cell for cell in self._all if cell.config.get("hash") == setting.hash]
        return sum(len(cell.rows) for cell in same if cell.path != mine)

    def seconds(self, setting: Setting) -> float | None:
        """Mean wall time of an episode [s] in the most similar cells; None if there are none of this mode."""
        wanted, cells = setting.as_json(), [cell for cell in self._all if cell.settings[0].mode == setting.mode]
        for keys in (("task", "optimization"), ("optimization",), ()):
            alike = [cell for cell in cells if all(cell.config["settings"][0][key] == wanted[key] for key in keys)]
            walls = [row["wall_s"] for cell in alike for row in cell.rows if "wall_s" in row]
            if walls:
                return float(sum(walls) / len(walls))
        return None

    @cached_property
    def _all(self) -> list[RunFolder]:
        """Every cell below the root that can be read, of any software, as read the first time."""
        found = []
        for config in sorted(self.root.glob(f"*/{CONFIG}")):
            with suppress(UsageError):  # of an older schema, or damaged: then a sweep that needs it says so
                found.append(RunFolder(config.parent))
        return found
