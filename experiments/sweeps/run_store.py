"""The rows of a plan in one run folder; `cell_store.Cells` keeps them in a folder a cell."""

from collections.abc import Callable, Iterable
from typing import Any

from vlatency.experiments.evaluation.run_folder import Row, RunFolder
from vlatency.experiments.evaluation.setting import Setting


class RunStore:
    """A run folder as the store of its plan.

    Args:
        folder: an existing one, for at least as many episodes a mode as the plan asks for.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def rows(self, setting: Setting, episodes: int) -> list[Row]:
        """What is measured of the first `episodes` seeds of a setting's mode, by seed."""
        last = setting.seed + episodes
        found = [row for row in self.folder.rows if row["mode"] == setting.mode and row["seed"] < last]
        return sorted(found, key=lambda row: row["seed"])

    def rows_of(self, settings: Iterable[Setting], episodes: int) -> dict[Setting, list[Row]]:
        """The same of several settings."""
        return {setting: self.rows(setting, episodes) for setting in settings}

    def missing(self, setting: Setting, episodes: int) -> list[int]:
        """Seeds among the first `episodes` that have no row yet."""
        done = {row["seed"] for row in self.rows(setting, episodes)}
        return [seed for seed in range(setting.seed, setting.seed + episodes) if seed not in done]

    def append(self, setting: Setting, row: Row, episodes: int, describe: Callable[[], dict[str, Any]]) -> None:
        """Add a row, on disk before this returns. The folder was described when it was made."""
        self.folder.append(row)

    def config(self, setting: Setting) -> dict[str, Any]:
        """config.json of the run."""
        return self.folder.config
