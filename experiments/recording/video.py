"""An episode as an mp4 at true speed: five views, a timeline of the last two seconds, and a caption."""

import contextlib
import errno
import os
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imageio.v2 as imageio
import numpy as np
from imageio_ffmpeg import count_frames_and_secs, get_ffmpeg_exe
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.recording.film import (
    BACKGROUND,
    FAINT,
    FPS,
    INK,
    TILE,
    Colour,
    Film,
    corner_of,
    font,
    label_tile,
)
from vlatency.sim.clock import NS_PER_S, ns_to_ms, ns_to_s

WINDOW_NS = 2 * NS_PER_S
STRIP_PX = 44
HOLD_FRAMES = FPS
"""The last frame is held for one second, so that the outcome can be read."""
DIMMED = 0.35

_LANE = (34, 38, 46)
_ENCODE, _HEAD, _COMMAND = (86, 156, 255), (255, 190, 70), (120, 220, 140)
_GOOD, _BAD = (90, 215, 120), (255, 105, 97)


@dataclass(frozen=True)
class Caption:
    """The text below the views.

    Attributes:
        mode: pause, sync or async.
        used: cameras that the policy sees; the others are dimmed. Empty: it sees none, and the film is for people.
        outcome: shown when the episode is over, such as "success at 4.2 s".
        good: whether it is a success.
        stages: of the policy; one of one stage has no lane for a head.
    """

    mode: str
    used: tuple[str, ...]
    outcome: str
    good: bool
    stages: Literal[1, 2] = 2


def write_video(path: Path, film: Film, trace: EpisodeTrace, caption: Caption) -> None:
    """Write the film of an episode with its timeline. Raises what `write_frames` raises."""
    write_frames(path, _frames(film, trace, caption))


def write_frames(path: Path, frames: Iterable[NDArray[np.uint8]]) -> None:
    """Write an mp4 (h264) at `FPS`. It gets its name only when it is whole.

    Args:
        path: the file.
        frames: (H, W, 3) each, of even height and width.

    Raises:
        OSError: the file cannot be written.
    """
    # Named by its process: ffmpeg outlives a process that is killed, and must not write into its successor's film.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = imageio.get_writer(
        part, format="FFMPEG", mode="I", fps=FPS, codec="libx264", quality=None, macro_block_size=2,
        ffmpeg_log_level="error", ffmpeg_params=["-crf", "23", "-preset", "veryfast", "-movflags", "+faststart"],
    )  # fmt: skip
    count = 0
    try:
        for frame in frames:
            writer.append_data(frame)
            count += 1
        writer.close()
        check_frames(part, count)
        part.replace(path)
    except OSError:  # ffmpeg died, and its message has many lines
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(errno.EIO, "cannot write the video (disk full?)", str(path)) from None


def check_frames(path: Path, count: int) -> None:
    """OSError unless a film can be read to its end and has so many frames: imageio loses ffmpeg's exit status."""
    try:
        found = count_frames_and_secs(path)[0]
    except RuntimeError:
        found = 0
    if found != count:
        raise OSError(errno.EIO, f"the video is cut off after {found} of {count} frames (disk full?)", str(path))


def is_whole(path: Path) -> bool:
    """Whether there is a film that can be decoded from its beginning to its end without a complaint."""
    if not path.is_file():
        return False
    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0 and not done.stderr


def _frames(film: Film, trace: EpisodeTrace, caption: Caption) -> Iterator[NDArray[np.uint8]]:
    longest_ns = _longest_age(trace)
    last = len(film.times_ns) - 1
    width, height = film.size
    for index, t_ns in enumerate(film.times_ns):
        image = Image.new("RGB", (width, height + STRIP_PX), BACKGROUND)
        image.paste(film.frame(index), (0, 0))
        draw = ImageDraw.Draw(image)
        for tile, camera in enumerate(film.cameras):
            if camera in caption.used or not caption.used:
                label_tile(draw, tile, camera, INK)
            else:
                x, y = corner_of(tile)
                dimmed = ImageEnhance.Brightness(image.crop((x, y, x + TILE[0], y + TILE[1]))).enhance(DIMMED)
                image.paste(dimmed, (x, y))
                label_tile(draw, tile, f"{camera} (not used)", FAINT)
        _draw_timeline(draw, corner_of(len(film.cameras)), t_ns, trace, longest_ns, caption.stages)
        said = (caption.outcome, _GOOD if caption.good else _BAD) if index == last else ("running", FAINT)
        _draw_strip(draw, film.size, f"t = {ns_to_s(t_ns):5.2f} s", f'"{film.instructions[index]}"', caption.mode, said)
        for _ in range(1 + HOLD_FRAMES * (index == last)):
            yield np.asarray(image)


