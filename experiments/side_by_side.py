"""Join the films of one seed in several modes, on one simulated clock, as an mp4 or a GIF.

python experiments/side_by_side.py runs/NAME --out film.gif
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from vlatency.experiments.shared.command import check_range, run
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Put the films of a run that show one seed in different modes above each other, since they are wide."""

    run: tyro.conf.Positional[Path]
    """Run folder with videos of one seed in two or three modes."""
    out: Path
    """File to write: .mp4 or .gif."""
    width: int = 640
    """Width of each film [px]."""


def main(args: Args) -> None:
    """Write the film."""
    # Imported here so that --help answers at once.
    from vlatency.experiments.recording.joined_films import films_of_one_seed, join_films

    if args.out.suffix not in (".mp4", ".gif"):
        raise UsageError(f"--out must be an .mp4 or a .gif, not {args.out}")
    check_range("width", args.width, 64)
    paths = films_of_one_seed(args.run / "videos")
    join_films(paths, args.out, args.width)
    print(f"{args.out}  {', '.join(path.stem for path in paths)}  {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main, Args)
