"""Laws of the scripted expert."""

from dataclasses import replace
from typing import Any

import numpy as np

from vlatency.envs.expert import Scene, chunk, expert


def scene(**changes: Any) -> Scene:
    base = Scene(
        ee=np.array([[0.4, 0.0, 0.3, 0.0]]),
        gripper=np.zeros(1),
        gripper_rate=np.zeros(1),
        target=np.array([[0.5, 0.1, 0.02]]),
        target_yaw=np.zeros(1),
        yaw_period=np.zeros(1),
    )
    return replace(base, **changes)


def test_the_expert_acts_the_same_one_by_one_and_in_a_batch() -> None:
    batch = scene(
        ee=np.array([[0.4, 0.0, 0.3, 0.0], [0.5, 0.1, 0.025, 0.1]]),
        gripper=np.array([0.0, 0.5]),
        gripper_rate=np.zeros(2),
        target=np.array([[0.5, 0.1, 0.02]] * 2),
        target_yaw=np.zeros(2),
        yaw_period=np.zeros(2),
    )
    single = expert(scene())
    np.testing.assert_array_equal(expert(batch)[:1], single)


def test_the_expert_closes_on_the_object_and_lifts_what_it_holds() -> None:
    at = np.array([[0.5, 0.1, 0.022, 0.0]])
    assert expert(scene(ee=at))[0, 4] == 1
    held = expert(scene(ee=at, gripper=np.array([0.5])))[0]
    assert held[4] == 1
    assert held[2] > at[0, 2] + 0.02
    far = expert(scene(gripper=np.array([0.9])))[0]
    assert far[4] == 0


def test_a_chunk_starts_with_the_set_point_of_the_expert() -> None:
    np.testing.assert_array_equal(chunk(scene(), 8)[:, 0], expert(scene()))
