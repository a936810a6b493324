"""Settings, and sweeps whose episodes are made up."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.run_folder import SCHEMA
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.measuring import measure
from vlatency.experiments.sweeps.plan import Cell, Plan

SETTING = Setting(
    task="static",
    optimization=Optimization(),
    timing=Timing(actions=SETPOINTS, mode="async", latency=FixedLatency(50.0, 10.0)),
    seed=10_000,
    policy_sha256="ab",
)
SOFTWARE = {"versions": {"mujoco": "3.17.0"}, "gl_renderer": "fake", "source_sha256": "ab"}
SPEC: dict[str, Any] = {
    "episodes": 8,
    "common": {"latency": "insertion_vla", "mode": "async"},
    "across": {"task": ["static", "small"]},
    "split": True,
    "arms": {"3 views": {"views": 3}, "2 views": {"views": 2}, "1 view": {"views": 1}},
}
POLICY = {"name": "assets/policies/tiny", "kind": "stand-in", "parameters": 1_800_000}


class Killed(Exception):
    """Ends a measurement in the middle."""


def episode(job: Job) -> Row:
    """An episode in which one view, and more latency, fail more often; the seed is the scene."""
    setting = job.setting
    chance = 0.9 - 0.3 * (len(setting.optimization.cameras) == 1) - setting.timing.latency.vl_ms / 400
    success = random.Random(job.seed).random() < chance
    return {"mode": setting.mode, "seed": job.seed, "success": success, "trajectory_hash": "ab", "wall_s": 3.0}


def runner(dies_after: int | None = None) -> Callable[[Sequence[Job]], Iterator[Row]]:
    """A function that runs made-up episodes until it dies."""

    def run(jobs: Sequence[Job]) -> Iterator[Row]:
        for place, job in enumerate(jobs):
            if place == dies_after:
                raise Killed
            yield episode(job)

    return run


def none(jobs: Sequence[Job]) -> Iterator[Row]:
    """Runs nothing. AssertionError if it is asked to."""
    assert not jobs
    return iter(())


def describe(cell: Cell) -> dict[str, Any]:
    """A config.json."""
    setting = cell.setting
    return {
        "schema": SCHEMA,
        "settings": [setting.as_json()],
        "hash": setting.hash,
        "command": "python experiments/sweep.py made-up",
        "latency": setting.timing.latency.describe(),
        "policy": POLICY,
    }


def measured(plan: Plan, root: Path, dies_after: int | None = None) -> Cells:
    """The measured cells of a sweep."""
    cells = Cells(root, SOFTWARE)
    measure_into(cells, plan, runner(dies_after))
    return cells


def measure_into(cells: Cells, plan: Plan, run_jobs: Callable[[Sequence[Job]], Iterator[Row]]) -> None:
    """Measure a plan as sweep.py does, but in this process."""

    def append(cell: Cell, row: Row) -> None:
        cells.append(cell.setting, row, plan.episodes, lambda: describe(cell))

    measure(plan, lambda setting: cells.rows(setting, plan.episodes), append, run_jobs)


def rows_of(plan: Plan, success: Callable[[Cell, int], bool]) -> dict[Setting, list[Row]]:
    """Rows for all cells of a plan; `success` says whether a cell succeeds on its i-th seed."""
    found = {}
    for cell in plan.cells:
        seeds = range(cell.setting.seed, cell.setting.seed + plan.episodes)
        found[cell.setting] = [{"seed": seed, "success": success(cell, seed - cell.setting.seed)} for seed in seeds]
    return found


def outcomes_of(table: dict[str, list[bool]]) -> Callable[[Cell, int], bool]:
    """For `rows_of`: successes seed by seed, by the name of an arm or of a part of a split."""
    return lambda cell, place: table[cell.part or cell.arm][place]
