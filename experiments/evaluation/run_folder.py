"""A run folder: config.json, episodes.jsonl, summary.json, summary.md, videos/, traces/; a sweep's has a sweep.json.

Rows are appended and flushed one by one, so that a run killed at any moment is continued without losing or repeating
one.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlatency.experiments.evaluation.setting import Setting, differences, name_of
from vlatency.experiments.shared.files import check_writable, write_text
from vlatency.sim.errors import UsageError

CONFIG, EPISODES, SWEEP, SUMMARY_JSON, SUMMARY_MD, VIDEOS, TRACES = (
    "config.json",
    "episodes.jsonl",
    "sweep.json",
    "summary.json",
    "summary.md",
    "videos",
    "traces",
)
Row = dict[str, Any]
SCHEMA = 2
"""Of config.json, summary.json and sweep.json. 1 had the modes of a run in one setting, and options as text."""


class RunFolder:
    """An existing run.

    Args:
        path: the folder; it holds a config.json.

    Raises:
        UsageError: it does not, or a file in it is damaged beyond a cut-off last row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.config: dict[str, Any] = json.loads((path / CONFIG).read_text(encoding="utf-8"))
            check_schema(path / CONFIG, self.config)
            self.settings = tuple(Setting.from_json(values) for values in self.config["settings"])
            self.config["episodes"] = int(self.config["episodes"])
        except FileNotFoundError:
            raise UsageError(f"{path} holds no run: it has no {CONFIG}") from None
        except UsageError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path / CONFIG} cannot be used ({error!r}); choose another --out") from None
        self.rows = self._read_rows()

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> "RunFolder":
        """Start a run in a new or empty folder.

        Raises:
            UsageError: the folder cannot be made or written to.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_text(path / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UsageError(f"cannot write to {path} ({error.strerror}); choose another --out") from None
        return cls(path)

    def check_continues(self, settings: Sequence[Setting], episodes: int) -> None:
        """UsageError, naming the fields, unless this run has the given settings and no more than `episodes` a mode."""
        fields = differences(*({"modes": [each.mode for each in both]} for both in (self.settings, settings)))
        for there, here in zip(self.settings, settings, strict=False):
            pair = there.as_json(), here.as_json()
            for values in pair:
                del values["timing"]["mode"]
            fields += [line for line in differences(*pair) if line not in fields]
        if fields:
            raise UsageError(
                f"{self.path} was run with another configuration: {', '.join(fields)}; "
                "give the same options, or leave --resume out to start a new run"
            )
        if episodes < self.config["episodes"]:
            asked = self.config["episodes"]
            raise UsageError(f"{self.path} has {asked} episodes a mode; --episodes can raise that, not lower it")

    def extend(self, episodes: int) -> None:
        """Ask for `episodes` episodes of each mode, no fewer than so far."""
        if episodes > self.config["episodes"]:
            self.config["episodes"] = episodes
            write_text(self.path / CONFIG, json.dumps(self.config, indent=2, ensure_ascii=False) + "\n")

    def append(self, row: Row) -> None:
        """Add one episode, on disk before this returns. OSError when it cannot be; no row is lost or cut by that."""
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        path = self.path / EPISODES
        try:
            with path.open("ab") as file:
                file.truncate(self._whole_bytes)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # the disk is full: Python does not say which file met it
            raise OSError(error.errno, error.strerror, str(path)) from None
        self._whole_bytes += len(line)
        self.rows.append(row)

    def rows_of(self, setting: Setting, episodes: int) -> list[Row]:
        """What is measured of the first `episodes` seeds of a setting, by seed."""
        last = setting.seed + episodes
        found = (row for row in self.rows if row["mode"] == setting.mode and row["seed"] < last)
        return sorted(found, key=lambda row: row["seed"])

    def _read_rows(self) -> list[Row]:
        path = self.path / EPISODES
        self._whole_bytes = 0
        if not path.is_file():
            return []
        data = path.read_bytes()
        whole, _, rest = data.rpartition(b"\n")
        # What follows the last line break is the row that was being written when the run was killed.
        self._whole_bytes = len(data) - len(rest)
        rows: list[Row] = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = json.loads(line)
                row["mode"], row["seed"], row["success"]
            except (ValueError, KeyError, TypeError):
                raise UsageError(f"{path} line {number} is no episode; mend or remove the line") from None
            rows.append(row)
        if len({(row["mode"], row["seed"]) for row in rows}) < len(rows):
            raise UsageError(f"{path} holds an episode twice; mend it or choose another --out")
        return rows


class OtherSchema(UsageError):
    """A file that another version of this program wrote."""


def check_schema(path: Path, content: dict[str, Any]) -> None:
    """OtherSchema unless the file says that it is of this version."""
    found = content.get("schema", 1)
    if found != SCHEMA:
        raise OtherSchema(f"{path} is of schema {found}, and this version reads {SCHEMA}; measure it again")


def find_run(
    out: Path | None, root: Path, settings: Sequence[Setting], episodes: int, resume: bool
) -> Path | RunFolder:
    """Where to write: the run to continue, or the path of one to create.

    Args:
        out: the folder the user named, if any.
        root: folder of the runs that the user gives no folder of their own; a number is appended to a name that is
            taken.
        settings: of the run that is about to start, one a mode.
        episodes: of each mode.
        resume: continue what is there.

    Raises:
        UsageError: there is something that may not be continued, or not be written to.
    """
    check_writable(out or root)
    if out is not None:
        if not out.exists() or not any(out.iterdir()):
            return out
        if not resume:
            raise UsageError(f"{out} is not empty; add --resume to continue its run, or choose another --out")
        return _continued(RunFolder(out), settings, episodes)

    name = name_of(settings)
    family = [root / name]
    while family[-1].exists():
        family.append(root / f"{name}-{len(family) + 1}")
    free = family.pop()
    if not resume:
        return free
    if family:
        return _continued(RunFolder(family[-1]), settings, episodes)
    # No run of this configuration: the newest one is probably meant, and an option differs.
    newest = max(root.glob(f"*/{CONFIG}"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is not None:
        RunFolder(newest.parent).check_continues(settings, episodes)
    raise UsageError(f"no run to resume: there is no {root / name}; leave --resume out to start it")


def _continued(run: RunFolder, settings: Sequence[Setting], episodes: int) -> RunFolder:
    run.check_continues(settings, episodes)
    return run
