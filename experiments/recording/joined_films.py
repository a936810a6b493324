"""Films of one seed in several modes, above each other on one simulated clock."""

from itertools import islice
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlatency.experiments.recording.video import check_frames
from vlatency.sim.errors import UsageError

ORDER = ("pause", "async", "sync")
GIF_FPS = 8
"""A GIF stores every frame completely, so fewer frames a second keep it small. It still plays at true speed."""


def films_of_one_seed(folder: Path) -> list[Path]:
    """The films in `folder` of the seed that was filmed in most modes, in `ORDER`.

    Raises:
        UsageError: no seed was filmed in two modes.
    """
    by_seed: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*-*-*.mp4")):
        mode, seed, _ = path.stem.split("-")
        by_seed.setdefault(seed, {})[mode] = path
    films = max(by_seed.values(), key=len, default={})
    if len(films) < 2:
        raise UsageError(f"{folder} has no seed filmed in two modes; run with --mode all and a higher --videos")
    return [films[mode] for mode in ORDER if mode in films]


def join_films(paths: list[Path], out: Path, width: int) -> None:
    """Stack films to one. A film that is over shows its last frame until the longest one ends.

    Args:
        paths: the films, from top to bottom.
        out: file to write, .mp4 or .gif.
        width: of each film [px].
    """
    fps = imageio.immeta(paths[0], plugin="FFMPEG")["fps"]
    stride = round(fps / GIF_FPS) if out.suffix == ".gif" else 1
    readers = [islice(imageio.imiter(path, plugin="FFMPEG"), 0, None, stride) for path in paths]
    films = [[_resize(frame, width) for frame in reader] for reader in readers]
    frames = [np.vstack([film[min(i, len(film) - 1)] for film in films]) for i in range(max(map(len, films)))]
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    if out.suffix == ".gif":
        _write_gif(part, frames, 1000 * stride / fps)
    else:
        imageio.imwrite(part, np.stack(frames), fps=fps, codec="libx264", plugin="FFMPEG", macro_block_size=2)
        check_frames(part, len(frames))
    part.replace(out)


def _resize(frame: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    height = round(frame.shape[0] * width / frame.shape[1] / 2) * 2
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))


def _write_gif(path: Path, frames: list[NDArray[np.uint8]], duration_ms: float) -> None:
    # With one palette for all frames colours do not flicker, and unchanged pixels cost nothing. An octree keeps the
    # small bright objects, which a median cut would lose.
    palette = Image.fromarray(frames[-1]).quantize(256, method=Image.Quantize.FASTOCTREE)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=duration_ms, loop=0, optimize=True)
