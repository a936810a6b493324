"""Inject faults, and print counts: python -m tests.faults kills disks pairs stores corruptions wire."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from tests.faults.corrupt import corruptions
from tests.faults.inject import disks, kills, pairs, stores
from tests.faults.wire import wire

Fault = Literal["kills", "disks", "pairs", "stores", "corruptions", "wire"]
FAULTS = {
    "kills": (kills, 100),
    "disks": (disks, 50),
    "pairs": (pairs, 30),
    "stores": (stores, 20),
    "corruptions": (corruptions, 200),
    "wire": (wire, 200),
}


@dataclass(frozen=True)
class Args:
    """Inject faults into run.py, sweep.py and report.py with made-up episodes. AssertionError if a law breaks."""

    what: tyro.conf.Positional[tuple[Fault, ...]] = ("kills", "disks", "pairs", "stores", "corruptions", "wire")
    """SIGKILLs at any moment, full disks, pairs of commands on one folder, damaged files of runs and sweeps; corrupted
    policies, backbones and profiles; a policy server that misbehaves."""
    count: int = 0
    """Of each; 0 takes 100 kills, 50 disks, 30 pairs, 20 stores, 200 corruptions and 200 wires."""
    seed: int = 0
    """Of the choice of faults."""


def main(args: Args) -> None:
    """Print a line of counts each."""
    for name in args.what:
        inject, count = FAULTS[name]
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            said = inject(Path(folder), args.count or count, args.seed)
        print(f"{said} ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
