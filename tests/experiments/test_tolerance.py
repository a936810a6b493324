"""How much latency each task bears."""

import csv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.builders.studies import SHIP, write_sweep
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.reporting.tolerance import ordered, series
from vlatency.experiments.tolerance import Args, main
from vlatency.sim.errors import UsageError

SPEC: dict[str, Any] = {
    "episodes": 40,
    "across": {"task": ["conveyor", "static"]},
    "arms": {
        "none": {"mode": "pause"},
        **{f"async {ms}": {"mode": "async", "latency": f"fixed:{ms}"} for ms in (100, 400, 1600)},
        **{f"sync {ms}": {"mode": "sync", "latency": f"fixed:{ms}"} for ms in (100, 400)},
    },
}


def test_the_task_that_bears_more_stands_first_and_every_cell_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_sweep(tmp_path, "bears", SPEC)
    summary = read_study(folder).summary
    found = series(summary)
    assert [(each.task, each.way) for each in found] == [
        ("conveyor", "async"), ("conveyor", "sync"), ("static", "async"), ("static", "sync")
    ]  # fmt: skip
    assert list(found[0].results) == [0, 100, 400, 1600]
    assert ordered(found, 0.5) == ["static", "conveyor"]
    main(Args(folder, tmp_path / "out"))
    said = capsys.readouterr().out
    rows = list(csv.reader((tmp_path / "out" / "bears-tolerance.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["task", "static", "conveyor"]
    for result in summary.results:
        row = next(row for row in rows if row[0] == result.task)
        assert (f"{result.k}/{result.n}" if result.mode == "pause" else f"{100 * result.k / result.n:.0f}") in row
    chart = ElementTree.parse(tmp_path / "out" / "bears-tolerance.svg").getroot()
    assert sum(each.tag.endswith("rect") for each in chart.iter()) == 1 + 2 * (4 + 3)
    assert "stand-in" in said and "one GPU" not in said.split("each on its own GPU")[0]


def test_a_sweep_without_latencies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="metaworld"):
        main(Args(write_sweep(tmp_path, "ship", {**SHIP, "arms": {"a": {"mode": "pause"}}})))
    with pytest.raises(UsageError, match="threshold"):
        main(Args(tmp_path, threshold=1.0))
