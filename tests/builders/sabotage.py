"""Sweeps in processes of their own, and ways to kill them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlatency.experiments.shared.files import ROOT


@dataclass(frozen=True)
class Ending:
    """What a sweep leaves behind that does not depend on who was killed.

    Attributes:
        table: what it printed.
        summary: summary.json without the commands.
        rows: the rows of each cell, in the order of its file, without their wall time.
    """

    table: list[str]
    summary: Any
    rows: dict[str, list[dict[str, Any]]]


class Sweep:
    """A sweep in a folder of its own.

    Args:
        folder: where its runs/ is.
        script: experiments/sweep.py, or one that acts like it.
        options: of the smoke sweep.
    """

    def __init__(self, folder: Path, script: Path, *options: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [sys.executable, str(script), "smoke", *options]
        self._said = folder / "stdout.txt"

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it, or continue it."""
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
        with self._said.open("wb") as out:
            return subprocess.Popen(self._command, cwd=self.folder, env=env, stdout=out)

    def finish(self, process: "subprocess.Popen[bytes] | None" = None) -> Ending:
        """Wait until it ends, and read what it leaves behind."""
        status = (process or self.start()).wait()
        assert status == 0, f"the sweep ended with {status}"
        lines = self._said.read_text().splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("sweep ") and "0:" in line)
        (summary,) = self.folder.glob("runs/sweep-*/summary.json")
        rows = {}
        for path in self.folder.glob("runs/cells/*/episodes.jsonl"):
            rows[path.parent.name] = [
                json.loads(line) | {"wall_s": 0, "check": ""} for line in path.read_text().splitlines()
            ]
        said = json.loads(summary.read_text(), object_hook=_without_command)
        return Ending(lines[first + 1 :], said, rows)

    @property
    def episodes(self) -> int:
        """Episodes on disk."""
        return sum(path.read_bytes().count(b"\n") for path in self.folder.glob("runs/cells/*/episodes.jsonl"))

    def wait_for(self, episodes: int, process: "subprocess.Popen[bytes]") -> None:
        """Wait until there are that many episodes on disk, or the process has ended."""
        while self.episodes < episodes and process.poll() is None:
            time.sleep(0.02)


def _without_command(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "command"}


def kill_processes(sweep: Sweep, times: int, rng: random.Random) -> Ending:
    """Kill the sweep itself or one of its processes at random moments, and start it again when it has ended."""
    process = sweep.start()
    for number in range(times):
        if process.poll() is not None:
            assert process.returncode != 0, f"the sweep was done after {number} kills; give it more episodes"
            process = sweep.start()
        sweep.wait_for(sweep.episodes + rng.randrange(3), process)
        time.sleep(rng.uniform(0, 0.3))
        victim = kill_one(process.pid, rng)
        print(f"killed {'the sweep' if victim == process.pid else 'a process of it'} at {sweep.episodes} episodes")
        if victim == process.pid:
            process.wait()
    return sweep.finish(None if process.poll() else process)


def kill_one(pid: int, rng: random.Random) -> int:
    """Kill a process or one of its children, and return the one that was killed."""
    while True:
        victim = rng.choice([pid, *children(pid)])
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:  # it ended by itself after it was listed
            continue
        return victim


def children(pid: int) -> list[int]:
    """The living children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@contextmanager
def two_nodes() -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a Ray cluster of two nodes with one CPU each, and a function that kills one of them."""
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    cluster, other = _start_nodes()
    try:
        raylet = other.all_processes["raylet"][0].process.pid

        def busy() -> bool:
            return any(b"_on_node" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(raylet))

        def kill() -> None:
            deadline = time.monotonic() + 120
            while not busy():
                assert time.monotonic() < deadline, "the second node was given no episode"
                time.sleep(0.02)
            for pid in (raylet, *children(raylet)):
                os.kill(pid, signal.SIGKILL)
            cluster.remove_node(other, allow_graceful=False)

        yield cluster.address, kill
    finally:
        cluster.shutdown()


def _start_nodes() -> tuple[Any, Any]:
    """A Ray cluster and its second node. Ray gives up after 30 s, which a busy machine may need: we try again."""
    from ray.cluster_utils import Cluster

    for tries_left in (2, 1, 0):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False, include_log_monitor=False, no_monitor=True)
            return cluster, cluster.add_node(num_cpus=1)
        except Exception:
            cluster.shutdown()
            if not tries_left:
                raise
    raise AssertionError


def kill_node(sweep: Sweep, episodes: int, kill: Callable[[], None]) -> Ending:
    """Kill a node when there are that many episodes on disk."""
    process = sweep.start()
    sweep.wait_for(episodes, process)
    kill()
    print(f"killed a node at {sweep.episodes} episodes")
    return sweep.finish(process)
