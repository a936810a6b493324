"""A folder in which commands with made-up episodes run, and what must be true of it whatever happens to them."""

import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.faults.fake import FRAMES, typed
from vlatency.experiments.recording.video import check_frames

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.preload"])
Words = tuple[str, ...]
Row = tuple[str, str, int]
"""Folder, mode and seed."""


@dataclass(frozen=True)
class Work:
    """A command that is started again and again until it is done.

    Attributes:
        words: what is typed.
        results: glob of the folders that hold its summaries.
    """

    words: Words
    results: str

    @property
    def verb(self) -> str:
        """Such as run."""
        return self.words[0]


RUN = Work(
    (
        "run", "--mode", "pause,async", "--task", "conveyor", "--latency", "fixed:700,10", "--episodes", "8",
        "--videos", "1", "--trace", "--workers", "2", "--out", "X", "--resume",
    ),
    "X",
)  # fmt: skip
SWEEP = Work(("sweep", "smoke", "--episodes", "4", "--workers", "2"), "runs/sweep-*")
WORKS = (RUN, SWEEP)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """What it said last on stderr."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""

    def check(self) -> "Ended":
        """AssertionError unless it succeeded, or failed in one line with status 2."""
        assert self.status in (0, 2), self
        assert "Traceback" not in self.err, self
        assert (self.status == 2) == self.last.startswith("error: "), self
        return self


@dataclass(frozen=True)
class Ending:
    """What a command leaves behind when it is done.

    Attributes:
        table: summary.md without commands.
        summary: summary.json without commands.
        rows: all episodes, by folder, mode and seed.
        films: names of the films.
    """

    table: list[str]
    summary: Any
    rows: dict[Row, Any]
    films: set[str]


class Command:
    """A command that has been started; see `fake.typed`."""

    def __init__(self, words: Words, folder: Path, limit: int | None) -> None:
        (self._out, out), (self._err, err) = _CONTEXT.Pipe(duplex=False), _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=typed, args=(words, folder, limit, out, err))
        self._process.start()
        out.close()
        err.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still does."""
        return self._process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def ended(self) -> Ended:
        """Wait for its end, that of a killed command included."""
        self._process.join(300)
        assert self._process.exitcode is not None, "it hangs"
        return Ended(self._process.exitcode, _read(self._out), _read(self._err))


def _read(pipe: Connection) -> str:
    """What a command has written that has ended; its workers may live on for a moment."""
    with open(os.dup(pipe.fileno()), "rb") as file:
        pipe.close()
        return file.read().decode()


class Store:
    """A folder of its own.

    Args:
        folder: exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, words: Words, limit: int | None = None) -> "Command":
        """Start a command. With a limit, no file that it writes can become longer than that many bytes."""
        return Command(words, self.folder, limit)

    def run(self, words: Words, limit: int | None = None) -> Ended:
        """Run a command to its end."""
        return self.start(words, limit).ended()

    def rows(self, once: bool = True) -> dict[Row, Any]:
        """All whole rows on disk, the first of each. AssertionError if one is there twice, unless that is expected."""
        found: dict[Row, Any] = {}
        for path in sorted(self.folder.rglob("episodes.jsonl")):
            for line in path.read_bytes().split(b"\n")[:-1]:
                try:
                    row = json.loads(line)
                    key = (str(path.parent.relative_to(self.folder)), row["mode"], row["seed"])
                except (ValueError, KeyError, TypeError):
                    continue
                assert key not in found or not once, f"{key} is there twice"
                found.setdefault(key, row)
        return found

    @property
    def episodes(self) -> int:
        """How many lines of rows there are."""
        return sum(path.read_bytes().count(b"\n") for path in self.folder.rglob("episodes.jsonl"))

    def ending(self, work: Work) -> Ending:
        """What `work` left. AssertionError if a film is not whole."""
        (folder,) = self.folder.glob(work.results)
        lines = (folder / "summary.md").read_text().splitlines()
        summary = json.loads((folder / "summary.json").read_text(), object_hook=_without_command)
        films = set()
        for film in self.folder.rglob("*.mp4"):
            if not film.name.startswith("."):
                check_frames(film, FRAMES)
                films.add(str(film.relative_to(self.folder)))
        return Ending([line for line in lines if "experiments/" not in line], summary, self.rows(), films)

    def finish(self, work: Work) -> Ending:
        """Run `work` to its end, undisturbed."""
        done = self.run(work.words).check()
        assert done.status == 0, done
        return self.ending(work)


def _without_command(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "command"}


@cache
def whole(work: Work) -> tuple[Ending, float]:
    """What `work` leaves if nothing happens to it, and how long that takes [s]."""
    with TemporaryDirectory() as name:
        Store(Path(name)).run(("report",))  # the first command waits for the imports
        started = time.monotonic()
        ending = Store(Path(name)).finish(work)
        return ending, time.monotonic() - started


def check_kept(before: dict[Row, Any], store: Store) -> dict[Row, Any]:
    """The rows there are now. AssertionError if one of those before is not among them as it was."""
    now = store.rows()
    lost = [key for key, row in before.items() if now.get(key) != row]
    assert not lost, f"lost or changed: {lost}"
    return now
