"""From a film and its trace to an mp4 at true speed: five views, a timeline of the last two seconds, a strip."""

import contextlib
import errno
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from vlatency.agent.realtime.trace import EpisodeTrace, Span
from vlatency.experiments.recording.film import COLUMNS, FPS, ROWS, TILE, Film, place_of
from vlatency.sim.clock import NS_PER_S, ns_to_ms, ns_to_s

WINDOW_NS = 2 * NS_PER_S
STRIP_PX = 44
SIZE = (COLUMNS * TILE[0], ROWS * TILE[1] + STRIP_PX)
HOLD_FRAMES = FPS
"""The last frame stays for one second, so that the outcome can be read."""
DIMMED = 0.35

_BACKGROUND, _LANE, _INK, _FAINT = (18, 20, 24), (34, 38, 46), (235, 238, 242), (140, 147, 158)
_ENCODE, _HEAD, _COMMAND = (86, 156, 255), (255, 190, 70), (120, 220, 140)
_GOOD, _BAD = (90, 215, 120), (255, 105, 97)


@dataclass(frozen=True)
class Caption:
    """What the strip says.

    Attributes:
        mode: pause, sync or async.
        used: cameras the policy sees; the others are dimmed.
        outcome: shown once the episode is over, such as "success at 4.2 s".
        good: whether that is a success.
    """

    mode: str
    used: tuple[str, ...]
    outcome: str
    good: bool


def write_video(path: Path, film: Film, trace: EpisodeTrace, caption: Caption) -> None:
    """Write the film of an episode with its timeline; errors as in `write_frames`."""
    write_frames(path, _frames(film, trace, caption))


