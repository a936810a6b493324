"""Films of one seed side by side on one simulated clock, as an mp4 or a GIF.

python experiments/side_by_side.py runs/NAME --out film.gif
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from vlatency.experiments.shared.command import run
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDER = ("pause", "async", "sync")
GIF_FPS = 8
"""A GIF stores every picture whole: fewer a second keep it small. Speed stays true."""


@dataclass(frozen=True)
class Args:
    """Put the films of a run that show the same seed in different modes above each other: they are wide."""

    run: tyro.conf.Positional[Path]
    """A run folder with videos of the same seed in two or three modes."""
    out: Path
    """File to write: .mp4, or .gif."""
    width: int = 640
    """Width of each film [px]."""


def main(args: Args) -> None:
    """Write the film."""
    import imageio.v3 as imageio
    import numpy as np

    if args.out.suffix not in (".mp4", ".gif"):
        raise UsageError(f"--out {args.out}: the film is an .mp4 or a .gif")
    if args.width < 64:
        raise UsageError(f"width must be at least 64, not {args.width}")
    paths = _same_seed(args.run / "videos")
    fps = imageio.immeta(paths[0], plugin="FFMPEG")["fps"]
    stride = round(fps / GIF_FPS) if args.out.suffix == ".gif" else 1
    films = [[_shrink(frame, args.width) for frame in _every(path, stride)] for path in paths]
    length = max(map(len, films))
    # A film that is over shows its last picture until the longest one ends.
    frames = [np.vstack([film[min(i, len(film) - 1)] for film in films]) for i in range(length)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix == ".gif":
        _write_gif(args.out, frames, 1000 * stride / fps)
    else:
        imageio.imwrite(args.out, np.stack(frames), fps=fps, codec="libx264", plugin="FFMPEG", macro_block_size=2)
    print(f"{args.out}  {', '.join(path.stem for path in paths)}  {args.out.stat().st_size / 1e6:.1f} MB")


def _same_seed(folder: Path) -> list[Path]:
    """The films of the seed that was filmed in most modes, in `ORDER`."""
    by_seed: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*-*-*.mp4")):
        mode, seed, _ = path.stem.split("-")
        by_seed.setdefault(seed, {})[mode] = path
    films = max(by_seed.values(), key=len, default={})
    if len(films) < 2:
        raise UsageError(f"{folder} holds no seed filmed in two modes; run with --mode all and more --videos")
    return [films[mode] for mode in ORDER if mode in films]


def _every(path: Path, stride: int) -> "list[NDArray[np.uint8]]":
    import imageio.v3 as imageio

    return [frame for number, frame in enumerate(imageio.imiter(path, plugin="FFMPEG")) if number % stride == 0]


def _shrink(frame: "NDArray[np.uint8]", width: int) -> "NDArray[np.uint8]":
    import numpy as np
    from PIL import Image

    height = round(frame.shape[0] * width / frame.shape[1] / 2) * 2
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))


def _write_gif(path: Path, frames: "list[NDArray[np.uint8]]", duration_ms: float) -> None:
    from PIL import Image

    # One palette for all pictures: colours do not flicker, and unchanged pixels cost nothing. An octree keeps the
    # small bright objects, which a median cut would drown in grey.
    palette = Image.fromarray(frames[-1]).quantize(256, method=Image.Quantize.FASTOCTREE)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0, optimize=True)


if __name__ == "__main__":
    run(main, Args)
