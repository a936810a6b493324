"""Jobs in processes of this machine."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

from vlatency.experiments.parallel.engine import RETRIES, SINGLE_THREADED, Engine, Outcome, attempt
from vlatency.experiments.shared.command import RunError


class Workers(Engine):
    """Worker processes, started when first needed. They end when this process does, even if it is killed.

    They are spawned, not forked, because OpenGL contexts do not survive a fork. Each worker imports, opens and loads
    what it needs.

    Args:
        count: at most this many processes.
        variables: of their environment.
    """

    def __init__(self, count: int, variables: Mapping[str, str] = SINGLE_THREADED) -> None:
        os.environ.update(variables)
        self._count = count
        self._idle: list[_Worker] = []

    @property
    def slots(self) -> int:
        """The most processes there may be."""
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
                self._retry(task)
                continue
            self._idle.append(task.worker)
            yield task, outcome

    def _retry(self, task: "_Task") -> None:
        how = task.worker.stop()
        task.deaths += 1
        if task.deaths > RETRIES:
            raise RunError(
                f"a worker process died {task.deaths} times at the same job (out of memory?); "
                "finished episodes are saved, and the run can be continued"
            )
        print(f"warning: a worker process died ({how}); its job starts again", file=sys.stderr)
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
    """A process that does one job after another."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # then only the process holds that end, and its death closes it

    def stop(self) -> str:
        """End the process if it still runs, and say how it ended."""
        self._process.terminate()
        self.connection.close()
        self._process.join()
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


@dataclass(eq=False)
class _Task:
    """A job in a worker.

    Attributes:
        message: the pickled function and its argument.
        worker: who has it now.
        deaths: how many workers died at it.
    """

    message: bytes
    worker: _Worker
    deaths: int = 0

    def send(self) -> None:
        with contextlib.suppress(OSError):  # the worker is dead, and `_finished` will notice
            self.worker.connection.send_bytes(self.message)


def _serve(connection: "multiprocessing.connection.Connection") -> None:
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    # Without this, the workers of a killed parent would go on until their jobs end.
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
