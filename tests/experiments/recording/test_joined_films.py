"""Films of one seed are joined on one clock."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from vlatency.experiments.recording.joined_films import films_of_one_seed, join_films
from vlatency.experiments.recording.video import write_frames
from vlatency.sim.errors import UsageError


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name, frames in (("sync-1-failure", 50), ("async-1-success", 25), ("async-2-success", 25)):
        write_frames(tmp_path / f"{name}.mp4", np.full((frames, 64, 128, 3), frames, np.uint8))
    return tmp_path


def test_the_seed_filmed_in_most_modes_is_chosen(videos: Path) -> None:
    assert [path.stem for path in films_of_one_seed(videos)] == ["async-1-success", "sync-1-failure"]
    (videos / "sync-1-failure.mp4").unlink()
    with pytest.raises(UsageError, match=videos.name):
        films_of_one_seed(videos)


@pytest.mark.slow
def test_joined_films_last_as_long_as_the_longest_one_at_true_speed(videos: Path) -> None:
    out = videos / "joined.mp4"
    join_films(films_of_one_seed(videos), out, width=64)
    frames = imageio.imread(out, plugin="FFMPEG")
    assert frames.shape == (50, 64, 64, 3)  # two films of 64 x 32
    assert abs(int(frames[-1, 16, 32, 0]) - 25) < 8 and abs(int(frames[-1, 48, 32, 0]) - 50) < 8
    join_films(films_of_one_seed(videos), out.with_suffix(".gif"), width=64)
    gif = Image.open(out.with_suffix(".gif"))
    assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(gif)) == pytest.approx(2000, abs=100)
