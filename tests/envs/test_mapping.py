"""Mappings are data whose every name is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlatency.assets import FOLDER
from vlatency.envs.mapping import Mapping, parse_mapping, read_table
from vlatency.envs.observations import find_part, join_state
from vlatency.envs.suites import SUITES, open_mapping
from vlatency.sim.actions import ActionSpec
from vlatency.sim.errors import UsageError

TABLE: dict[str, Any] = {
    "step_s": 0.05,
    "time_limit_s": 3.0,
    "kinds": ["delta x3", "absolute"],
    "success": ["is_success"],
    "cameras": {"top": {"model": "t"}},
}


def test_a_mapping_says_what_an_action_means() -> None:
    mapping = parse_mapping({**TABLE, "hold": "zero", "limits": [-1, 1], "noop": [0, 0, 0, 1]}, "x")
    assert mapping.actions == ActionSpec(
        ("delta",) * 3 + ("absolute",), 50_000_000, "zero", (0.0, 0.0, 0.0, 1.0), (), (-1.0, 1.0)
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"step": 1}, "did you mean step_s?"),
        ({"kinds": ["deltas"]}, "'absolute', 'delta' or 'velocity'"),
        ({"step_s": "fast"}, "step_s"),
        ({"step_s": float("nan")}, "step_s"),
        ({"time_limit_s": 0.01}, "at least one step"),
        ({"hold": "zeros"}, "'repeat', 'zero' or 'noop'"),
        ({"hold": "noop"}, "noop"),
        ({"noop": [1]}, "4 numbers"),
        ({"success": []}, "success"),
        ({"success": ["distance <"]}, "distance < 0.05"),
        ({"state": ["joints[1"]}, "joints[:7]"),
        ({"cameras": {"a": {"model": "t", "flips": "both"}}}, "did you mean flip?"),
        ({"cameras": {"a": {}}}, "model, free, observation, render"),
        ({"cameras": {"a": {"model": "t", "render": True}}}, "exactly one"),
        ({"cameras": {"a": {"render": True, "position": [0, 0, 1]}}}, "camera of the model"),
        ({"cameras": {"a": {"free": {"look": [0, 0, 0]}}}}, "did you mean lookat?"),
        ({"size": [0, 10]}, "size"),
        ({"rotations": [[9]]}, "from 0 to 3"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line_that_says_what_could(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_mapping({**TABLE, **change}, "own.yaml")
    assert says in str(error.value)
    assert str(error.value).startswith("own.yaml: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["step_s", "time_limit_s", "kinds", "success"])
def test_what_is_not_guessed_is_asked_for(missing: str) -> None:
    with pytest.raises(UsageError, match=f"{missing} is missing"):
        parse_mapping({name: value for name, value in TABLE.items() if name != missing}, "own.yaml")


@pytest.mark.parametrize("content", [b"- 1\n", b"a: [\n", b"\xff\xfe", b"", b"1: 2\n"])
def test_a_file_that_is_no_mapping_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"own\.yaml"):
        read_table(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(tmp_path / "none.yaml")


def every_name() -> list[str]:
    names = []
    for suite in SUITES:
        tasks = read_table(FOLDER / "suites" / f"{suite}.yaml").get("tasks")
        names += [f"{suite}:{task}" for task in tasks] if tasks else [suite]
    return names


@pytest.mark.parametrize("name", every_name())
def test_every_mapping_that_ships_is_one(name: str) -> None:
    mapping = open_mapping(name)
    assert mapping.name == name
    assert mapping.cameras
    assert mapping.packages
    assert bool(mapping.not_run_here) == name.startswith("libero")
    if mapping.actions.relative.any():
        assert mapping.hold != "repeat"  # a delta that is repeated goes on and on


def test_all_of_metaworld_is_there() -> None:
    assert sum(name.startswith("metaworld:") for name in every_name()) == 50


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("metaworld:drawer-opne-v3", "metaworld:drawer-open-v3"),
        ("metaworld", "metaworld:"),
        ("robotics:FetchReach-v3", "robotics:FetchReach-v4"),
        ("pusht:hard", "write pusht"),
        ("metaworl", "did you mean metaworld?"),
        ("gym:Pusher-v5", "--env-config"),
        ("gym", "gym:ID"),
        ("a:b:c", "MODULE:CALLABLE"),
        ("no_such_module:make", "no_such_module"),
        ("math:no_such_function", "no_such_function"),
        ("math:pi", "pi"),
    ],
)
def test_an_unknown_environment_is_refused_with_what_is_near(name: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        open_mapping(name)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_ones_own_changes_what_a_suite_says(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("instruction: Open it\nsize: [64, 48]\n")
    mapping = open_mapping("metaworld:drawer-open-v3", own)
    assert (mapping.instruction, mapping.size, mapping.step_s) == ("Open it", (64, 48), 0.0125)
    own.write_text("instructions: Open it\n")
    with pytest.raises(UsageError, match="did you mean instruction"):
        open_mapping("metaworld:drawer-open-v3", own)


def test_parts_of_an_observation_are_found_by_their_path() -> None:
    observation = {"robot": {"joints": np.arange(4.0), "on": True}, "view": np.zeros((2, 2, 3), np.uint8)}
    np.testing.assert_array_equal(find_part(observation, "robot/joints[1:3]"), [1, 2])
    np.testing.assert_array_equal(find_part(np.arange(9), "[:2]"), [0, 1])
    np.testing.assert_array_equal(join_state(observation, ("robot/on", "robot/joints[-1:]")), [1, 3])
    assert join_state(observation, ()).size == 5  # images are not part of the state
    with pytest.raises(UsageError, match="it has robot/joints, robot/on, view"):
        find_part(observation, "robot/joint")


def test_a_mapping_is_frozen() -> None:
    mapping = parse_mapping(TABLE, "x")
    with pytest.raises(ValueError, match="frozen"):
        mapping.step_s = 0.1
    assert isinstance(mapping, Mapping)
