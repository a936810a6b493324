"""Latencies that others have measured and published: list them with their sources, plot them, see where they disagree.

python experiments/latencies.py --device orin --model pi0.5
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vlatency.agent.realtime.cost.published import zoo
from vlatency.experiments.shared import command
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.timing.published_figure import figure
from vlatency.experiments.timing.published_text import Wanted, disagreements, in_full, listing, side_by_side


@dataclass(frozen=True)
class Args:
    """List published latencies. Each name is one that --latency of run.py takes, if it covers an encode or a call."""

    show: tyro.conf.Positional[tuple[str, ...]] = ()
    """Print all fields of these: ids, such as frt-094, or names, such as pi0/l40s/flash-draft."""
    model: str = ""
    """Only models whose name begins so: gr00t, pi0.5, qwen3-vl."""
    device: str = ""
    """Only devices whose name begins so: orin, thor, rtx4090."""
    software: str = ""
    """Only software whose name begins so: tensorrt, flashrt, lerobot."""
    covers: Literal["all", "call", "encode", "part"] = "all"
    """call: images to chunk, for policies of one stage, and of two where encoder and head were timed apart; encode:
    images to features; part: what cannot be charged by itself."""
    contradictions: bool = False
    """Print where two sources measured the same and found another figure."""
    plot: Path | None = None
    """Draw calls and encodes into this SVG: model and device, stages stacked, software beside each other."""


def main(args: Args) -> None:
    """Print what is asked for."""
    if args.show:
        print("\n".join(in_full(record for text in args.show for record in zoo().look_up(text))))
        return
    role = None if args.covers == "all" else args.covers
    records = Wanted(args.model, args.device, args.software, role).select()
    if args.plot is not None:
        write_text(args.plot, figure(records))
        print(args.plot)
    elif args.contradictions:
        found = disagreements(records)
        print("\n".join(side_by_side(found) or ["no two sources disagree about these"]))
    else:
        print("\n".join(listing(records)))
        print(f"\n{len(records)} of {len(zoo().records)} published figures; nothing was run here")


if __name__ == "__main__":
    command.run(main, Args)
