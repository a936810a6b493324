"""A Ray cluster keeps the laws of workers, and is closed to other machines."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.builders.jobs import complain, die, die_once, refuse, square
from tests.builders.sabotage import children
from vlatency.experiments.parallel.engine import Engine
from vlatency.experiments.parallel.open_engine import open_engine
from vlatency.experiments.shared.command import RunError
from vlatency.sim.errors import UsageError

# Ray reads its environment while it is imported, so it is not imported here.
no_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = [no_ray, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Engine]:
    with open_engine("ray", "", 2, False) as engine:
        yield engine


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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
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
