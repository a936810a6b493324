"""Demonstrations that the tests of this folder share."""

from pathlib import Path

import pytest

from vlatency.experiments.training.demonstrations import Demonstrations
from vlatency.experiments.training.recorder import ShardJob, record_shard


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short episodes with images of 224x224."""
    folder = tmp_path_factory.mktemp("demonstrations")
    record_shard(ShardJob(folder / "00000.npz", "static", 2, seed=(5, 0), size=(224, 224), every=4))
    return folder


@pytest.fixture(scope="session")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short episodes with images of every size that a training shows."""
    folder = tmp_path_factory.mktemp("large")
    record_shard(ShardJob(folder / "00000.npz", "static", 2, seed=(6, 0), size=(640, 360), every=8))
    return folder


@pytest.fixture
def demonstrations(folder: Path) -> Demonstrations:
    """The episodes with images of 224x224."""
    return Demonstrations([folder])
