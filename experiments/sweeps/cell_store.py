"""Measured cells: one folder a setting and software, named by their hash, so that nothing is measured twice.

A cell is a setting of one mode; its folder is an ordinary run folder. Sweeps that ask for the same setting share it,
and rows that other software or another renderer gave lie in another folder.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vlatency.agent.realtime.reuse import Latest
from vlatency.agent.realtime.timing import Timing
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.run_folder import CONFIG, OtherSchema, RunFolder
from vlatency.experiments.evaluation.setting import Setting

Software = dict[str, Any]


def canonical(setting: Setting) -> Setting:
    """The setting without what its mode makes no use of: settings with equal episodes become equal."""
    timing = setting.timing
    if timing.mode == "pause":
        timing = Timing("pause", timing.control_hz, execution=timing.execution)
    elif timing.mode == "sync":
        timing = replace(timing, reuse=Latest())
    return replace(setting, timing=timing)


def open_cell(path: Path) -> RunFolder | None:
    """The cell in a folder; None if an older version of this program measured it. UsageError if it is damaged."""
    try:
        return RunFolder(path)
    except OtherSchema:
        return None


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
            describe: gives what config.json says of a cell that is new.
        """
        folder = self._folder(setting)
        if folder is None:
            path = self.path(setting)
            folder = RunFolder.create(path, describe() | {"episodes": episodes, "software": self.software})
            self._open[path] = folder
        folder.extend(episodes)
        folder.append(row)

    def _folder(self, setting: Setting) -> RunFolder | None:
        path = self.path(setting)
        if path not in self._open and (path / CONFIG).is_file():
            folder = RunFolder(path)
            folder.check_continues([setting], folder.config["episodes"])
            self._open[path] = folder
        return self._open.get(path)

    def elsewhere(self, setting: Setting) -> int:
        """Rows of this setting that other software gave: they are not used."""
        mine = self.path(setting)
        same = [cell for cell in self._all if cell.config.get("hash") == setting.hash]
        return sum(len(cell.rows) for cell in same if cell.path != mine)

    def seconds(self, setting: Setting) -> float | None:
        """Mean wall time of an episode [s], of the cells here that are most alike; None if there is none."""
        wanted = setting.as_json()
        for keys in (("task", "optimization"), ("optimization",), ()):
            alike = [
                cell
                for cell in self._all
                if setting.mode == cell.settings[0].mode
                and all(cell.config["settings"][0][key] == wanted[key] for key in keys)
            ]
            walls = [row["wall_s"] for cell in alike for row in cell.rows if "wall_s" in row]
            if walls:
                return float(sum(walls) / len(walls))
        return None

    @cached_property
    def _all(self) -> list[RunFolder]:
        """Every cell below the root, of any software, as it was at the first look."""
        found = [open_cell(path.parent) for path in sorted(self.root.glob(f"*/{CONFIG}"))]
        return [folder for folder in found if folder]
