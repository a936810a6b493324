"""Record or check the trajectories of this machine: six minutes of CPU time.

python -m tests.golden.record --check   compare all cases and seeds with the file; exit status 1 if any differ
python -m tests.golden.record           write them to the file: only where the code is known to be right

The same code gives other bits under other CPU kernels, package versions and OpenGL drivers, so the file holds one set
for each kind of machine. Recording keeps the sets of other machines.
"""

import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import tyro

from tests.golden.cases import CASES, SEEDS
from vlatency.experiments.evaluation.configuration import Configuration
from vlatency.experiments.evaluation.episodes import Job, run_episode
from vlatency.experiments.evaluation.run_folder import Row
from vlatency.experiments.parallel.engine import SINGLE_THREADED
from vlatency.experiments.shared import command

FILE = Path(__file__).with_name("trajectories.json")
PACKAGES = ("mujoco", "numpy", "torch", "transformers", "pillow", "mink", "daqp", "scipy")
KERNELS = ("avx2", "fma", "avx512", "amx", "avx_vnni")
"""CPU flags by which libraries choose their kernels begin like this."""
KEPT = ("trajectory_hash", "success", "ticks", "missed", "overruns", "dropped", "encodes", "feature_age_ms_p50")


@dataclass(frozen=True)
class Args:
    """Record the trajectories of this machine, or check them."""

    check: bool = False
    """Compare with the file instead of writing to it."""


def machine() -> dict[str, Any]:
    """What decides the bits besides the code: CPU kernels, packages, and the OpenGL renderer."""
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


def rows(case: str, seeds: Sequence[int] = SEEDS) -> list[Row]:
    """What the episodes of a case do, seed by seed."""
    os.environ.update(SINGLE_THREADED)
    (setting,), policy = command.parse(Configuration, CASES[case].split()).settings(SEEDS[0], len(SEEDS))
    found = [run_episode(Job(setting, str(policy), seed)) for seed in seeds]
    return [{name: row[name] for name in KEPT} for row in found]


def known(about: dict[str, Any]) -> dict[str, list[Row]] | None:
    """The recorded rows of each case on such a machine; None if there are none."""
    sets = json.loads(FILE.read_text())
    return sets[key(about)]["cases"] if key(about) in sets else None


def differences(found: dict[str, list[Row]], recorded: dict[str, list[Row]]) -> list[str]:
    """One line for each case, seed and figure that is not as recorded."""
    return [
        f"{case}, seed {seed}: {name} was {before.get(name)}, is {now[name]}"
        for case in CASES
        for seed, now, before in zip(SEEDS, found[case], recorded.get(case, [{}] * len(SEEDS)), strict=True)
        for name in KEPT
        if now[name] != before.get(name)
    ]


def main(args: Args) -> None:
    """Run all cases and write or compare them."""
    os.environ.update(SINGLE_THREADED)
    about = machine()
    recorded = known(about)
    if args.check and recorded is None:
        sys.exit(f"{FILE.name} has no trajectories of such a machine: {json.dumps(about)}")
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = dict(zip(CASES, pool.map(rows, CASES), strict=True))
    if args.check:
        lines = differences(found, recorded or {})
        print("\n".join([*lines, f"{len(lines)} differences in {len(CASES)} cases of {len(SEEDS)} seeds"]))
        sys.exit(bool(lines))
    sets = json.loads(FILE.read_text())
    sets[key(about)] = {"machine": about, "cases": found}
    FILE.write_text(json.dumps(sets, indent=1) + "\n")
    print(f"{FILE}: {len(found)} cases of {len(SEEDS)} seeds on machine {key(about)}")


if __name__ == "__main__":
    main(tyro.cli(Args))
