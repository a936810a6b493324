"""The answer of a study says what the table says, and no more."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import studies
from vlatency.experiments.analysis.break_even import BreakEven
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.reporting.headline import answer
from vlatency.experiments.reporting.shipping import CANNOT_TELL, Answer
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.reporting.summary import Summary

Chance = Callable[[Job], float]
ASYNC = {"latency": "fixed:100,11", "mode": "async", "res": 224}


def said(tmp_path: Path, patch: pytest.MonkeyPatch, chance: Chance, **spec: Any) -> Answer:
    """The answer of a sweep whose episodes succeed with that chance."""
    patch.setattr(studies, "chance", chance)
    return answer(read_study(studies.write_sweep(tmp_path, "made-up", {"episodes": 60, **spec})).summary)


def test_a_single_configuration_is_compared_with_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(tmp_path, monkeypatch, lambda _: 1.0, arms={"only": {**ASYNC, "views": 3}})
    assert found.short == "only: 100 % [94, 100]" and "compared with no other" in found.sentence


def test_a_split_is_answered_first_and_shipping_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {
        "bf16": {**ASYNC, "views": 3},
        "slow": {**ASYNC, "views": 3, "quant": "bnb-nf4", "latency": "fixed:600,11"},
        "rough": {**ASYNC, "views": 1},
    }

    def chance(job: Job) -> float:
        setting = job.setting
        slow, rough = setting.timing.latency.vl_ms > 500, len(setting.optimization.cameras) == 1
        return 0.95 - 0.6 * slow - 0.6 * rough

    found = said(tmp_path, monkeypatch, chance, arms=arms, split=True)
    assert "timing hurts slow" in found.short.lower() and "features hurt rough" in found.short.lower()
    assert "Ship: bf16." in found.sentence
    found = said(tmp_path / "alike", monkeypatch, lambda _: 0.95, arms=arms, split=True)
    assert found.short.startswith(CANNOT_TELL)


def test_where_the_world_waits_arms_are_compared_and_none_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {f"{views} views": {"mode": "pause", "res": 224, "views": views} for views in (3, 1)}
    same = said(tmp_path, monkeypatch, lambda _: 0.9, arms=arms)
    assert same.short.endswith("from 3 views: none") and "no latency was charged" in same.sentence
    fewer = lambda job: 0.3 * len(job.setting.optimization.cameras)  # noqa: E731
    found = said(tmp_path / "fewer", monkeypatch, fewer, arms=arms)
    assert found.short.endswith("from 3 views: 1 of 1") and "1 views is significantly worse" in found.sentence


def test_where_late_features_help_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {f"{ms} ms": {**ASYNC, "views": 3, "latency": f"fixed:{ms},11"} for ms in (100, 400)}
    found = said(tmp_path, monkeypatch, lambda job: 0.5 + 0.001 * job.setting.timing.latency.vl_ms, arms=arms)
    assert found.short == "No task loses success to late features" and "better at 400 ms" in found.sentence


def test_the_answer_of_a_study_has_its_uncertainty(summaries: dict[str, Summary]) -> None:
    found = answer(summaries["ship"])
    assert found.short == "Ship: + async"
    assert "of 80 episodes on 2 tasks" in found.sentence and "keeps 10 Hz" in found.sentence
    assert re.search(r"\d+ % \[\d+, \d+\]", found.sentence) and "significantly better (+" in found.sentence
    late = answer(summaries["late"])
    assert late.short.endswith("in 1 of 2 tasks") and "ms on conveyor (-" in late.sentence


def test_break_even_names_an_arm_as_lowest_only_where_intervals_are_apart(summaries: dict[str, Summary]) -> None:
    summary = summaries["fast"]
    found = answer(summary).short
    assert found.startswith("Lowest break-even speed: ") and found.endswith("with 400 ms on conveyor")
    (sooner, fall), (later, late) = summary.falls.items()

    def short(one: BreakEven, two: BreakEven) -> str:
        return answer(replace(summary, falls={sooner: one, later: two})).short

    assert short(replace(fall, estimate=None, low=None, high=0.0, above=False), late).endswith("with 0 ms on conveyor")
    assert short(fall, fall).startswith(CANNOT_TELL)
    never = replace(fall, estimate=None, low=0.15, high=None, above=True)
    assert short(never, never).startswith(CANNOT_TELL)


def test_what_few_episodes_cannot_tell_is_said(tmp_path: Path) -> None:
    arms = {"3 views": {"views": 3}, "2 views": {"views": 2}}
    spec = {**studies.SHIP, "episodes": 3, "common": {"mode": "async"}, "arms": arms}
    found = answer(read_study(studies.write_sweep(tmp_path, "few", spec)).summary)
    assert found.short == CANNOT_TELL and "more in each place would decide" in found.sentence


def test_without_episodes_the_answer_is_not_measured(summaries: dict[str, Summary]) -> None:
    none = [replace(result, k=0, n=0, success=None, rows=()) for result in summaries["ship"].results]
    assert answer(replace(summaries["ship"], results=tuple(none))).short == "Not measured"
