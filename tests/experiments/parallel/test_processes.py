"""Workers give results in order whatever dies, pass errors on, and do not outlive their parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builders.jobs import complain, die, die_once, own_pid, refuse, refuse_or_wait, square
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.shared.command import RunError
from vlatency.sim.errors import UsageError


def test_results_come_in_the_order_of_the_jobs() -> None:
    jobs = [0.3, 0.0, 0.1, 0.0]
    with Workers(2) as workers:
        assert list(workers.map(square, jobs)) == [square(job) for job in jobs]


def test_errors_and_deaths_become_one_line() -> None:
    with Workers(1) as workers:
        with pytest.raises(UsageError, match="^unknown camera$"):
            workers.call(refuse, "camera")
        with pytest.raises(RunError, match="worker process died"):
            workers.call(die, 1)


def test_a_job_whose_worker_died_is_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    markers = [str(tmp_path / name) for name in "abc"]
    with Workers(2) as workers:
        assert list(workers.map(die_once, markers)) == markers
    assert capsys.readouterr().err.count("died (SIGKILL)") == 3


def test_a_worker_that_died_while_idle_is_replaced() -> None:
    with Workers(1) as workers:
        os.kill(workers.call(own_pid, 0), signal.SIGKILL)
        assert workers.call(square, 0.0) == 0.0


def test_what_was_begun_for_results_that_nobody_wants_is_stopped() -> None:
    with Workers(2) as workers:
        with pytest.raises(UsageError):
            list(workers.map(refuse_or_wait, ["camera", ""]))
        started = time.monotonic()
        assert workers.call(square, 0.0) == 0.0
        assert time.monotonic() - started < 60


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    with Workers(1) as workers, pytest.raises(RunError, match="^Picky: camera: no$"):
        workers.call(complain, "camera")


def test_leaving_early_stops_the_workers() -> None:
    with pytest.raises(KeyboardInterrupt), Workers(1) as workers:
        assert workers.call(square, 0.0) == 0.0
        children = multiprocessing.active_children()
        raise KeyboardInterrupt
    # The pool's own thread may reap the child at the same moment, and then one look alone can still say "alive".
    deadline = time.monotonic() + 20
    while any(child.is_alive() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children and not any(child.is_alive() for child in children)


PARENT = """
import os
from vlatency.experiments.parallel.processes import Workers
from tests.builders.jobs import own_pid, square
if __name__ == "__main__":
    with Workers(1) as workers:
        print(workers.call(own_pid, 0), flush=True)
        workers.call(square, 60.0)
"""


def test_a_killed_parent_takes_its_workers_along(tmp_path_factory: pytest.TempPathFactory) -> None:
    script = tmp_path_factory.mktemp("parent") / "parent.py"
    script.write_text(PARENT)
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.kill()
        parent.wait(10)
    deadline = time.monotonic() + 10
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
