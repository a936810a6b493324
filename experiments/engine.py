"""Worker processes: jobs go out to whoever is free, results come back in order."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Self, TypeVar

from experiments.cli import RunError

J = TypeVar("J")
R = TypeVar("R")

SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "0", "TOKENIZERS_PARALLELISM": "false"}
"""One thread a worker: they do not compete, and sums are added in one order however many workers there are."""


class Workers:
    """Spawned processes, started when first needed and gone when this one is, however it ends.

    OpenGL contexts do not survive a fork, so workers are spawned: they import, open and load what they need themselves.

    Args:
        count: at most so many processes.
    """

    def __init__(self, count: int) -> None:
        os.environ.update(SINGLE_THREADED)
        self._pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_prepare)

    def call(self, function: Callable[[J], R], job: J) -> R:
        """The result of one job; errors as in `map`."""
        return next(self.map(function, [job]))

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """The results in the order of the jobs, each as soon as it and all before it are there.

        Raises:
            RunError: a process died. What a job itself raises comes through.
        """
        try:
            yield from self._pool.map(function, jobs)
        except BrokenProcessPool:
            raise RunError(
                "a worker process died (out of memory?); finished episodes are kept and can be continued"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()


def _prepare() -> None:
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    # Without this a killed parent would leave its workers waiting for jobs for ever.
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
