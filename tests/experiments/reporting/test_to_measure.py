"""The command that is proposed measures the configuration that was asked about, on the device that was asked about."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.studies import timed_cell
from vlatency.agent.realtime.timing import Mode
from vlatency.experiments.evaluation.configuration import parse_options
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.candidates import make_candidates
from vlatency.experiments.reporting.question import Question
from vlatency.experiments.reporting.result import summarize
from vlatency.experiments.reporting.to_measure import measuring, options_of
from vlatency.experiments.sweeps.cell_store import canonical
from vlatency.experiments.sweeps.plan_file import read_plan

CHOICES: list[dict[str, object]] = [
    {"mode": "async"},
    {"mode": "sync", "views": 5, "res": "640x360", "encoding": "joint"},
    {"mode": "async", "cameras": "wrist,top", "reuse": "stagger:2", "execution": "delay-aware:2", "quant": "fp8"},
    {"mode": "async", "task": "conveyor", "speed": 0.05, "pool": "mean", "shortcuts": "prefix,fused"},
    {"mode": "async", "task": "conveyor", "control_hz": 20.0, "actuation_ms": 5.0, "camera_hz": 30.0, "late": "drop"},
]


def setting_of(options: dict[str, object]) -> Setting:
    ((setting,), _) = parse_options(options).settings(10_000, 10)
    return setting


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("question", [Question("h100"), Question("fixed:90,10", servers="shared", contention=2.4)])
def test_the_cell_proposed_is_at_the_latencies_of_the_device(choice: dict[str, object], question: Question) -> None:
    measured = setting_of(choice | {"latency": "fixed:50,5"})
    proposed = canonical(setting_of(options_of(measured, question)))
    assert proposed == canonical(replace(measured, timing=question.on_device().timing(measured)))
    (candidate,) = make_candidates([summarize(proposed, [{"success": True, "mode": proposed.mode}], None)],
                                   question.on_device())  # fmt: skip
    assert candidate.interpolated and candidate.interpolated.how == "at"


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_command_is_one_line_and_its_sweep_can_be_read(mode: Mode, tmp_path: Path) -> None:
    question = Question("fixed:900,10")
    measured = setting_of({"mode": mode, "latency": "fixed:50,5"})
    (candidate,) = make_candidates([timed_cell(measured.timing, 20, 20)], question.on_device())
    text = measuring(candidate, question)
    words = shlex.split(text)
    assert "\n" not in text and words[0] == "echo" and words[-3:] == ["python", "experiments/sweep.py", words[3]]
    (tmp_path / "measure.yaml").write_text(words[1])
    plan = read_plan(str(tmp_path / "measure.yaml"))
    assert plan.arms == (candidate.name,) and plan.episodes > 100 and json.loads(words[1])["episodes"] == plan.episodes
