"""A LeRobotDataset, as its files say and as LeRobot's own loader reads it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlatency.experiments.recording.lerobot_dataset import CLOCK, DatasetWriter, RecordedEpisode, pixels, png
from vlatency.experiments.shared.files import ROOT
from vlatency.sim.errors import UsageError

LEROBOT = ROOT / ".venv-lerobot/bin/python"
READ = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("local/x", root=sys.argv[1], delta_timestamps={"action": [0, 0.1, 0.2]})
frames = [data[number] for number in range(len(data))]
plain = lambda value: value if isinstance(value, str) else np.asarray(value).tolist()
frames = [{name: plain(value) for name, value in frame.items()} for frame in frames]
print(json.dumps([*frames, data.fps, data.num_episodes]))
"""


def recorded(frames: int, success: bool, seed: int = 0) -> RecordedEpisode:
    rng = np.random.default_rng(seed)
    return RecordedEpisode(
        images={"top": [png(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)) for _ in range(frames)]},
        state=rng.random((frames, 3), np.float32),
        action=rng.random((frames, 2), np.float32),
        tasks=["Pick up the red cube"] * (frames - 1) + ["Pick up the blue ball"],
        clock=rng.random((frames, len(CLOCK)), np.float32),
        success=success,
        about={"mode": "async", "seed": seed, "trajectory_hash": "a1"},
    )


@pytest.fixture
def episodes() -> list[RecordedEpisode]:
    return [recorded(4, True), recorded(3, False, seed=1)]


@pytest.fixture
def folder(tmp_path: Path, episodes: list[RecordedEpisode]) -> Path:
    pytest.importorskip("pyarrow")
    writer = DatasetWriter(tmp_path, 10)
    for episode in episodes:
        writer.add(episode)
    writer.close({"run": "runs/x"})
    return tmp_path


def test_an_image_survives_its_file() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(pixels(png(image)), image)


def test_the_tables_hold_every_frame_in_order(folder: Path, episodes: list[RecordedEpisode]) -> None:
    from pyarrow import parquet

    for number, episode in enumerate(episodes):
        table = parquet.read_table(folder / f"data/chunk-000/file-{number:03d}.parquet").to_pydict()
        assert np.array_equal(np.array(table["action"], np.float32), episode.action)
        assert np.array_equal(np.array(table["latency"], np.float32), episode.clock[:, CLOCK.index("latency")])
        assert [each["bytes"] for each in table["observation.images.top"]] == episode.images["top"]
        assert table["index"] == [4 * number + frame for frame in table["frame_index"]]
        assert table["next.success"] == [False] * (len(episode.action) - 1) + [episode.success]
    facts = parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert (facts["length"], facts["dataset_from_index"], facts["dataset_to_index"]) == ([4, 3], [0, 4], [4, 7])
    assert facts["seed"] == [0, 1]


def test_statistics_are_those_of_all_frames(folder: Path, episodes: list[RecordedEpisode]) -> None:
    found: dict[str, Any] = json.loads((folder / "meta/stats.json").read_text())
    actions = np.concatenate([episode.action for episode in episodes])
    assert found["action"]["mean"] == pytest.approx(actions.mean(0).tolist(), rel=1e-5)
    assert found["action"]["std"] == pytest.approx(actions.std(0).tolist(), rel=1e-4)
    assert found["action"]["count"] == [7]
    images = np.array([pixels(file) for episode in episodes for file in episode.images["top"]]) / 255
    mean = np.array(found["observation.images.top"]["mean"])
    assert mean.shape == (3, 1, 1)
    assert mean.ravel() == pytest.approx(images.mean((0, 1, 2)), rel=1e-6)


def test_an_episode_without_a_frame_is_left_out_and_a_dataset_without_an_episode_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    writer = DatasetWriter(tmp_path, 10)
    full = recorded(1, True)
    writer.add(RecordedEpisode({"top": []}, full.state[:0], full.action[:0], [], full.clock[:0], False, {}))
    assert writer.episodes == 0
    with pytest.raises(UsageError):
        writer.close({})


@pytest.mark.lerobot
@pytest.mark.slow
@pytest.mark.skipif(not LEROBOT.exists(), reason="needs .venv-lerobot (make lerobot)")
def test_lerobots_own_loader_reads_what_was_written(folder: Path, episodes: list[RecordedEpisode]) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    command = [str(LEROBOT), "-W", "ignore", "-c", READ, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    *frames, fps, count = json.loads(done.stdout.splitlines()[-1])
    assert (len(frames), fps, count) == (7, 10, 2)
    for frame in frames:
        episode, at = episodes[frame["episode_index"]], frame["frame_index"]
        image = pixels(episode.images["top"][at]).transpose(2, 0, 1) / np.float32(255)
        assert np.array_equal(np.array(frame["observation.images.top"], np.float32), image)
        assert frame["task"] == episode.tasks[at]
        assert [frame[name] for name in CLOCK] == pytest.approx(episode.clock[at].tolist())
        ahead = np.minimum(at + np.arange(3), len(episode.action) - 1)
        assert np.array(frame["action"]) == pytest.approx(episode.action[ahead])
