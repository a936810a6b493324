"""Between measured latencies only this is assumed: more latency never helps."""

import json
import os
from pathlib import Path

import pytest

from tests.builders.studies import LATE, cell, write_sweep
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.analysis.choosing import exact
from vlatency.experiments.reporting.interpolation import cliff, interpolate, known_in_full, read_cells
from vlatency.experiments.shared import checked_json
from vlatency.sim.errors import UsageError


def device(vl_ms: float, head_ms: float = 11.0) -> Timing:
    return Timing(actions=SETPOINTS, mode="async", latency=FixedLatency(vl_ms, head_ms))


def test_between_two_latencies_only_monotony_is_assumed() -> None:
    cells = [cell(0, 20, 20), cell(400, 10, 20)]
    found = interpolate(cells, device(100))
    assert found and found.success.estimate == pytest.approx(0.875)
    assert (found.success.low, found.success.high) == (exact(10, 20).low, exact(20, 20).high)
    assert found.how == "between" and found.describe() == "between 20/20 at 0 ms and 10/20 at 400 ms"
    at = interpolate(cells, device(401))
    assert at and at.results == (cells[1],)
    bound = interpolate(cells[1:], device(100))
    assert bound and (bound.success.low, bound.success.high) == (exact(10, 20).low, 1.0)
    assert bound.describe() == "at least 10/20 at 400 ms"
    assert interpolate(cells, device(500)) is None


@pytest.mark.parametrize(("vl_ms", "head_ms"), [(100, 30), (500, 11), (500, 3)])
def test_a_cell_vouches_only_for_a_device_that_is_no_slower_in_anything(vl_ms: float, head_ms: float) -> None:
    assert interpolate([cell(400, 20, 20)], device(vl_ms, head_ms)) is None


def test_a_cell_of_the_same_encode_with_a_slower_head_is_a_bound() -> None:
    found = interpolate([cell(400, 20, 20)], device(400, 3))
    assert found and found.how == "at least"


def test_the_cliff_needs_two_latencies() -> None:
    assert cliff([cell(100, 5, 20)], 0.5) is None
    fall = cliff([cell(0, 20, 20), cell(200, 19, 20), cell(400, 2, 20)], 0.5)
    assert fall and fall.estimate is not None and (fall.low, fall.high) == (200, 400)


def change(path: Path, **values: object) -> None:
    path.write_text(checked_json.dumps(checked_json.loads(path.read_bytes()) | values))


def test_a_cell_whose_latency_is_not_known_in_full_is_not_used(tmp_path: Path) -> None:
    write_sweep(tmp_path, "late", {**LATE, "episodes": 2})
    path = sorted(tmp_path.glob("cells/*/config.json"))[0]
    (setting,) = json.loads(path.read_text())["settings"]
    latency = setting["timing"]["latency"]
    for other in ({"sha256": "of a profile as it was"}, {"name": "gone.json"}):
        changed = setting["timing"] | {"latency": latency | {"sha256": f"{len(other)}"} | other}
        change(path, settings=[setting | {"timing": changed}])
        found = read_cells(tmp_path / "cells")
        assert (len(found.results), found.unknown) == (8, 1)
        assert interpolate([each for each in found.results if not known_in_full(each)], device(0, 0)) is None


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
