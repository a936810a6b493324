"""Engines give results in order whatever dies, pass errors on, and do not outlive their parent."""

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.sabotage import children
from vlatency.experiments.parallel.engine import Engine
from vlatency.experiments.parallel.open_engine import EngineName, open_engine
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.shared.command import RunError
from vlatency.sim.errors import UsageError

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'"
)


def square(seconds: float) -> float:
    time.sleep(seconds)
    return seconds * seconds


def refuse(name: str) -> None:
    raise UsageError(f"unknown {name}")


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: str) -> str:
    """Kills its process where it was not before."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker


class Picky(Exception):
    """Cannot be made from its message alone, as unpickling does."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


def complain(name: str) -> None:
    raise Picky(name, "no")


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


def refuse_or_wait(name: str) -> None:
    if name:
        refuse(name)
    time.sleep(120)


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    with Workers(1) as workers, pytest.raises(RunError, match="^Picky: camera: no$"):
        workers.call(complain, "camera")


@pytest.mark.parametrize(
    ("engine", "address", "workers", "says"),
    [
        ("local", "h:1", 1, "--address names a Ray cluster"),
        ("local", "", -1, "workers must be at least 0, not -1"),
        pytest.param("ray", "127.0.0.1:1", 1, "no Ray cluster answers at 127.0.0.1:1", marks=needs_ray),
        pytest.param("ray", "ray://here", 1, "--address is HOST:PORT", marks=needs_ray),
    ],
)
def test_an_engine_that_cannot_be_had_is_one_line(engine: EngineName, address: str, workers: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_engine(engine, address, workers, False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Engine]:
    with open_engine("ray", "", 2, False) as engine:
        yield engine


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_ray
def test_a_ray_cluster_does_what_workers_do(cluster: Engine, tmp_path: Path) -> None:
    assert cluster.slots == 2
    jobs = [0.3, 0.0, 0.1, 0.0]
    assert list(cluster.map(square, jobs)) == [square(job) for job in jobs]
    markers = [str(tmp_path / name) for name in "ab"]
    assert list(cluster.map(die_once, markers)) == markers
    with pytest.raises(UsageError, match="^unknown camera$"):
        cluster.call(refuse, "camera")
    with pytest.raises(RunError, match="Picky: camera: no"):
        cluster.call(complain, "camera")
    with pytest.raises(RunError, match="3 retries"):
        cluster.call(die, 1)
    assert cluster.call(square, 0.0) == 0.0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@needs_ray
def test_a_ray_cluster_of_this_machine_is_reached_from_no_other(cluster: Engine) -> None:
    assert cluster.call(square, 0.0) == 0.0
    found = [address for pid in family(os.getpid()) for address in listening(pid)]
    # 127.0.0.1, as IPv4 and as IPv6 writes it, in the order of bytes that /proc has
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert len(found) > 3 and set(found) <= loopback


def family(pid: int) -> list[int]:
    return [pid, *(grandchild for child in children(pid) for grandchild in family(child))]


def listening(pid: int) -> Iterator[str]:
    """Addresses of the TCP ports that a process holds open for others."""
    try:
        held = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in held:
                yield local.partition(":")[0]


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
from tests.experiments.parallel.test_engine import own_pid, square
if __name__ == "__main__":
    with Workers(1) as workers:
        print(workers.call(own_pid, 0), flush=True)
        workers.call(square, 60.0)
"""


def own_pid(_: int) -> int:
    return os.getpid()


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
