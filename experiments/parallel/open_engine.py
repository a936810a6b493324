"""The engine that the command line asks for."""

from typing import Literal

from vlatency.experiments.parallel.engine import Engine
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.parallel.ray_cluster import Cluster
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.command import check_range
from vlatency.sim.errors import UsageError

EngineName = Literal["local", "ray"]
"""Processes of this machine, or a Ray cluster."""


def open_engine(engine: EngineName, address: str, workers: int, gpu: bool) -> Engine:
    """Open an engine.

    Args:
        engine: which one.
        address: host:port of a running Ray cluster; empty starts one on this machine.
        workers: at most this many jobs at a time; 0 is one per CPU core.
        gpu: whether each job needs a GPU; a Ray cluster then gives each job one of its own.

    Raises:
        UsageError: the options contradict each other, Ray is not installed, or no cluster answers at `address`.
    """
    check_range("workers", workers, 0)
    if engine == "ray":
        return Cluster(workers, address, int(gpu))
    if address:
        raise UsageError("--address names a Ray cluster; add --engine ray, or leave --address out")
    return Workers(workers or provenance.cores())
