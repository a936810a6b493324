"""Laws of recording: it repeats, it leaves no half file, and it never shows an evaluation scene."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlatency.envs.script import draw_script
from vlatency.envs.tasks import TASKS
from vlatency.experiments.collect import Args, main
from vlatency.experiments.evaluation.setting import FIRST_TRAINING_SEED
from vlatency.experiments.training.recorder import ShardJob, record_shard
from vlatency.experiments.training.shards import read_shards, shard_path, write_shard
from vlatency.sim.errors import UsageError


@pytest.mark.gl
def test_a_shard_recorded_twice_is_the_same(folder: Path, tmp_path: Path) -> None:
    record_shard(ShardJob(shard_path(tmp_path, 0), "static", 2, seed=(5, 0), size=(224, 224), every=4))
    one, two = (shard_path(of, 0).with_suffix(".npy").read_bytes() for of in (folder, tmp_path))
    assert one == two


@pytest.mark.gl
def test_shards_are_read_as_one(folder: Path) -> None:
    one, images = read_shards([folder])
    two, more = read_shards([folder, folder])
    assert len(two.episode) == 2 * len(one.episode) and len(more) == 2 * len(images)
    assert two.episode.max() == 2 * one.episode.max() + 1
    assert set(two.image[two.image >= 0]) == set(range(2 * len(images[0])))


def test_a_folder_without_demonstrations_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=tmp_path.name):
        read_shards([tmp_path])


@pytest.mark.gl
def test_demonstrations_hold_the_belt_s_speed_and_the_instructed_object(tmp_path: Path) -> None:
    for number, task in enumerate(("conveyor", "switched")):
        record_shard(ShardJob(shard_path(tmp_path, number), task, 3, seed=(5, number), size=(224, 224), every=9))
    moments, _ = read_shards([tmp_path])
    belt = np.abs(moments.velocity[moments.episode < 3, :, 1])
    assert belt.max() > 0.015 and (moments.velocity[moments.episode >= 3] == 0).all()
    assert (moments.target < moments.count).all()
    told = [set(moments.target[moments.episode == episode]) for episode in range(3, 6)]
    assert max(len(targets) for targets in told) == 2  # the instruction changed during an episode


@pytest.mark.gl
@pytest.mark.parametrize("killed_at", ["save", "savez"])
def test_a_killed_recording_leaves_no_half_file_and_no_shard_without_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    moments, (images,) = read_shards([folder])
    write: Callable[..., Any] = getattr(np, killed_at)

    def half(file: Any, *args: Any, **kwargs: Any) -> None:
        whole = io.BytesIO()
        write(whole, *args, **kwargs)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        raise KeyboardInterrupt

    path = shard_path(tmp_path, 0)
    monkeypatch.setattr(np, killed_at, half)
    with pytest.raises(KeyboardInterrupt):
        write_shard(path, moments, images)
    monkeypatch.undo()
    assert not path.exists()
    if path.with_suffix(".npy").exists():
        np.testing.assert_array_equal(np.load(path.with_suffix(".npy")), images)
    with pytest.raises(UsageError):
        read_shards([tmp_path])

    write_shard(path, moments, images)
    again, (stored,) = read_shards([tmp_path])
    np.testing.assert_array_equal(stored, images)
    np.testing.assert_array_equal(again.position, moments.position)
    assert {file.name for file in tmp_path.iterdir()} == {path.name, path.with_suffix(".npy").name}


@pytest.mark.parametrize("seed", [0, 10_000, FIRST_TRAINING_SEED - 1, -1])
def test_evaluation_seeds_are_refused_before_anything_is_written(tmp_path: Path, seed: int) -> None:
    with pytest.raises(UsageError, match=str(seed)) as error:
        main(Args(out=tmp_path / "demos", seed=seed))
    assert "\n" not in str(error.value) and not (tmp_path / "demos").exists()


def test_the_first_shard_of_an_evaluation_seed_would_show_its_scene() -> None:
    """Why they are refused: numpy draws the same from the seeds s and (s, 0)."""
    task = TASKS["static"]
    evaluated, recorded = (draw_script(task, np.random.default_rng(seed)) for seed in (10_000, (10_000, 0)))
    assert evaluated == recorded
    assert draw_script(task, np.random.default_rng((10_000, 1))) != evaluated


@pytest.mark.parametrize(
    "wrong", [{"episodes": 0}, {"every": 0}, {"tasks": ()}, {"speed": 0.1}, {"policy": Path("/nowhere")}]
)
def test_what_cannot_be_recorded_is_refused_in_one_line(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        main(Args(out=tmp_path / "demos", **wrong))
    assert "\n" not in str(error.value) and not (tmp_path / "demos").exists()
