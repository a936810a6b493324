"""A cell is what decides its rows, and nothing else."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.builders.sweeps import SETTING, SOFTWARE, SPEC, describe, measure_into, measured, none
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.reuse import Every
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.evaluation.run_folder import CONFIG
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.sweeps.cell_store import Cells, canonical
from vlatency.experiments.sweeps.plan_file import make_plan


def address(setting: Setting, software: dict[str, Any]) -> str:
    return Cells(Path("cells"), software).path(setting).name


def timed(**change: Any) -> Setting:
    return replace(SETTING, timing=replace(SETTING.timing, **change))


def test_a_cell_is_its_setting_software_and_latencies() -> None:
    assert address(SETTING, SOFTWARE) == address(replace(SETTING), dict(reversed(SOFTWARE.items())))
    others = [
        address(replace(SETTING, task="small"), SOFTWARE),
        address(SETTING, {**SOFTWARE, "gl_renderer": "NVIDIA"}),
        address(SETTING, {**SOFTWARE, "versions": {"mujoco": "4.0.1"}}),
    ]
    assert len({address(SETTING, SOFTWARE), *others}) == 4


def test_a_profile_with_other_figures_is_another_cell_and_one_of_another_name_is_not(tmp_path: Path) -> None:
    point = {"views": 3, "width": 224, "height": 224, "encoding": "batched"}
    found = []
    for name, samples in (("mine", [50, 60, 70]), ("yours", [50, 60, 70]), ("theirs", [10, 60, 990])):
        profile = {"device": "d", "head_ms": 10, "overhead_ms": 1, "realised_tflops": 1}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(profile | {"encode": [point | {"samples_ms": samples}]}))
        found.append(address(timed(latency=parse_latency(str(path), SETTING.optimization)), SOFTWARE))
    assert found[0] == found[1] != found[2]


def test_a_mode_is_one_cell_whatever_it_makes_no_use_of() -> None:
    nine = FixedLatency(9.0, 9.0)
    robot = RobotTiming(camera_hz=10.0)
    assert canonical(timed(mode="pause")) == canonical(timed(mode="pause", latency=nine, reuse=Every(3), robot=robot))
    sync = timed(mode="sync")
    assert (
        canonical(sync) == canonical(timed(mode="sync", reuse=Every(3))) != canonical(timed(mode="sync", latency=nine))
    )
    assert canonical(timed(reuse=Every(3))) == timed(reuse=Every(3))


def test_a_fixed_latency_is_one_cell_whatever_is_encoded() -> None:
    fixed = [parse_latency("fixed:100,11", replace(SETTING.optimization, quant=quant)) for quant in ("none", "bnb-nf4")]
    assert address(timed(latency=fixed[0]), SOFTWARE) == address(timed(latency=fixed[1]), SOFTWARE)


def test_cells_of_an_older_version_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 2})
    measured(plan, tmp_path)
    old = tmp_path / "0123456789abcdef"
    old.mkdir()
    (old / CONFIG).write_text(json.dumps({"setting": {"modes": ["async"]}, "episodes": 2}))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / CONFIG).write_text("{")
    cells = Cells(tmp_path, SOFTWARE)
    assert cells.seconds(plan.settings[0]) == 3.0 and cells.elsewhere(plan.settings[0]) == 0


@pytest.mark.parametrize("damage", ["{", None])
def test_a_cell_whose_config_is_damaged_or_gone_keeps_its_rows(tmp_path: Path, damage: str | None) -> None:
    plan = make_plan("x", {**SPEC, "split": False, "episodes": 2})
    before = measured(plan, tmp_path)
    cell = plan.cells[0]
    path = before.path(cell.setting)
    config = (path / CONFIG).read_text()
    (path / CONFIG).write_text(damage) if damage else (path / CONFIG).unlink()
    cells = Cells(tmp_path, SOFTWARE)
    for each in plan.cells:
        cells.restore(each.setting, plan.episodes, partial(describe, each))
    assert cells.rows(cell.setting, 2) == before.rows(cell.setting, 2)
    assert (path / CONFIG).read_text() == config
    measure_into(Cells(tmp_path, SOFTWARE), plan, none)


def test_the_mode_of_a_pause_cell_charges_nothing() -> None:
    assert canonical(timed(mode="pause")).timing == Timing(actions=SETPOINTS, mode="pause")
