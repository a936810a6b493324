"""Progress bars, one a name, with the time that is left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bars:
    """Progress bars, one a name."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def add(self, name: str, total: int, done: int = 0) -> None:
        """A bar that stands at `done` of `total`."""
        self._tasks[name] = self._progress.add_task(name, total=total, completed=done, start=False)
        self._start_next()

    def advance(self, name: str) -> None:
        """One more is done."""
        self._progress.advance(self._tasks[name])
        self._start_next()

    def _start_next(self) -> None:
        """The time of a bar runs from when those above it are full."""
        for task in self._progress.tasks:
            if not task.started:
                self._progress.start_task(task.id)
            if task.completed < (task.total or 0):
                break


@contextmanager
def bars() -> Iterator[Bars]:
    """Bars on standard output, until the block ends."""
    console = Console()
    columns = (
        TextColumn("{task.description:<6}"),
        BarColumn(bar_width=22),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, speed_estimate_period=600) as progress:
        yield Bars(progress)
