"""Shared pieces of the policy's tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vlatency.agent.realtime.requests import Encode
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.sim.readings import Readings


@pytest.fixture(scope="session")
def model() -> VLA:
    """Untrained tiny model with fixed weights."""
    torch.manual_seed(0)
    return VLA.tiny().eval()


@pytest.fixture
def readings() -> Readings:
    """Readings of an end effector above the table."""
    return Readings(
        t_ns=0,
        ee_pose=np.array([0.5, 0.1, 0.2, 0.3]),
        gripper_pos=0.0,
        gripper_vel=0.0,
        joint_pos=np.linspace(-1, 1, 6),
        joint_vel=np.zeros(6),
        wrench=np.full((50, 6), 0.5),
    )


@pytest.fixture
def request_of(model: VLA, readings: Readings) -> Callable[..., Encode]:
    """Factory of `Encode` requests with reproducible random images."""

    def make(seed: int, instruction: str = "Pick up the red cube") -> Encode:
        rng = np.random.default_rng(seed)
        images = {name: rng.integers(0, 256, (360, 640, 3), dtype=np.uint8) for name in model.config.cameras}
        return Encode(images=images, instruction=instruction, readings=readings)

    return make


@pytest.fixture
def saved(model: VLA, tmp_path: Path) -> Path:
    """Folder of a saved policy."""
    folder = tmp_path / "policy"
    VLAPolicy(model).save_pretrained(folder)
    return folder
