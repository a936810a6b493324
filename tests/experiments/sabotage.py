"""Kill parts of a real sweep, and compare its end with that of a sweep that nobody killed.

python -m tests.experiments.sabotage kills   SIGKILL 20 processes of a sweep, one after another
python -m tests.experiments.sabotage node    run it on a Ray cluster of two nodes on this machine, and kill one node
"""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from tests.builders.sabotage import Sweep, kill_node, kill_processes, two_nodes
from vlatency.experiments.shared.files import ROOT

SWEEP = ROOT / "experiments" / "sweep.py"


@dataclass(frozen=True)
class Args:
    """Run the smoke sweep twice, once undisturbed, and compare."""

    what: tyro.conf.Positional[Literal["kills", "node"]]
    """Kill processes, or a node."""
    times: int = 20
    """Processes to kill."""
    episodes: int = 6
    """Episodes of each cell."""
    seed: int = 0
    """Seed of the choice of who is killed, and when."""


def main(args: Args) -> None:
    """Run both sweeps. AssertionError if they end differently."""
    options = ("--episodes", str(args.episodes), "--workers", "2")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = Sweep(folder / "whole", SWEEP, *options).finish()
        print("\n".join(whole.table))
        if args.what == "kills":
            found = kill_processes(Sweep(folder / "killed", SWEEP, *options), args.times, random.Random(args.seed))
        else:
            with two_nodes() as (address, kill):
                ray = Sweep(folder / "ray", SWEEP, *options, "--engine", "ray", "--address", address)
                found = kill_node(ray, 2 * args.episodes, kill)
    assert found == whole, f"the tables differ:\n{chr(10).join(found.table)}"
    print(f"the same table, and the same {sum(map(len, found.rows.values()))} episodes, none twice")


if __name__ == "__main__":
    main(tyro.cli(Args))
