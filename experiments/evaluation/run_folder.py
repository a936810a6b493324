"""A run folder: config.json, episodes.jsonl, summary.json, summary.md, videos/, traces/; a sweep's has a sweep.json."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from vlatency.experiments.evaluation.rows_file import Row, RowsFile
from vlatency.experiments.evaluation.setting import Setting, differences, name_of
from vlatency.experiments.shared import checked_json
from vlatency.experiments.shared.files import check_writable, locked, write_text
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
SCHEMA = 3
"""Of config.json, summary.json and sweep.json. 1 had the modes of a run in one setting, and options as text; 2 knew
one environment and policies of two stages."""


class RunFolder:
    """An existing run.

    Args:
        path: the folder; it holds a config.json.

    Raises:
        UsageError: it does not, or that is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read()

    def _read(self) -> None:
        path = self.path
        try:
            self.config: dict[str, Any] = checked_json.loads((path / CONFIG).read_bytes())
            check_schema(path / CONFIG, self.config)
            self.settings = tuple(Setting.from_json(values) for values in self.config["settings"])
            self.config["episodes"] = int(self.config["episodes"])
        except FileNotFoundError:
            raise UsageError(f"{path} holds no run: it has no {CONFIG}") from None
        except UsageError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path / CONFIG} cannot be used ({error!r}); choose another --out") from None
        self._file = RowsFile(path / EPISODES)

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> "RunFolder":
        """Start a run in a new or empty folder.

        Raises:
            UsageError: the folder cannot be made or written to.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_text(path / CONFIG, checked_json.dumps(config, indent=2) + "\n")
        except OSError as error:
            raise UsageError(f"cannot write to {path} ({error.strerror}); choose another --out") from None
        return cls(path)

    @classmethod
    @contextmanager
    def start(cls, path: Path, config: dict[str, Any], numbered: bool) -> "Iterator[RunFolder]":
        """A new run, whose folder no other process can take or write to inside the block.

        Args:
            path: its folder.
            config: what config.json says.
            numbered: append the first number that is free if the name is taken.

        Raises:
            UsageError: the folder cannot be made or written to, or another process has started a run in it.
        """
        path = _claimed(path) if numbered else path
        with locked(path):
            if (path / CONFIG).exists():
                raise UsageError(f"another run has just been started in {path}; choose another --out")
            folder = cls.create(path, config)
            yield folder

    def check_continues(self, settings: Sequence[Setting], episodes: int) -> None:
        """UsageError, naming the fields, unless this run has the given settings and no more than `episodes` a mode."""
        fields = differences(*({"modes": [each.mode for each in both]} for both in (self.settings, settings)))
        for there, here in zip(self.settings, settings, strict=False):
            if there == here:  # by content: a server may have moved, a file may have another name
                continue
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
            write_text(self.path / CONFIG, checked_json.dumps(self.config, indent=2) + "\n")

    @property
    def rows(self) -> list[Row]:
        """All episodes there are."""
        return self._file.rows

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here, after reading what they wrote. UsageError if one is writing now."""
        with locked(self.path):
            self._read()
            self.set_aside()
            yield

    def set_aside(self) -> None:
        """Move what is no row of episodes.jsonl to another file; call it under the lock."""
        self._file.set_aside()

    def append(self, row: Row) -> None:
        """Add one episode, on disk before this returns; call it inside `locked`. Errors as of `RowsFile.append`."""
        self._file.append(row)

    def rows_of(self, setting: Setting, episodes: int) -> list[Row]:
        """What is measured of the first `episodes` seeds of a setting, by seed."""
        last = setting.seed + episodes
        found = (row for row in self.rows if row["mode"] == setting.mode and row["seed"] < last)
        return sorted(found, key=lambda row: row["seed"])


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
    """Where to write: the run to continue, or the folder of one to start.

    Args:
        out: the folder the user named, if any.
        root: where runs lie that the user gives no folder of their own.
        settings: of the run that is about to start, one a mode.
        episodes: of each mode.
        resume: continue what is there.

    Raises:
        UsageError: there is something that may not be continued, or not be written to.
    """
    check_writable(out or root)
    if out is not None:
        if not out.exists() or all(path.name == ".lock" or path.suffix == ".part" for path in out.iterdir()):
            return out  # new, or all that a run left that was killed before it began
        if not resume:
            raise UsageError(f"{out} is not empty; add --resume to continue its run, or choose another --out")
        return _continued(RunFolder(out), settings, episodes)

    first = root / name_of(settings)
    if not resume:
        return first
    if family := [path for path in takewhile(Path.exists, _numbered(first)) if (path / CONFIG).exists()]:
        return _continued(RunFolder(family[-1]), settings, episodes)
    # No run of this configuration: the newest one is probably meant, and an option differs.
    newest = max(root.glob(f"*/{CONFIG}"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is not None:
        RunFolder(newest.parent).check_continues(settings, episodes)
    raise UsageError(f"no run to resume: there is no {first}; leave --resume out to start it")


def _continued(run: RunFolder, settings: Sequence[Setting], episodes: int) -> RunFolder:
    run.check_continues(settings, episodes)
    return run


def _numbered(path: Path) -> Iterator[Path]:
    """NAME, NAME-2, NAME-3 and so on."""
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def _claimed(path: Path) -> Path:
    """The first of those that this process could make: two that start together get one each."""
    for free in _numbered(path):
        try:
            free.mkdir(parents=True)
            return free
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"cannot write to {free} ({error.strerror}); choose another --out") from None
    raise AssertionError("unreachable: numbers do not end")
