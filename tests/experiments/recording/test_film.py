"""Filming changes nothing, and a film shows what the trace says, at true speed."""

import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from vlatency.agent.realtime.trace import CommandRecord, EpisodeTrace, Span
from vlatency.experiments.recording.film import FPS, TILE, Film, FilmedPlant
from vlatency.experiments.recording.video import HOLD_FRAMES, STRIP_PX, Caption, feature_age_ns, write_video
from vlatency.sim.readings import Readings

MS = 1_000_000
STEP_NS = 2 * MS
CAMERAS = ("top", "wrist", "front", "left", "right")


class StepCounter:
    """A plant that only counts its steps and writes down when it was looked at."""

    instruction = "Pick up the red cube"

    def __init__(self, end_ns: int) -> None:
        self.now_ns = 0
        self.end_ns = end_ns
        self.looks: list[int] = []

    @property
    def done(self) -> bool:
        return self.now_ns >= self.end_ns

    def advance_to(self, t_ns: int) -> None:
        assert t_ns >= self.now_ns
        while self.now_ns < t_ns:
            self.now_ns += STEP_NS

    def command(self, action: ArrayLike) -> None:
        pass

    def capture(self, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        self.looks.append(self.now_ns)
        return {camera: np.full((360, 640, 3), 40 * (index + 1), np.uint8) for index, camera in enumerate(cameras)}

    def sensors(self) -> Readings:
        raise NotImplementedError


@pytest.mark.parametrize(("cameras", "columns", "rows"), [(1, 2, 1), (2, 3, 1), (3, 3, 2), (5, 3, 2)])
def test_the_mosaic_has_a_tile_a_view_and_one_for_the_timeline_and_no_view_is_stretched(
    cameras: int, columns: int, rows: int
) -> None:
    film = Film(tuple(map(str, range(cameras))))
    film.add(0, {name: np.full((200, 100, 3), 255, np.uint8) for name in film.cameras}, "")
    frame = np.asarray(film.frame(0).convert("L"))
    assert frame.shape == (rows * TILE[1], columns * TILE[0])
    (lit,) = np.nonzero(frame[TILE[1] // 2, : TILE[0]] > 128)
    assert len(lit) == TILE[1] // 2 and abs(lit.mean() - TILE[0] / 2) < 1


def test_a_frame_is_taken_every_40_ms_whatever_the_agent_asks_for() -> None:
    plant = StepCounter(end_ns=400 * MS)
    filmed = FilmedPlant(plant, CAMERAS)
    for t_ms in (1, 3, 90, 91, 333, 400):
        filmed.advance_to(t_ms * MS)
        assert filmed.now_ns == -(-t_ms * MS // STEP_NS) * STEP_NS
    assert plant.looks == filmed.film.times_ns == list(range(0, 401 * MS, 1000 // FPS * MS))


def trace(end_ms: int) -> EpisodeTrace:
    spans, commands = [], []
    for start in range(0, end_ms, 200):
        spans.append(Span("encode", start * MS, (start + 180) * MS, start * MS))
        spans.append(Span("head", (start + 180) * MS, (start + 191) * MS, start * MS))
        commands.append(CommandRecord((start + 191) * MS, start * MS, 180 * MS, 11 * MS, (start + 180) * MS))
    return EpisodeTrace("sync", 100 * MS, end_ms * MS, (), tuple(spans), tuple(commands))


@pytest.mark.parametrize(("t_ms", "age_ms"), [(0, None), (179, None), (180, 180), (379, 379), (380, 180)])
def test_features_age_until_newer_ones_can_be_used(t_ms: int, age_ms: int | None) -> None:
    assert feature_age_ns(trace(1000), t_ms * MS) == (None if age_ms is None else age_ms * MS)


@pytest.mark.slow
def test_the_video_runs_at_true_speed(tmp_path: Path) -> None:
    plant = StepCounter(end_ns=1000 * MS)
    filmed = FilmedPlant(plant, CAMERAS)
    filmed.advance_to(1000 * MS)
    path = tmp_path / "videos" / "sync-10000-success.mp4"
    caption = Caption("sync", CAMERAS[:3], "success at 1.0 s", True)
    write_video(path, filmed.film, trace(1000), caption)
    reader: Any = imageio.get_reader(path)
    facts, frames = reader.get_meta_data(), list(reader.iter_data())
    reader.close()
    assert (
        facts["codec"] == "h264"
        and facts["fps"] == FPS
        and tuple(facts["size"]) == (3 * TILE[0], 2 * TILE[1] + STRIP_PX)
    )
    assert len(frames) == 1 + FPS + HOLD_FRAMES
    # Used views keep their brightness, the others are dimmed.
    assert abs(int(frames[10][120, 213, 0]) - 40) < 8
    assert int(frames[10][360, 213, 0]) < 0.5 * 160
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    filmed = FilmedPlant(StepCounter(end_ns=0), CAMERAS)
    (tmp_path / "videos").mkdir()
    path = tmp_path / "videos" / "a.mp4"
    (tmp_path / "videos" / f".a.{os.getpid()}.part.mp4").mkdir()  # ffmpeg cannot write here either
    with pytest.raises(OSError, match="cannot write the video"):
        write_video(path, filmed.film, trace(0), Caption("sync", CAMERAS, "", False))


@pytest.mark.slow
@pytest.mark.parametrize("kept_bytes", [2000, 8192, 20_000])
def test_a_film_that_a_full_disk_cuts_off_never_gets_its_name(tmp_path: Path, kept_bytes: int) -> None:
    filmed = FilmedPlant(StepCounter(end_ns=1000 * MS), CAMERAS)
    filmed.advance_to(1000 * MS)
    path = tmp_path / "a.mp4"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kept_bytes, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot write the video"):
            write_video(path, filmed.film, trace(1000), Caption("sync", CAMERAS, "", False))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    write_video(path, filmed.film, trace(1000), Caption("sync", CAMERAS, "", False))
    assert path.stat().st_size > kept_bytes