def write_frames(path: Path, frames: Iterable[NDArray[np.uint8]]) -> None:
    """Write `path` (.mp4, h264) at `FPS`; it appears when it is whole.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.stem}.part.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = imageio.get_writer(
        part, format="FFMPEG", mode="I", fps=FPS, codec="libx264", quality=None, macro_block_size=2,
        ffmpeg_log_level="error", ffmpeg_params=["-crf", "23", "-preset", "veryfast", "-movflags", "+faststart"],
    )  # fmt: skip
    try:
        for frame in frames:
            writer.append_data(frame)
        writer.close()
        part.replace(path)
    except OSError:  # ffmpeg ended; what it said is many lines long
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(errno.EIO, "cannot write the video (disk full?)", str(path)) from None


def _frames(film: Film, trace: EpisodeTrace, caption: Caption) -> Iterator[NDArray[np.uint8]]:
    encodes = [span for span in trace.spans if span.name == "encode"]
    longest_ns = _longest_age(encodes, trace.end_ns)
    last = len(film.times_ns) - 1
    for index, t_ns in enumerate(film.times_ns):
        over = index == last
        image = _draw(film.frame(index), film.cameras, t_ns, trace, longest_ns, caption, over)
        _draw_strip(ImageDraw.Draw(image), t_ns, film.instructions[index], caption, over)
        for _ in range(1 + HOLD_FRAMES * over):
            yield np.asarray(image)


def _longest_age(encodes: Sequence[Span], end_ns: int) -> int:
    """The oldest that features get, just before newer ones replace them [ns]."""
    finished = [span for span in encodes if span.end_ns <= end_ns]
    replaced = [*(span.end_ns for span in finished[1:]), end_ns][: len(finished)]
    ages = [t_ns - span.capture_ns for span, t_ns in zip(finished, replaced, strict=True)]
    return max(ages, default=1) or 1


def _draw(
    mosaic: Image.Image,
    cameras: Sequence[str],
    t_ns: int,
    trace: EpisodeTrace,
    longest_ns: int,
    caption: Caption,
    over: bool,
) -> Image.Image:
    """One frame."""
    image = Image.new("RGB", SIZE, _BACKGROUND)
    image.paste(mosaic, (0, 0))
    draw = ImageDraw.Draw(image)
    for place, camera in enumerate(cameras):
        x, y = place_of(place)
        used = camera in caption.used
        if not used:
            tile = (x, y, x + TILE[0], y + TILE[1])
            image.paste(ImageEnhance.Brightness(image.crop(tile)).enhance(DIMMED), (x, y))
        label = camera if used else f"{camera} (not used)"
        box = draw.textbbox((x + 8, y + 6), label, font=font(14))
        draw.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill=_BACKGROUND)
        draw.text((x + 8, y + 6), label, font=font(14), fill=_INK if used else _FAINT)
    _draw_timeline(draw, place_of(len(cameras)), t_ns, trace, longest_ns)
    return image


def _draw_timeline(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], t_ns: int, trace: EpisodeTrace, longest_ns: int
) -> None:
    """Lanes VL, head, commands over the last two seconds, now at the right edge; below them the age of the features."""
    left, top = corner
    x0, x1 = left + 92, left + TILE[0] - 14
    start_ns = t_ns - WINDOW_NS

    def x_of(moment_ns: int) -> float:
        return x0 + (x1 - x0) * max(0, moment_ns - start_ns) / WINDOW_NS

    draw.rectangle((left, top, left + TILE[0], top + TILE[1]), fill=_BACKGROUND)
    draw.text((left + 12, top + 10), "last 2 s of simulated time", font=font(13), fill=_FAINT)
    lanes = {"VL": top + 38, "head": top + 78, "commands": top + 118}
    for name, y in lanes.items():
        draw.text((left + 12, y + 6), name, font=font(14), fill=_INK)
        draw.rectangle((x0, y, x1, y + 28), fill=_LANE)
    for second in range(-(-max(0, start_ns) // NS_PER_S), t_ns // NS_PER_S + 1):
        x = x_of(second * NS_PER_S)
        draw.line((x, lanes["VL"], x, lanes["commands"] + 28), fill=_FAINT)
        draw.text((x + 3, lanes["commands"] + 29), f"{second} s", font=font(11), fill=_FAINT)
    for span in trace.spans:
        if span.end_ns >= start_ns and span.start_ns <= t_ns:
            y, colour = (lanes["VL"], _ENCODE) if span.name == "encode" else (lanes["head"], _HEAD)
            # Jobs that take no time still leave a mark; the gap keeps neighbours apart.
            x, right = round(x_of(span.start_ns)), round(x_of(min(span.end_ns, t_ns)))
            draw.rectangle((min(x, x1 - 2), y + 4, min(max(x + 2, right - 3), x1), y + 24), fill=colour)
    for command in trace.commands:
        if start_ns <= command.applied_ns <= t_ns:
            x = min(x_of(command.applied_ns), x1 - 2)
            draw.rectangle((x, lanes["commands"] + 4, x + 2, lanes["commands"] + 24), fill=_COMMAND)

    y = top + 178
    age_ns = feature_age_ns(trace, t_ns)
    text = "feature age   no features yet" if age_ns is None else f"feature age {ns_to_ms(age_ns):.0f} ms"
    draw.text((left + 12, y), text, font=font(16), fill=_INK)
    draw.text((x1, y + 4), f"up to {ns_to_ms(longest_ns):.0f} ms", font=font(12), fill=_FAINT, anchor="ra")
    draw.rectangle((left + 12, y + 26, x1, y + 44), fill=_LANE)
    if age_ns:
        share = min(1.0, age_ns / longest_ns)
        draw.rectangle((left + 12, y + 26, left + 12 + (x1 - left - 12) * share, y + 44), fill=_BAD)


def feature_age_ns(trace: EpisodeTrace, t_ns: int) -> int | None:
    """Since the exposure behind the newest features that could be used at `t_ns` [ns]; None before there are any."""
    encodes = [span for span in trace.spans if span.name == "encode"]
    finished = bisect_right([span.end_ns for span in encodes], t_ns)
    return t_ns - encodes[finished - 1].capture_ns if finished else None


def _draw_strip(draw: ImageDraw.ImageDraw, t_ns: int, instruction: str, caption: Caption, over: bool) -> None:
    y = ROWS * TILE[1] + 11
    outcome, colour = (caption.outcome, _GOOD if caption.good else _BAD) if over else ("running", _FAINT)
    draw.text((14, y), f"t = {ns_to_s(t_ns):5.2f} s", font=font(18), fill=_INK)
    draw.text((160, y), f'"{instruction}"', font=font(18), fill=_INK)
    draw.text((COLUMNS * TILE[0] - 440, y), f"mode {caption.mode}", font=font(18), fill=_INK)
    draw.text((COLUMNS * TILE[0] - 14, y), outcome, font=font(18), fill=colour, anchor="ra")


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, at `size` [px]."""
    return ImageFont.load_default(size)
