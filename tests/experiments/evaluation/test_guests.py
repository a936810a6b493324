"""Policies and environments of others, as a configuration names them."""

from typing import Any

import pytest

from vlatency.experiments.evaluation.configuration import parse_options
from vlatency.experiments.evaluation.setting import Setting, name_of
from vlatency.sim.errors import UsageError

REACH: dict[str, Any] = {
    "env": "metaworld:reach-v3", "policy": "script:json:loads", "mode": "async", "latency": "fixed:300"
}  # fmt: skip


def setting(**change: Any) -> Setting:
    ((found,), _) = parse_options({**REACH, **change}).settings(10_000, 20)
    return found


def test_a_guest_is_charged_one_inference_on_one_server_at_its_own_rate_and_with_its_own_hold() -> None:
    timing = setting().timing
    assert (timing.stages, str(timing.servers), timing.control_hz) == (1, "two", 80.0)
    assert (timing.latency.vl_ms, timing.latency.head_ms) == (300, 0)
    assert timing.actions.hold == "zero"
    assert setting(hold="repeat").timing.actions.hold == "repeat"


def test_a_setting_of_a_guest_comes_back_from_json_with_its_hash() -> None:
    assert Setting.from_json(setting().as_json()) == setting()
    assert name_of([setting()]).startswith("metaworld-reach-v3-script-json-loads-zero-")


@pytest.mark.parametrize(
    "change",
    [{"hold": "repeat"}, {"env": "metaworld:push-v3"}, {"latency": "fixed:301"}, {"policy": "script:math:sin"}],
)
def test_whatever_can_move_a_trajectory_of_a_guest_changes_the_hash(change: dict[str, Any]) -> None:
    assert setting(**change).hash != setting().hash


def test_a_mapping_counts_by_its_content(tmp_path: Any) -> None:
    files = [tmp_path / name for name in ("one.yaml", "two.yaml", "three.yaml")]
    text = "step_s: 0.1\ntime_limit_s: 5\nkinds: [absolute]\nsuccess: [success]\n"
    for file, content in zip(files, (text, f"# a comment\n{text}", text.replace("5", "6")), strict=True):
        file.write_text(content)
    one, two, three = (setting(env="gym:CartPole-v1", env_config=str(file)).hash for file in files)
    assert one == two != three


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policy": "tiny"}, "openpi://HOST:PORT"),
        ({"latency": "insertion_vla"}, "another model"),
        ({"env": "metaworld:rech-v3"}, "reach-v3"),
        ({"env": "metawold:reach-v3"}, "metaworld"),
        ({"env": "gym:CartPole-v1"}, "--env-config"),
        ({"views": 2}, "res"),
        ({"quant": "bnb-int8"}, "res"),
        ({"head": "flow"}, "head"),
        ({"speed": 0.1}, "speed"),
        ({"blackout": True}, "blackout"),
        ({"reuse": "event"}, "event"),
        ({"reuse": "stagger"}, "stagger"),
        ({"execution": "roll-forward"}, "roll-forward"),
        ({"servers": "shared"}, "two"),
        ({"late": "drop"}, "late"),
        ({"policy": "script:nothing"}, "script:MODULE:CALLABLE"),
        ({"env": "vlatency", "hold": "zero"}, "repeat"),
        ({"env": "vlatency", "policy": "tiny", "env_config": "x.yaml"}, "env_config"),
        ({"env": "vlatency", "policy": "tiny", "latency": "measured"}, "measured"),
        ({"latency": "measured", "perf_factor": 0.5}, "perf-factor"),
    ],
)
def test_what_does_not_go_together_is_one_line_that_says_what_would(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        setting(**change)
    assert "\n" not in str(error.value)
