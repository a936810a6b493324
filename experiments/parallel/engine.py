"""Where jobs run: results come back in the order of the jobs, and a job whose process died is run again.

Which engine it is, how many jobs run at a time and what dies on the way decides how long it takes, and no result.
"""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any, Self, TypeVar

from vlatency.experiments.shared.command import RunError
from vlatency.sim.errors import UsageError

J = TypeVar("J")
R = TypeVar("R")

ENGINES = ("local", "ray")
RETRIES = 3
"""So often a job is run again whose process died; more deaths are the job's own fault, such as too little memory."""
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "0", "TOKENIZERS_PARALLELISM": "false"}
"""One thread a worker: they do not compete, and sums are added in one order however many workers there are."""

Outcome = tuple[Any, Exception | None]
"""What a job returned, or what it raised."""


class Engine(ABC):
    """Runs jobs, several at a time. A context manager: nothing of it is left running after the block."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many jobs run at a time."""

    @abstractmethod
    def _start(self, function: Callable[[Any], Any], job: Any) -> Any:
        """Begin one job; what is returned stands for it, and can be hashed."""

    @abstractmethod
    def _finished(self, running: list[Any]) -> Iterable[tuple[Any, Outcome]]:
        """Wait for one of the running jobs; those that are done, or none if one died and was begun again."""

    @abstractmethod
    def _drop(self, running: list[Any]) -> None:
        """Stop jobs that nobody waits for any more."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything."""

    def call(self, function: Callable[[J], R], job: J) -> R:
        """The result of one job; errors as in `map`."""
        return next(self.map(function, [job]))

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """The results in the order of the jobs, each as soon as it and all before it are there.

        Raises:
            RunError: a process died `RETRIES` + 1 times at the same job. What a job itself raises comes through.
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


def open_engine(engine: str, address: str, workers: int, gpu: bool) -> Engine:
    """The engine that the options ask for.

    Args:
        engine: one of ENGINES.
        address: of a Ray cluster; empty starts one here.
        workers: at most so many jobs at a time; 0 takes one a CPU core.
        gpu: a job needs a GPU, of which a Ray cluster gives each its own.

    Raises:
        UsageError: there is no such engine, or it cannot be had.
    """
    from vlatency.experiments.evaluation.setting import check_range
    from vlatency.experiments.shared import provenance

    check_range("workers", workers, 0)
    if engine not in ENGINES:
        raise UsageError(f"unknown engine '{engine}'; engines are {', '.join(ENGINES)}")
    if address and engine != "ray":
        raise UsageError("--address names a Ray cluster; give --engine ray too, or leave it out")
    if engine == "local":
        return Workers(workers or provenance.cores())
    from vlatency.experiments.parallel.ray_cluster import Cluster

    return Cluster(workers, address, int(gpu))


def attempt(function: Callable[[J], R], job: J) -> Outcome:
    """What a job returned or raised, in a form that can be sent to another process."""
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


class Workers(Engine):
    """Spawned processes, started when first needed and gone when this one is, however it ends.

    OpenGL contexts do not survive a fork, so workers are spawned: they import, open and load what they need themselves.

    Args:
        count: at most so many processes.
    """

    def __init__(self, count: int) -> None:
        os.environ.update(SINGLE_THREADED)
        self._count = count
        self._idle: list[_Worker] = []

    @property
    def slots(self) -> int:
        """How many processes there may be."""
        return self._count

    def _start(self, function: Callable[[Any], Any], job: Any) -> "_Task":
        task = _Task(bytes(ForkingPickler.dumps((function, job))), self._idle.pop() if self._idle else _Worker())
        task.send()
        return task

    def _finished(self, running: "list[_Task]") -> Iterator[tuple["_Task", Outcome]]:
        tasks = {task.worker.connection: task for task in running}
        for connection in multiprocessing.connection.wait(list(tasks)):
            task = tasks[connection]  # type: ignore[index]  # wait returns what it was given
            try:
                outcome = pickle.loads(task.worker.connection.recv_bytes())
            except (EOFError, OSError):
                self._replace(task)
                continue
            self._idle.append(task.worker)
            yield task, outcome

    def _replace(self, task: "_Task") -> None:
        how = task.worker.stop()
        task.deaths += 1
        if task.deaths > RETRIES:
            raise RunError(
                f"a worker process died {task.deaths} times at the same job (out of memory?); "
                "finished episodes are kept and can be continued"
            )
        print(f"warning: a worker process died ({how}); what it was doing is done again", file=sys.stderr)
        task.worker = _Worker()
        task.send()

    def _drop(self, running: "list[_Task]") -> None:
        for task in running:
            task.worker.stop()

    def close(self) -> None:
        """Stop the processes."""
        while self._idle:
            self._idle.pop().stop()


class _Worker:
    """A process that does one job after the other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that the process alone holds that end, and its death closes it

    def stop(self) -> str:
        """End it, if it has not ended; how it did."""
        self._process.terminate()
        self.connection.close()
        self._process.join()
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


@dataclass(eq=False)
class _Task:
    """A job that was given to a worker: the pickled function and job, and how often a worker died of it."""

    message: bytes
    worker: _Worker
    deaths: int = 0

    def send(self) -> None:
        try:
            self.worker.connection.send_bytes(self.message)
        except OSError:
            pass  # it is dead, as whoever waits for it will learn


def _serve(connection: "multiprocessing.connection.Connection") -> None:
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    # Without this a killed parent would leave its workers at their jobs until these end.
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(ForkingPickler.dumps(attempt(_unpacked, message)))


def _unpacked(message: bytes) -> Any:
    function, job = pickle.loads(message)
    return function(job)


def _die_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
