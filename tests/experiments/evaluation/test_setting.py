"""A setting's hash changes with what it measures and with nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders.sweeps import SETTING
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.execution import OpenLoop
from vlatency.agent.realtime.reuse import Every
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Shared
from vlatency.experiments.evaluation.options import parse_modes
from vlatency.experiments.evaluation.policies import find_policy, hash_policy
from vlatency.experiments.evaluation.setting import Setting, crossed, differences, hash_of, name_of
from vlatency.sim.errors import UsageError


def timed(**change: Any) -> Setting:
    return replace(SETTING, timing=replace(SETTING.timing, **change))


def test_the_name_says_task_views_and_resolution() -> None:
    name = name_of([SETTING])
    assert name.startswith("static-3v-224-") and len(name) == len("static-3v-224-7f3a")
    wide = replace(SETTING, optimization=Optimization(cameras=("top",), width=640, height=360), blackout=True)
    assert name_of([wide]).startswith("static-1v-640x360-blackout-")
    assert name_of([replace(SETTING, task="conveyor", speed=0.05)]).startswith("conveyor-0.05-3v-224-")


OTHERS = {
    "task": replace(SETTING, task="small"),
    "seed": replace(SETTING, seed=10_001),
    "policy_sha256": replace(SETTING, policy_sha256="cd"),
    "swap_instruction": replace(SETTING, swap_instruction=True),
    "speed": replace(SETTING, speed=0.05),
    "head": replace(SETTING, head="flow"),
    "mode": timed(mode="pause"),
    "control_hz": timed(control_hz=20.0),
    "reuse": timed(reuse=Every(3)),
    "execution": timed(execution=OpenLoop()),
    "servers": timed(servers=Shared(2.0)),
    "latency": timed(latency=FixedLatency(51.0, 10.0)),
    "perf_factor": timed(latency=FixedLatency(50.0, 10.0, factor=0.5)),
    "late": timed(robot=RobotTiming(late="drop")),
    "camera_hz": timed(robot=RobotTiming(camera_hz=30)),
    "cameras": replace(SETTING, optimization=Optimization(cameras=("wrist", "top", "front"))),
}


@pytest.mark.parametrize("field", OTHERS)
def test_every_field_counts_and_is_named(field: str) -> None:
    other = OTHERS[field]
    assert other.hash != SETTING.hash
    named = [line.split()[0] for line in differences(SETTING.as_json(), other.as_json())]
    assert named == (["contention", field] if field == "servers" else [field])


@pytest.mark.parametrize("setting", OTHERS.values(), ids=OTHERS.keys())
def test_a_setting_comes_back_from_json_as_it_went(setting: Setting) -> None:
    values = json.loads(json.dumps(setting.as_json()))
    again = Setting.from_json(values)
    assert again.hash == setting.hash and again.as_json() == values
    assert again.timing.latency.charged == setting.timing.latency.charged


def test_what_was_read_back_runs_no_episode() -> None:
    latency = Setting.from_json(SETTING.as_json()).timing.latency
    with pytest.raises(TypeError, match="read back"):
        latency.stream(np.random.default_rng(0))


def test_a_latency_counts_by_what_it_charges_and_not_by_its_name(tmp_path: Path) -> None:
    point = {"views": 3, "width": 224, "height": 224, "encoding": "batched"}
    found = []
    for name, samples in (("a", [50, 60, 70]), ("b", [50, 60, 70]), ("a", [10, 60, 990])):
        profile = {"device": "d", "head_ms": 10, "overhead_ms": 1, "realised_tflops": 1}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(profile | {"encode": [point | {"samples_ms": samples}]}))
        found.append(timed(latency=parse_latency(str(path), SETTING.optimization)))
    medians = {(each.timing.latency.vl_ms, each.timing.latency.head_ms) for each in found}
    assert len(medians) == 1
    assert found[0].hash == found[1].hash != found[2].hash
    assert differences(found[0].as_json(), found[1].as_json()) == []
    (line,) = differences(found[0].as_json(), found[2].as_json())
    assert "latency" in line and "changed" in line


def test_features_and_timing_can_be_crossed() -> None:
    fast_optimization = Optimization(cameras=("top",))
    slow = timed(latency=parse_latency("insertion_vla", SETTING.optimization))
    fast = replace(
        timed(latency=parse_latency("insertion_vla", fast_optimization), reuse=Every(2)), optimization=fast_optimization
    )
    late, wrong = crossed(slow, fast), crossed(fast, slow)
    assert late.optimization == slow.optimization and late.timing == fast.timing != slow.timing
    assert wrong.optimization == fast.optimization and wrong.timing == slow.timing
    assert (crossed(slow, slow), crossed(fast, fast)) == (slow, fast)
    assert crossed(late, wrong) == slow and crossed(wrong, late) == fast
    assert len({one.hash for one in (slow, fast, late, wrong)}) == 4


def test_the_modes_of_a_run_count_in_their_order() -> None:
    modes = [timed(mode="pause"), timed(mode="sync")]
    assert hash_of(modes) != hash_of(modes[:1]) != hash_of(modes[::-1])
    assert parse_modes("all") == parse_modes("async,pause,sync") == ("pause", "sync", "async")
    assert parse_modes("sync") == ("sync",)


@pytest.mark.parametrize("text", ["", "fast", "pause,", "ALL"])
def test_an_unknown_mode_names_the_modes(text: str) -> None:
    with pytest.raises(UsageError, match="pause, sync, async, all"):
        parse_modes(text)


def test_a_missing_policy_names_those_that_ship() -> None:
    for name in ("nowhere", ""):
        with pytest.raises(UsageError, match=f"no policy folder '{name}'.*tiny"):
            find_policy(name)


def test_the_policy_hash_follows_weights_and_not_the_model_card(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = hash_policy(tmp_path)
    (tmp_path / "README.md").write_text("card")
    assert hash_policy(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"22")
    assert hash_policy(tmp_path) != first


def test_a_policy_is_hashed_once_however_often_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = hash_policy(tmp_path)
    monkeypatch.delattr(Path, "open")
    assert {hash_policy(tmp_path) for _ in range(32)} == {first}
