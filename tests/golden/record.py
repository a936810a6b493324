"""Write down the trajectories of this machine: python -m tests.golden.record

Run it only where the code is known to be right. What other machines gave stays: the same code has other bits under
other instruction sets, libraries and OpenGL drivers.
"""

import hashlib
import importlib.metadata
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.golden.cases import CASES, SEEDS
from vlatency.experiments.evaluation.episodes import Job, run_episode
from vlatency.experiments.evaluation.options import Configuration
from vlatency.experiments.parallel.engine import SINGLE_THREADED
from vlatency.experiments.shared import command

FILE = Path(__file__).with_name("trajectories.json")
PACKAGES = ("mujoco", "numpy", "torch", "transformers", "pillow", "mink", "daqp", "scipy")
KERNELS = ("avx2", "fma", "avx512", "amx", "avx_vnni")
"""Beginnings of the CPU flags by which libraries choose their kernels."""
KEPT = ("trajectory_hash", "success", "ticks", "missed", "overruns", "dropped", "encodes", "feature_age_ms_p50")


def machine() -> dict[str, Any]:
    """What else decides the bits: CPU kernels, packages, and who draws."""
    from vlatency.sim import gl

    gl.configure()
    from mujoco.rendering.classic import gl_context  # whose class `configure` exchanges if MuJoCo is here already

    context = gl_context.GLContext(64, 64)
    context.make_current()
    renderer = gl.renderer_name()
    context.free()
    lines = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    about = {name.strip(): value.split() for name, value in lines.items()}
    flags = sorted(flag for flag in about.get("flags", []) if flag.startswith(KERNELS))
    return {
        "cpu": [*about.get("vendor_id", []), *flags],
        "renderer": renderer,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def key(about: dict[str, Any]) -> str:
    """A short name for such a machine."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def rows(case: str) -> list[dict[str, Any]]:
    """What the episodes of a case do, seed by seed."""
    os.environ.update(SINGLE_THREADED)
    (setting,), policy = command.parse(Configuration, CASES[case].split()).settings(SEEDS[0], len(SEEDS))
    found = [run_episode(Job(setting, str(policy), seed)) for seed in SEEDS]
    return [{name: row[name] for name in KEPT} for row in found]


def main() -> None:
    """Add this machine's trajectories to the file, or renew them."""
    os.environ.update(SINGLE_THREADED)
    about = machine()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = dict(zip(CASES, pool.map(rows, CASES), strict=True))
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[key(about)] = {"machine": about, "cases": found}
    FILE.write_text(json.dumps(known, indent=1) + "\n")
    print(f"{FILE}: {len(found)} cases of {len(SEEDS)} seeds on machine {key(about)}")


if __name__ == "__main__":
    main()
