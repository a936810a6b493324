"""The command report.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.studies import LATE, RUN_ROWS, run_config, write_run, write_sweep
from tests.builders.sweeps import SETTING
from vlatency.experiments.evaluation.run_folder import RunFolder
from vlatency.experiments.report import Args, main
from vlatency.experiments.shared.files import ROOT, locked
from vlatency.sim.errors import UsageError


def test_a_run_is_reported_and_its_summary_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", RUN_ROWS[:50])
    main(Args((run.path,)))
    printed = capsys.readouterr().out
    assert "19/20" in printed and "async against pause" in printed and "report.html" in printed
    text = (run.path / "report" / "report.html").read_text()
    assert "19/20" in text and "world waits" in text and run.config["command"] in text
    assert "Qwen2.5-VL-3B itself was not run" in (run.path / "summary.md").read_text()
    assert len(json.loads((run.path / "summary.json").read_text())["results"]) == 3


def test_runs_and_sweeps_share_a_page_and_other_folders_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path, "late", {**LATE, "episodes": 3})
    run = RunFolder.create(tmp_path / "run", run_config([SETTING]))  # killed before its first episode
    main(Args((tmp_path / "cells", sweep, run.path), tmp_path / "out"))
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("data-study>") == 2 and "not measured" in text
    assert "passed over" in capsys.readouterr().err


def test_two_reports_never_write_to_one_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", RUN_ROWS[:50])
    with locked(run.path / "report"), pytest.raises(UsageError, match="another process"):
        main(Args((run.path,)))
    main(Args((run.path,)))
    assert (run.path / "report" / "report.html").is_file()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "name at least one folder"),
        (["nowhere"], "no folder nowhere"),
        ([".", "nowhere"], "no folder nowhere"),
        (["."], ". holds no run and no sweep"),
        (["runs", "--min-success", "90"], "min-success must be above 0 and below 1, or reference, not 90"),
        (["runs", "--min-success", "best"], "--min-success"),
    ],
)
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "experiments" / "report.py"), *args]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1 and says in done.stderr
