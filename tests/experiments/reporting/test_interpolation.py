"""Between measured latencies only this is assumed: more latency never helps."""

import json
import os
from pathlib import Path

import pytest

from tests.builders.studies import LATE, cell, write_sweep
from vlatency.agent.realtime.cost.latency import Charged
from vlatency.experiments.analysis.paired import wilson
from vlatency.experiments.reporting.interpolation import cliff, interpolate, read_cells
from vlatency.sim.errors import UsageError


def test_between_two_latencies_only_monotony_is_assumed() -> None:
    cells = [cell(0, 20, 20), cell(400, 10, 20)]
    found = interpolate(cells, Charged(100, 100, 11))
    assert found and found.success.estimate == pytest.approx(0.875)
    assert (found.success.low, found.success.high) == (wilson(10, 20).low, wilson(20, 20).high)
    assert found.how == "between" and found.describe() == "between 20/20 at 0 ms and 10/20 at 400 ms"
    at = interpolate(cells, Charged(401, 401, 11))
    assert at and at.results == (cells[1],)
    bound = interpolate(cells[1:], Charged(100, 100, 11))
    assert bound and (bound.success.low, bound.success.high) == (wilson(10, 20).low, 1.0)
    assert bound.describe() == "at least 10/20 at 400 ms"
    assert interpolate(cells, Charged(500, 500, 11)) is None


@pytest.mark.parametrize("device", [Charged(100, 100, 30), Charged(100, 500, 11), Charged(500, 100, 11)])
def test_a_cell_vouches_only_for_a_device_that_is_no_slower_in_anything(device: Charged) -> None:
    assert interpolate([cell(400, 20, 20)], device) is None


def test_a_cell_of_the_same_encode_with_a_slower_head_is_a_bound() -> None:
    found = interpolate([cell(400, 20, 20)], Charged(400, 400, 3))
    assert found and found.how == "at least"


def test_the_cliff_needs_two_latencies() -> None:
    assert cliff([cell(100, 5, 20)], 0.5) is None
    fall = cliff([cell(0, 20, 20), cell(200, 19, 20), cell(400, 2, 20)], 0.5)
    assert fall and fall.estimate is not None and (fall.low, fall.high) == (200, 400)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_cells_say_what_was_charged_and_not_what_the_profile_says_today(tmp_path: Path) -> None:
    write_sweep(tmp_path, "late", {**LATE, "episodes": 2})
    path = sorted(tmp_path.glob("cells/*/config.json"))[0]
    (setting,) = json.loads(path.read_text())["settings"]
    latency = setting["timing"]["latency"] | {"vl_ms": 1.0, "vl_p95_ms": 2.0, "head_ms": 3.0}
    change(path, settings=[setting | {"timing": setting["timing"] | {"latency": latency}}])
    found = [result.setting.timing.latency.charged for result in read_cells(tmp_path / "cells").results]
    assert len(found) == 8 and Charged(1.0, 2.0, 3.0) in found


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    write_sweep(tmp_path, "late", {**LATE, "episodes": 2})
    path = sorted(tmp_path.glob("cells/*/config.json"))[0]
    change(path, policy={})
    with pytest.raises(UsageError, match=r"config\.json cannot be used.*remove the folder"):
        read_cells(tmp_path / "cells")


def test_cells_of_other_software_or_of_an_older_version_are_passed_over_and_counted(tmp_path: Path) -> None:
    write_sweep(tmp_path, "late", {**LATE, "episodes": 2})
    other, older, *_ = sorted(tmp_path.glob("cells/*/config.json"))
    change(other, software={"gl_renderer": "another"})
    os.utime(other, (1, 1))
    change(older, schema=1)
    found = read_cells(tmp_path / "cells")
    assert (len(found.results), found.other_software, found.older) == (6, 1, 1)
    assert read_cells(tmp_path / "nowhere").results == ()
