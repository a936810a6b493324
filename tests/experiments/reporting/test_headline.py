"""The answer of a study says what the table says, and no more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import studies
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.reporting.headline import Answer, answer
from vlatency.experiments.reporting.study import read_study

Chance = Callable[[Job], float]
ASYNC = {"latency": "fixed:100,11", "mode": "async", "res": 224}


def said(tmp_path: Path, patch: pytest.MonkeyPatch, chance: Chance, **spec: Any) -> Answer:
    """The answer of a sweep whose episodes succeed with that chance."""
    patch.setattr(studies, "chance", chance)
    return answer(read_study(studies.write_sweep(tmp_path, "made-up", {"episodes": 60, **spec})))


def test_a_single_configuration_is_compared_with_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(tmp_path, monkeypatch, lambda _: 1.0, arms={"only": {**ASYNC, "views": 3}})
    assert found.short == "only: 100 % [94, 100]" and found.sentence.endswith("it was compared with no other.")


def test_the_best_over_all_places_is_not_called_the_best_where_it_is_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chance(job: Job) -> float:
        three = len(job.setting.optimization.cameras) == 3
        return {"static": 0.1 + 0.9 * three, "conveyor": 0.9 - 0.3 * three}[job.setting.task]

    arms = {"3 views": {**ASYNC, "views": 3}, "1 view": {**ASYNC, "views": 1}}
    found = said(tmp_path, monkeypatch, chance, across={"task": ["static", "conveyor"]}, arms=arms)
    assert found.short == "Ship: 3 views" and " But it is worse than 1 view in conveyor (-" in found.sentence
    monkeypatch.setattr(studies, "chance", lambda job: 0.9 if len(job.setting.optimization.cameras) == 3 else 0.1)
    folder = studies.write_sweep(tmp_path / "all", "made-up", {"episodes": 60, "arms": arms})
    assert (
        answer(read_study(folder)).short == "Ship: 3 views" and "worse than" not in answer(read_study(folder)).sentence
    )


def test_an_arm_is_shipped_only_if_told_from_all_rivals_after_holm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {f"{views} views": {**ASYNC, "views": views} for views in (3, 2, 1)}
    for lost, short in ((6, "Cannot tell"), (9, "Ship: 3 views")):  # McNemar: 0.031 and 0.004, thrice that by Holm

        def chance(job: Job, lost: int = lost) -> float:
            views = len(job.setting.optimization.cameras)
            return float(views == 3 or (job.seed - 10_000) // lost != views - 1)

        assert said(tmp_path / str(lost), monkeypatch, chance, arms=arms).short == short


def test_a_split_is_answered_first_and_shipping_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {
        "bf16": {**ASYNC, "views": 3},
        "slow": {**ASYNC, "views": 3, "quant": "bnb-nf4", "latency": "fixed:600,11"},
        "rough": {**ASYNC, "views": 1},
    }

    def chance(job: Job) -> float:
        return 0.95 - 0.6 * (job.setting.vl_ms > 500) - 0.6 * (len(job.setting.optimization.cameras) == 1)

    found = said(tmp_path, monkeypatch, chance, arms=arms, split=True)
    assert found.short == "Late: slow; Wrong: rough" and " Which to ship: Ship: bf16." in found.sentence
    found = said(tmp_path / "alike", monkeypatch, lambda _: 0.95, arms=arms, split=True)
    assert found.short == "Cannot tell late from wrong"


def test_where_the_world_waits_arms_are_told_apart_and_none_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {f"{views} views": {"mode": "pause", "res": 224, "views": views} for views in (3, 1)}
    same = said(tmp_path, monkeypatch, lambda _: 0.9, arms=arms)
    assert same.short == "Nothing is told from 3 views" and "no latency was charged" in same.sentence
    fewer = lambda job: 0.3 * len(job.setting.optimization.cameras)  # noqa: E731
    found = said(tmp_path / "fewer", monkeypatch, fewer, arms=arms)
    assert found.short == "Told from 3 views: 1 of 1" and "1 views is worse in everywhere" in found.sentence


def test_where_late_features_help_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {f"{ms} ms": {**ASYNC, "views": 3, "latency": f"fixed:{ms},11"} for ms in (100, 400)}
    found = said(tmp_path, monkeypatch, lambda job: 0.5 + 0.001 * job.setting.vl_ms, arms=arms)
    assert (
        found.short == "Late features are told to cost success nowhere" and "It is better at 400 ms" in found.sentence
    )