def _longest_age(trace: EpisodeTrace) -> int:
    """The highest feature age, which features reach just before newer ones replace them [ns]."""
    finished = [span for span in trace.spans if span.name == "encode" and span.end_ns <= trace.end_ns]
    replaced = [*(span.end_ns for span in finished[1:]), trace.end_ns][: len(finished)]
    ages = [t_ns - span.capture_ns for span, t_ns in zip(finished, replaced, strict=True)]
    return max(ages, default=1) or 1


def _draw_timeline(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    t_ns: int,
    trace: EpisodeTrace,
    longest_ns: int,
    stages: Literal[1, 2],
) -> None:
    """Draw encodes, head runs and commands of the last two seconds, and the feature age. Now is at the right edge."""
    left, top = corner
    x0, x1 = left + 92, left + TILE[0] - 14
    start_ns = t_ns - WINDOW_NS

    def x_of(moment_ns: int) -> float:
        return x0 + (x1 - x0) * max(0, moment_ns - start_ns) / WINDOW_NS

    draw.rectangle((left, top, left + TILE[0], top + TILE[1]), fill=BACKGROUND)
    draw.text((left + 12, top + 10), "last 2 s of simulated time", font=font(13), fill=FAINT)
    first, head, last = top + 38, top + 78, top + 118
    lanes = {"VL": first, "head": head} if stages == 2 else {"inference": first + 20}
    lanes["commands"] = last
    for name, y in lanes.items():
        draw.text((left + 12, y + 6), name, font=font(14), fill=INK)
        draw.rectangle((x0, y, x1, y + 28), fill=_LANE)
    for second in range(-(-max(0, start_ns) // NS_PER_S), t_ns // NS_PER_S + 1):
        x = x_of(second * NS_PER_S)
        draw.line((x, min(lanes.values()), x, last + 28), fill=FAINT)
        draw.text((x + 3, last + 29), f"{second} s", font=font(11), fill=FAINT)
    for span in trace.spans:
        if span.end_ns >= start_ns and span.start_ns <= t_ns and (stages == 2 or span.name == "encode"):
            y, colour = (min(lanes.values()), _ENCODE) if span.name == "encode" else (head, _HEAD)
            # A span of no length still leaves a mark; the gap keeps neighbours apart.
            x, right = round(x_of(span.start_ns)), round(x_of(min(span.end_ns, t_ns)))
            draw.rectangle((min(x, x1 - 2), y + 4, min(max(x + 2, right - 3), x1), y + 24), fill=colour)
    for command in trace.commands:
        if start_ns <= command.applied_ns <= t_ns:
            x = min(x_of(command.applied_ns), x1 - 2)
            draw.rectangle((x, last + 4, x + 2, last + 24), fill=_COMMAND)

    y = top + 178
    age_ns = feature_age_ns(trace, t_ns)
    text = "feature age   no features yet" if age_ns is None else f"feature age {ns_to_ms(age_ns):.0f} ms"
    draw.text((left + 12, y), text, font=font(16), fill=INK)
    draw.text((x1, y + 4), f"up to {ns_to_ms(longest_ns):.0f} ms", font=font(12), fill=FAINT, anchor="ra")
    draw.rectangle((left + 12, y + 26, x1, y + 44), fill=_LANE)
    if age_ns:
        share = min(1.0, age_ns / longest_ns)
        draw.rectangle((left + 12, y + 26, left + 12 + (x1 - left - 12) * share, y + 44), fill=_BAD)


def feature_age_ns(trace: EpisodeTrace, t_ns: int) -> int | None:
    """Age of the newest features that are usable at `t_ns` [ns]; None before there are any."""
    encodes = [span for span in trace.spans if span.name == "encode"]
    finished = bisect_right([span.end_ns for span in encodes], t_ns)
    return t_ns - encodes[finished - 1].capture_ns if finished else None


def _draw_strip(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], time: str, instruction: str, mode: str, said: tuple[str, Colour]
) -> None:
    """Below the views: time, instruction, mode and outcome. A narrow film has no room for a long instruction."""
    (right, top), text = size, font(18)
    y, outcome, colour = top + 11, *said
    draw.text((14, y), time, font=text, fill=INK)
    end = right - (440 if right > 2 * TILE[0] else 330)
    while draw.textlength(instruction, font=text) > end - 180:
        instruction = f"{instruction[:-2]}\N{HORIZONTAL ELLIPSIS}"
    draw.text((160, y), instruction, font=text, fill=INK)
    draw.text((end, y), f"mode {mode}", font=text, fill=INK)
    draw.text((right - 14, y), outcome, font=text, fill=colour, anchor="ra")
