"""A setting's hash changes with the science and with nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.experiments.evaluation.setting import (
    Setting,
    crossed,
    differences,
    find_policy,
    hash_policy,
    parse_cameras,
    parse_modes,
)
from vlatency.sim.errors import UsageError

SETTING = Setting(
    task="static",
    optimization=Optimization(),
    modes=("pause", "async"),
    reuse="latest",
    latency="fixed:50,10",
    vl_ms=50.0,
    head_ms=10.0,
    control_hz=10.0,
    seed=10_000,
    policy_sha256="ab",
)


def test_the_name_says_task_views_and_resolution() -> None:
    assert SETTING.name.startswith("static-3v-224-") and len(SETTING.name) == len("static-3v-224-7f3a")
    wide = replace(SETTING, optimization=Optimization(cameras=("top",), width=640, height=360), blackout=True)
    assert wide.name.startswith("static-1v-640x360-blackout-")


@pytest.mark.parametrize(
    "change",
    [
        {"task": "belt"},
        {"modes": ("pause",)},
        {"seed": 10_001},
        {"policy_sha256": "cd"},
        {"swap_instruction": True},
        {"execution": "chunk"},
        {"servers": "shared"},
        {"perf_factor": 0.5},
        {"speed": 0.05},
        {"head": "flow"},
    ],
)
def test_every_field_counts(change: dict[str, Any]) -> None:
    other = replace(SETTING, **change)
    assert other.hash != SETTING.hash
    assert [line.split()[0] for line in differences(SETTING.as_json(), other.as_json())] == list(change)


def test_the_rig_counts_field_by_field() -> None:
    other = replace(SETTING, robot=RobotTiming(camera_hz=30, late="drop"))
    assert other.hash != SETTING.hash
    assert differences(SETTING.as_json(), other.as_json()) == [
        "camera_hz (0 there, 30 here)",
        "late (apply there, drop here)",
    ]


def test_a_fixed_speed_is_part_of_the_name() -> None:
    assert replace(SETTING, task="conveyor", speed=0.05).name.startswith("conveyor-0.05-3v-224-")


def test_the_order_of_cameras_counts() -> None:
    swapped = replace(SETTING, optimization=Optimization(cameras=("wrist", "top", "front")))
    assert differences(SETTING.as_json(), swapped.as_json()) == [
        "cameras (top,wrist,front there, wrist,top,front here)"
    ]


def test_features_and_timing_can_be_crossed() -> None:
    profile = replace(SETTING, latency="insertion_vla", vl_ms=81.0)
    fast = replace(profile, optimization=Optimization(cameras=("top",)), reuse="2", vl_ms=47.0)
    late, wrong = crossed(profile, fast), crossed(fast, profile)
    assert late.optimization == profile.optimization and late.reuse == "2"
    assert late.latency_model == fast.latency_model != profile.latency_model
    assert wrong.optimization == fast.optimization and wrong.latency_model == profile.latency_model
    assert (crossed(profile, profile), crossed(fast, fast)) == (profile, fast)
    assert crossed(late, wrong) == profile and crossed(wrong, late) == fast
    assert len({one.hash for one in (profile, fast, late, wrong)}) == 4


def test_modes_come_in_one_order() -> None:
    assert parse_modes("all") == parse_modes("async,pause,sync") == ("pause", "sync", "async")
    assert parse_modes("sync") == ("sync",)


@pytest.mark.parametrize("text", ["", "fast", "pause,", "ALL"])
def test_an_unknown_mode_names_the_modes(text: str) -> None:
    with pytest.raises(UsageError, match="modes are pause, sync, async, all"):
        parse_modes(text)


def test_views_take_the_first_cameras() -> None:
    assert parse_cameras("", 2) == ("top", "wrist")
    assert parse_cameras("right, top", 3) == ("right", "top")


@pytest.mark.parametrize("views", [0, 6, -1])
def test_views_outside_one_to_five_name_the_cameras(views: int) -> None:
    with pytest.raises(UsageError, match=f"1 to 5, not {views}; cameras are top, wrist"):
        parse_cameras("", views)


def test_a_missing_policy_names_those_that_ship() -> None:
    with pytest.raises(UsageError, match="no policy folder 'nowhere'"):
        find_policy("nowhere")
    with pytest.raises(UsageError, match="no policy folder ''"):
        find_policy("")


def test_the_policy_hash_follows_weights_and_not_the_model_card(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = hash_policy(tmp_path)
    (tmp_path / "README.md").write_text("card")
    assert hash_policy(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert hash_policy(tmp_path) != first
