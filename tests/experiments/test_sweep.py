"""The command sweep.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.sweeps import SPEC, measured
from vlatency.experiments.evaluation.run_folder import EPISODES
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.study import read_study, summarize_sweep, write_sweep
from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.sweeps.plan_file import make_plan


@pytest.mark.parametrize(("args", "says"), [(["big"], "no sweep 'big'"), (["smoke", "--looks", "9"], "looks must be")])
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "experiments" / "sweep.py"), *args]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert (done.returncode, done.stdout) == (2, "") and list(tmp_path.iterdir()) == []
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr


@pytest.mark.slow
def test_what_a_sweep_writes_tells_which_cells_it_used(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 2})
    cells = measured(plan, tmp_path / "cells")
    folder = write_sweep(summarize_sweep(plan, cells, "python experiments/sweep.py x"), cells)
    assert folder.parent == tmp_path and folder.name == f"sweep-x-{plan.hash[:4]}"
    summary = read_study(folder).summary
    assert summary.results == summarize_sweep(plan, cells, "").results and len(summary.results) == 6
    assert all((cells.path(setting) / EPISODES).is_file() for setting in summary.plan.settings)
    stored = json.loads((folder / "summary.json").read_text())
    assert [Result.from_json(values) for values in stored["results"]] == list(summary.results)
    assert "task small" in (folder / "summary.md").read_text()
