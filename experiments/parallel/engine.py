"""What runs jobs: results come back in the order of the jobs, and a job whose process died is run again.

The engine, its number of slots and whatever dies on the way decide how long the jobs take, never what they return.
"""

import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from vlatency.experiments.shared.command import RunError
from vlatency.sim.errors import UsageError

J = TypeVar("J")
R = TypeVar("R")

RETRIES = 3
"""Retries for a job whose worker process died. If it dies more often, the job itself is the likely cause (memory)."""
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "0", "TOKENIZERS_PARALLELISM": "false"}
"""Environment of a worker: with one thread each, workers do not compete for cores, and floating-point sums are added in
the same order however many workers there are."""

Outcome = tuple[Any, Exception | None]
"""What a job returned, or the exception it raised."""


class Engine(ABC):
    """Runs jobs, several at a time.

    An engine is a context manager: when the block ends, nothing that it started is left running.

    Example:
        with open_engine("local", "", workers=2, gpu=False) as engine:
            for row in engine.map(run, jobs):
                print(row)
    """

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many jobs run at a time."""

    @abstractmethod
    def _start(self, function: Callable[[Any], Any], job: Any) -> Any:
        """Start one job and return a hashable handle to it."""

    @abstractmethod
    def _finished(self, running: list[Any]) -> Iterable[tuple[Any, Outcome]]:
        """Wait until something happens; yield the jobs that finished (none, if a worker died and its job restarted)."""

    @abstractmethod
    def _drop(self, running: list[Any]) -> None:
        """Stop jobs whose results are no longer wanted."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything."""

    def call(self, function: Callable[[J], R], job: J) -> R:
        """The result of one job; errors as in `map`."""
        return next(self.map(function, [job]))

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Yield the results in the order of the jobs, each as soon as it and all before it are finished.

        Args:
            function: defined at the top level of a module, so that a worker can import it.
            jobs: its arguments; read as slots become free.

        Raises:
            RunError: a worker process died `RETRIES` + 1 times at the same job.
            Exception: whatever a job itself raised.
        """
        waiting = enumerate(jobs)
        running: dict[Any, int] = {}
        outcomes: dict[int, Outcome] = {}
        due = 0
        try:
            while True:
                for place, job in islice(waiting, max(0, self.slots - len(running))):
                    running[self._start(function, job)] = place
                while due in outcomes:
                    result, error = outcomes.pop(due)
                    if error is not None:
                        raise error
                    yield result
                    due += 1
                if not running:
                    return
                for handle, outcome in self._finished(list(running)):
                    outcomes[running.pop(handle)] = outcome
        finally:
            self._drop(list(running))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attempt(function: Callable[[J], R], job: J) -> Outcome:
    """What a job returns or raises, in a form that can be sent to another process."""
    try:
        return function(job), None
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return None, RunError(f"{type(error).__name__}: {error}")
        if not isinstance(error, UsageError | RunError):  # those are one line
            error.add_note(traceback.format_exc())
        return None, error
