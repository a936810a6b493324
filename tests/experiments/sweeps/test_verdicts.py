"""What the rows of a sweep permit to say."""

import pytest

from tests.builders.sweeps import SOFTWARE, SPEC, outcomes_of, rows_of
from vlatency.experiments.reporting.result import results
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.summary_text import text
from vlatency.experiments.sweeps.plan import LATE, WRONG, Plan
from vlatency.experiments.sweeps.plan_file import make_plan
from vlatency.experiments.sweeps.verdicts import Rows, break_evens, decided, letters, splits, verdicts


def summary(plan: Plan, rows: Rows) -> Summary:
    found = results(plan, rows, lambda setting: None)
    return Summary(plan, found, break_evens(plan, rows), "", SOFTWARE)


@pytest.mark.slow
def test_late_or_wrong_finds_what_was_put_there() -> None:
    plan = make_plan("x", {**SPEC, "episodes": 40, "across": {"task": ["static"]}})
    views = {3: 40, 2: 40, 1: 10}
    rows = rows_of(plan, lambda cell, number: number < views[len(cell.setting.optimization.cameras)])
    found = splits(plan, rows)
    (place,) = plan.places
    assert found[place, "1 view"].wrong.significant and not found[place, "1 view"].late.significant
    lines = "\n".join(text(summary(plan, rows)))
    assert "features worse" in lines and "-75 points" in lines
    assert [cell.part for cell in plan.cells] == ["", "", LATE, WRONG, "", LATE, WRONG]
    assert summary(plan, rows).as_json()["results"][2]["split"]["wrong"]["difference"]["estimate"] == -0.75


def test_verdicts_share_one_holm_table() -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 20})
    chance = {3: 20, 2: 14, 1: 14}
    rows = rows_of(plan, lambda cell, number: number < chance[len(cell.setting.optimization.cameras)])
    found = verdicts(plan, rows)
    assert len(found) == 4 and not any(result.significant for result in found.values())  # one alone: p = 0.031


def test_letters_allow_for_all_pairs_of_their_place() -> None:
    plan = make_plan("x", {**SPEC, "episodes": 20, "across": {"task": ["static"]}, "split": False})
    # Of 6 seeds lost, none gained, McNemar says 0.031: no 5 % after Holm over three pairs. Of 8 it says 0.008.
    table = {"3 views": [True] * 20, "2 views": [True] * 20, "1 view": [False] * 6 + [True] * 14}
    place = plan.places[0]
    assert letters(plan, rows_of(plan, outcomes_of(table)), place) == {"3 views": "a", "2 views": "a", "1 view": "a"}
    table["1 view"] = [False] * 8 + [True] * 12
    assert letters(plan, rows_of(plan, outcomes_of(table)), place) == {"3 views": "a", "2 views": "a", "1 view": "b"}


def test_a_split_allows_for_all_its_tests() -> None:
    arms = {"a": {"views": 3}, "b": {"views": 1}}
    plan = make_plan("x", {**SPEC, "episodes": 20, "across": {"task": ["static"]}, "arms": arms})
    table = {"a": [True] * 20, "b": [True] * 20, LATE: [False] * 6 + [True] * 14, WRONG: [True] * 20}
    (split,) = splits(plan, rows_of(plan, outcomes_of(table))).values()
    assert split.late.p_value == pytest.approx(2 * 0.03125) and not split.late.significant


def test_looks_share_the_level_among_the_comparisons() -> None:
    spec = {**SPEC, "episodes": 20, "looks": 2, "split": False}
    plan = make_plan("x", spec)
    table = {"3 views": [True] * 20, "2 views": [True] * 20, "1 view": [False] * 7 + [True] * 13}
    rows = rows_of(plan, outcomes_of(table))
    assert not decided(plan, rows, plan.places[0], "1 view")  # 7 lost: p = 0.016
    arms = {name: SPEC["arms"][name] for name in ("3 views", "1 view")}
    alone = make_plan("x", {**spec, "across": {"task": ["static"]}, "arms": arms})
    assert decided(alone, rows_of(alone, outcomes_of(table)), alone.places[0], "1 view")


def test_break_even_is_taken_along_its_option() -> None:
    spec = {**SPEC, "split": False, "across": {"task": ["conveyor"], "speed": [0.02, 0.05, 0.1]}, "episodes": 20}
    plan = make_plan("x", {**spec, "break_even": {"over": "speed", "threshold": 0.5}})
    rows = rows_of(plan, lambda cell, number: number < 20 - 200 * (cell.setting.speed or 0))
    assert set(break_evens(plan, rows)) == {((("task", "conveyor"),), arm) for arm in plan.arms}
    never = rows_of(plan, lambda cell, number: True)
    assert {fit.describe() for fit in break_evens(plan, never).values()} == {"above 0.1"}
    assert any("3 views, task conveyor: above 0.1" in line for line in text(summary(plan, never)))
