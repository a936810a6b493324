"""A sweep's YAML is what it says, or one line that says what is wrong."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.builders.sweeps import SPEC
from vlatency.experiments.sweeps.plan import Plan
from vlatency.experiments.sweeps.plan_file import Overrides, make_plan, presets, read_plan
from vlatency.sim.errors import UsageError

BELT: dict[str, Any] = {"across": {"task": ["conveyor"], "speed": [0.0, 0.1]}}


@pytest.mark.slow
def test_a_plan_comes_back_from_json_as_it_went() -> None:
    for name in ("note", "views-res", "speed", "quant"):
        plan = read_plan(name)
        again = Plan.from_json(plan.as_json())
        assert again.hash == plan.hash and again.as_json() == plan.as_json()


def test_where_features_are_the_same_no_cell_is_added() -> None:
    arms = {"latest": {}, "every 15": {"reuse": 15}}
    plan = make_plan("x", {**SPEC, "arms": arms, "across": {}})
    assert len(plan.cells) == 4 and len(plan.settings) == 2


def test_an_arm_whose_latency_nobody_knows_is_left_out_and_says_why() -> None:
    plan = read_plan("note")
    assert [arm for arm, _ in plan.left_out] == ["+ INT8", "INT8 alone"]
    assert not any(cell.setting.optimization.quant != "none" for cell in plan.cells)
    assert all("insertion_vla" in reason and "bnb-int8" in reason for _, reason in plan.left_out)
    known = make_plan("x", {**SPEC, "arms": {"a": {}, "b": {"quant": "fp8", "latency": "fixed:99,11"}}})
    assert known.left_out == () and known.arms == ("a", "b")


def test_a_reference_whose_latency_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="no figure for quant fp8"):
        make_plan("x", {**SPEC, "arms": {"a": {"quant": "fp8", "latency": "insertion_vla"}, "b": {}}})


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("arms:\n  a: {views: 3}\n  a: {views: 2}\n")
    with pytest.raises(UsageError, match="twice.yaml: 'a' is there twice in one mapping"):
        read_plan(str(path))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(presets().keys() - {"ablations", "metaworld"}))
def test_every_preset_can_be_planned(name: str) -> None:
    plan = read_plan(name)
    assert plan.about and len(plan.arms) > 1 and plan.comparisons > 0


def test_metaworlds_sweep_wants_metaworld() -> None:
    if find_spec("metaworld"):
        assert len(read_plan("metaworld").places) == 50
    else:
        with pytest.raises(UsageError, match="make suites"):
            read_plan("metaworld")


def test_the_ablations_want_heads_that_are_trained_first() -> None:
    with pytest.raises(UsageError, match="no policy folder 'runs/head-all'"):
        read_plan("ablations")


def test_the_smoke_sweep_is_part_of_no_long_one() -> None:
    assert read_plan("smoke").episodes * len(read_plan("smoke").settings) <= 60
    assert read_plan("smoke", Overrides(episodes=3, looks=2)).looks == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arms": {}}, "no arms"),
        ({"arms": {"a": {"wings": 2}}}, "unknown 'wings'; options are env, env_config, task, speed, policy"),
        ({"arms": {"a": {"views": "many"}}}, "'many'"),
        ({"arms": {"a": {"views": 9}}}, "a, task static: views must be 1 to 5, not 9"),
        ({"arms": {"a": {"mode": "all"}}}, "mode must be one of pause, sync, async"),
        ({"arms": {"a": {"task": "static"}}}, "task is both across all arms and one arm's own"),
        ({"across": {"task": ["belt"]}}, "'belt'"),
        ({"across": {"task": "static"}}, "across: task needs a list"),
        ({"across": {"speed": [0.1]}}, "in task 'static'"),
        ({"episodes": 0}, "episodes must be a whole number of at least 1"),
        ({"looks": 30}, "looks must be 1 to 8, not 30"),
        ({"break_even": {"over": "speed"}}, "break_even: over must name an option"),
        ({"break_even": {"over": "task"}}, "several numbers of, not task"),
        ({"break_even": {"over": ["task"]}}, "several numbers of, not ['task']"),
        ({"break_even": {"over": "speed", "threshold": 1}, **BELT}, "threshold must be above 0 and below 1, not 1"),
        ({"break_even": {"over": "speed", "treshold": 0.5}, **BELT}, "unknown 'treshold'"),
        ({"across": {"task": [["static"]]}}, "across: task needs single values"),
        ({"across": {"task": [{"a": 1}]}}, "across: task needs single values"),
        ({"across": {"task": ["static", "static"]}}, "across: task has a value twice"),
        ({"across": {"task": ["conveyor"], "speed": [1, 1.0]}}, "across: speed has a value twice"),
        ({"across": {"task": ["conveyor"], "speed": [0.1, "0.1"]}}, "across: speed has a value twice"),
        ({"across": {"task": ["conveyor"], "speed": ["1e-1", 0.1]}}, "across: speed has a value twice"),
        ({"across": {"task": ["conveyor"], "speed": ["fast"]}}, "'fast'"),
        ({"across": {"views": ["3", 3]}, "arms": {"a": {}}}, "across: views has a value twice"),
        ({"across": {"res": [224, "224x224"]}}, "res 224x224 measures the same as res 224"),
        ({"split": "no"}, "split must be true or false, not 'no'"),
        ({"about": 3}, "about must be text, not 3"),
        ({"arms": {1: {"views": 3}}}, "arms: a name must be text, not 1"),
        ({"arms": {"a": {"views": 3}, "b": {"views": 3}}}, "arms: b measures the same as a"),
        ({"arms": ["a"]}, "expected names with values"),
        ({"episodes": True}, "episodes must be a whole number"),
        ({"episodes": 1.5}, "episodes must be a whole number"),
        ({"looks": "3"}, "looks must be a whole number"),
    ],
)
def test_a_bad_sweep_is_one_line(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        make_plan("x", {**SPEC, **change})
    assert says in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_sweep_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sweep 'big'; give a YAML file, or one of ablations, axis-latency, "):
        read_plan("big")
    broken = tmp_path / "broken.yaml"
    broken.write_text("arms: [1")
    with pytest.raises(UsageError, match="is no YAML"):
        read_plan(str(broken))
    broken.write_text("legs: 2")
    with pytest.raises(UsageError, match="unknown 'legs'; a sweep's keys are about, episodes"):
        read_plan(str(broken))


def test_a_number_that_yaml_takes_for_text_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "common: {task: conveyor, mode: pause}\narms: {a: {}}\nacross: {speed: [1e-2, '0.05', 5e-1]}\n"
        "break_even: {over: speed, threshold: 5e-1}\n"
    )
    plan = read_plan(str(path))
    assert [dict(place)["speed"] for place in plan.places] == [0.01, 0.05, 0.5]
    assert plan.break_even == ("speed", 0.5) and Plan.from_json(plan.as_json()).hash == plan.hash
    assert [cell.setting.speed for cell in plan.cells] == [0.01, 0.05, 0.5]
