"""Jobs on a Ray cluster: many machines, which may die.

Every node needs the same checkout at the same path, installed for the same Python: nothing is sent there but jobs. What
a node's software or OpenGL driver would change in a result is found, and ends the run.
"""

import logging
import os
import platform
import socket
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from vlatency.experiments.parallel.engine import RETRIES, SINGLE_THREADED, Engine, Outcome, attempt
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.command import RunError
from vlatency.experiments.shared.files import ROOT
from vlatency.sim.errors import UsageError


class Cluster(Engine):
    """A Ray cluster: one that runs, or one of this machine alone that ends with this process.

    Args:
        count: at most so many jobs at a time; 0 takes one a CPU of the cluster, also of nodes that join later.
        address: host:port of the cluster; empty starts one that no other machine can reach.
        gpus: for each job.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at that address.
    """

    def __init__(self, count: int, address: str, gpus: int) -> None:
        if find_spec("ray") is None:
            raise UsageError("--engine ray needs Ray; install it: pip install -e '.[ray]'")
        options: dict[str, Any] = {"address": address}
        if address:
            _check_answers(address)
        else:
            # By "local" Ray does not look for a cluster that already runs. This variable, which it reads while it is
            # imported, keeps its ports to this machine; _node_ip_address would not.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
            options = {"address": "local", "num_cpus": count or provenance.cores(), "include_dashboard": False}
        import ray

        variables = SINGLE_THREADED | {"PYTHONPATH": str(ROOT)}
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": variables})
        except Exception as error:  # Ray raises this itself, bare
            what = f"the Ray cluster at {address} cannot be used" if address else "Ray does not start here"
            reason = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
            raise UsageError(f"{what} ({reason}); --engine local needs none") from None
        self._ray, self._count = ray, count
        self._remote = ray.remote(_on_node).options(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)
        self._software = {"node": platform.node(), **_installed()}

    @property
    def slots(self) -> int:
        """How many CPUs there are now, or fewer if that was asked for."""
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
                f"a job could not be run on the cluster, with {RETRIES} more tries where its node died: "
                f"{reason[-1] if reason else type(error).__name__}; finished episodes are kept and can be continued"
            )
        for what, there in software.items():
            if what != "node" and there != self._software.setdefault(what, there):
                return None, RunError(
                    f"node {software['node']} has another {what} than {self._software['node']} or a node before it: "
                    "episodes of different software are never mixed; make them the same, or leave one out"
                )
        return outcome

    def _drop(self, running: list[Any]) -> None:
        for handle in running:
            self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()


def _check_answers(address: str) -> None:
    """UsageError unless somebody listens there; Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (ValueError, OverflowError):
        raise UsageError(f"--address is HOST:PORT, as 'ray start --head' prints it, not '{address}'") from None
    except OSError as error:
        raise UsageError(f"no Ray cluster answers at {address} ({error}); 'ray start --head' starts one") from None


def _on_node(function: Callable[[Any], Any], job: Any, folder: str) -> tuple[Outcome, dict[str, Any]]:
    try:
        os.chdir(folder)  # a job may name files from where the command was typed
    except OSError:
        return (None, RunError(f"node {platform.node()} has no folder {folder}: all need the same checkout there")), {}
    outcome = attempt(function, job)
    drawn_by = {"OpenGL renderer": renderer} if (renderer := _renderer()) else {}
    return outcome, {"node": platform.node(), **_installed(), **drawn_by}


@lru_cache
def _installed() -> dict[str, Any]:
    return {"version of a package": provenance.versions(), "source code": provenance.source_sha256()}


def _renderer() -> str | None:
    """Who drew in this process; None if nobody did."""
    from vlatency.sim.gl import renderer_name

    if "OpenGL" not in sys.modules:
        return None
    try:
        return renderer_name()
    except RuntimeError:
        return None
