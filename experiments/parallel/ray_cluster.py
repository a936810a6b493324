"""Jobs on a Ray cluster: many machines, any of which may die.

Every node needs the same checkout at the same path, installed for the same Python, because only jobs are sent there. If
a node has other software or another OpenGL renderer, the run ends: results of different software are never mixed.
"""

import logging
import os
import platform
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from vlatency.experiments.parallel.engine import RETRIES, Engine, Outcome, attempt
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.command import RunError
from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.shared.instruction_sets import instruction_sets
from vlatency.experiments.shared.source_hash import source_sha256
from vlatency.sim.errors import UsageError


class Cluster(Engine):
    """A Ray cluster: one that runs already, or one of this machine alone that ends with this process.

    Args:
        count: at most this many jobs at a time; 0 is one per CPU of the cluster, counting nodes that join later.
        address: host:port of the cluster; empty starts one that no other machine can reach.
        gpus: GPUs for each job.
        variables: environment of a job's process.

    Raises:
        UsageError: Ray is not installed, or no cluster answers at `address`.
    """

    def __init__(self, count: int, address: str, gpus: int, variables: Mapping[str, str]) -> None:
        if find_spec("ray") is None:
            raise UsageError("--engine ray needs Ray; install it: pip install -e '.[ray]'")
        options: dict[str, Any] = {"address": address}
        if address:
            _check_answers(address)
        else:
            # "local" makes Ray start a cluster even if one already runs. Ray reads the first variable on import, and
            # then binds its ports to this machine only; its argument _node_ip_address would not do that.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
            options = {"address": "local", "num_cpus": count or provenance.cores(), "include_dashboard": False}
        import ray

        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {"env_vars": {**variables, "PYTHONPATH": path}}
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment)
        except Exception as error:  # Ray raises bare Exceptions here
            what = f"the Ray cluster at {address} cannot be used" if address else "Ray does not start here"
            reason = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
            raise UsageError(f"{what} ({reason}); --engine local does not need Ray") from None
        self._ray, self._count = ray, count
        self._remote = ray.remote(_on_node).options(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)
        self._software = {"node": platform.node(), **_installed()}

    @property
    def slots(self) -> int:
        """The CPUs that the cluster has now, unless `count` limits the jobs."""
        return self._count or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _start(self, function: Callable[[Any], Any], job: Any) -> Any:
        return self._remote.remote(function, job, os.getcwd())

    def _finished(self, running: list[Any]) -> list[tuple[Any, Outcome]]:
        done, _ = self._ray.wait(running, num_returns=1)
        return [(handle, self._outcome(handle)) for handle in done]

    def _outcome(self, handle: Any) -> Outcome:
        try:
            outcome, software = self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()
            return None, RunError(
                f"a job failed on the cluster, after up to {RETRIES} retries: "
                f"{reason[-1] if reason else type(error).__name__}; "
                "finished episodes are saved, and the run can be continued"
            )
        for what, there in software.items():
            if what != "node" and there != self._software.setdefault(what, there):
                return None, RunError(
                    f"node {software['node']} differs from {self._software['node']} or an earlier node ({what}): "
                    "make all nodes the same, or leave this one out; results of different software are never mixed"
                )
        return outcome

    def _drop(self, running: list[Any]) -> None:
        for handle in running:
            self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """Leave the cluster. If it was started here, it ends."""
        self._ray.shutdown()


def _check_answers(address: str) -> None:
    """UsageError unless something listens at `address`; Ray itself would keep trying for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (ValueError, OverflowError):
        raise UsageError(f"--address is HOST:PORT, as 'ray start --head' prints it, not '{address}'") from None
    except OSError as error:
        raise UsageError(f"no Ray cluster answers at {address} ({error}); 'ray start --head' starts one") from None


def _on_node(function: Callable[[Any], Any], job: Any, folder: str) -> tuple[Outcome, dict[str, Any]]:
    try:
        os.chdir(folder)  # a job may name files relative to the folder where the command was typed
    except OSError:
        return (None, RunError(f"node {platform.node()} lacks {folder}; every node needs the checkout there")), {}
    outcome = attempt(function, job)
    return outcome, {"node": platform.node(), **_installed(), **_used()}


@lru_cache
def _installed() -> dict[str, Any]:
    return {"package versions": provenance.versions(), "source code": source_sha256()}


def _used() -> dict[str, Any]:
    """The instruction sets and the OpenGL renderer of this process, if it computed and drew."""
    used: dict[str, Any] = {}
    if "torch" in sys.modules:
        used["instruction sets"] = instruction_sets()
    if "OpenGL" in sys.modules:
        from vlatency.sim.gl import renderer_name

        with suppress(RuntimeError):
            used["OpenGL renderer"] = renderer_name()
    return used
