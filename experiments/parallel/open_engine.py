"""The engine that the command line asks for."""

import platform
from typing import Literal

from vlatency.experiments.parallel.engine import SINGLE_THREADED, Engine
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.parallel.ray_cluster import Cluster
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.command import check_range
from vlatency.experiments.shared.instruction_sets import PORTABLE
from vlatency.sim.errors import UsageError

EngineName = Literal["local", "ray"]
"""Processes of this machine, or a Ray cluster."""


def open_engine(engine: EngineName, address: str, workers: int, gpu: bool, portable: bool = False) -> Engine:
    """Open an engine.

    Args:
        engine: which one.
        address: host:port of a running Ray cluster; empty starts one on this machine.
        workers: at most this many jobs at a time; 0 is one per CPU core.
        gpu: whether each job needs a GPU; a Ray cluster then gives each job one of its own.
        portable: whether jobs use AVX2 and nothing wider, so that processors with and without AVX-512 agree.

    Raises:
        UsageError: the options contradict each other, Ray is not installed, or no cluster answers at `address`.
    """
    check_range("workers", workers, 0)
    if portable and platform.machine() not in ("x86_64", "AMD64"):
        raise UsageError(f"--portable pins AVX2, which is of x86 processors; this one is {platform.machine()}")
    variables = SINGLE_THREADED | (PORTABLE if portable else {})
    if engine == "ray":
        return Cluster(workers, address, int(gpu), variables)
    if address:
        raise UsageError("--address names a Ray cluster; add --engine ray, or leave --address out")
    return Workers(workers or provenance.cores(), variables)
