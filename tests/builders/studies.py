"""Sweeps that a report has something to say about: made-up episodes, measured and written as real ones are."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.builders.sweeps import SETTING, SOFTWARE, measure_into
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.servers import Apart, Servers
from vlatency.agent.realtime.timing import MODES, Mode, Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.feature_ages import HISTOGRAM, USED_HISTOGRAM, histogram
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.run_folder import SCHEMA, RunFolder
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.recording.video import write_frames
from vlatency.experiments.reporting.result import Result, summarize
from vlatency.experiments.reporting.study import summarize_sweep
from vlatency.experiments.reporting.study import write_sweep as write_summary
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.filming import film_path
from vlatency.experiments.sweeps.plan_file import make_plan

SHIP: dict[str, Any] = {
    "about": "which of three to ship, made up",
    "episodes": 40,
    "common": {"latency": "insertion_vla", "views": 5},
    "across": {"task": ["static", "conveyor"]},
    "arms": {
        "current": {"res": "640x360", "encoding": "joint", "mode": "sync"},
        "+ 224 px": {"res": 224, "mode": "sync"},
        "+ async": {"res": 224, "mode": "async"},
    },
}
LATE: dict[str, Any] = {
    "about": "how late, made up",
    "episodes": 40,
    "common": {"views": 3, "res": 224, "mode": "async"},
    "across": {"task": ["static", "conveyor"]},
    "arms": {f"{ms} ms": {"latency": f"fixed:{ms},11"} for ms in (0, 200, 400, 800)},
}
SPLIT: dict[str, Any] = {
    "about": "late or wrong, made up",
    "episodes": 40,
    "common": {"latency": "insertion_vla", "mode": "async", "res": 224},
    "across": {"task": ["conveyor"]},
    "split": True,
    "arms": {"3 views": {"views": 3}, "1 view": {"views": 1}},
}
FAST: dict[str, Any] = {
    "about": "how fast, made up",
    "episodes": 30,
    "common": {"views": 3, "res": 224, "mode": "async"},
    "across": {"task": ["conveyor"], "speed": [0.0, 0.04, 0.08, 0.15]},
    "break_even": {"over": "speed", "threshold": 0.5},
    "arms": {"0 ms": {"latency": "fixed:0,11"}, "400 ms": {"latency": "fixed:400,11"}},
}


def chance(job: Job) -> float:
    """Latency costs more where things move, and one view sees less."""
    setting, latency = job.setting, job.setting.timing.latency
    moving = {"static": 0.1, "conveyor": 1.0}.get(setting.task, 0.3)
    if setting.speed is not None:
        moving = setting.speed / 0.05
    wait = 1.0 if setting.mode == "sync" else 0.5
    late = moving * wait * latency.vl_ms / 500 + 0.15 * moving * (setting.speed is not None)
    return (0.97 - 0.25 * (len(setting.optimization.cameras) == 1)) * math.exp(-(late**2))


def episode(job: Job) -> Row:
    """A whole row. The seed is the scene, and a scene that is hard is hard for all."""
    rng = random.Random(job.seed)
    success = rng.random() < chance(job)
    mode, latency = job.setting.mode, job.setting.timing.latency
    loop_ms = latency.vl_ms + latency.head_ms if mode == "sync" else latency.head_ms
    age = (latency.vl_ms + latency.head_ms) * 1.4 + 40 * rng.random()
    return {
        "mode": mode,
        "seed": job.seed,
        "success": success,
        "time_to_success_s": 2.0 + rng.random() if success else None,
        "feature_age_ms_p50": 0.0 if mode == "pause" else age,
        "feature_age_ms_p95": 0.0 if mode == "pause" else 1.3 * age,
        HISTOGRAM: histogram([age] * 40),
        "used_feature_age_ms_p50": 0.0 if mode == "pause" else 0.7 * age,
        "used_feature_age_ms_p95": 0.0 if mode == "pause" else 0.9 * age,
        USED_HISTOGRAM: histogram([0.7 * age] * 40),
        "ticks": 40,
        "missed": 0 if mode == "pause" else round(40 * max(0.0, 1 - 100 / max(loop_ms, 1.0))),
        "overruns": 0,
        "encodes": 9,
        "wall_s": 1.0,
    }


def run(jobs: Sequence[Job]) -> Iterator[Row]:
    """The rows of made-up episodes."""
    yield from map(episode, jobs)


def write_sweep(root: Path, name: str, spec: dict[str, Any]) -> Path:
    """Measure a sweep, its cells in `root`/cells, and return its folder."""
    plan, cells = make_plan(name, spec), Cells(root / "cells", SOFTWARE)
    measure_into(cells, plan, run)
    return write_summary(summarize_sweep(plan, cells, "python experiments/sweep.py made-up"), cells)


def write_films(root: Path, name: str, spec: dict[str, Any], seed: int, frames: int = 30) -> None:
    """Film one seed in every arm of the first place; the second arm's film is longer."""
    plan, cells = make_plan(name, spec), Cells(root / "cells", SOFTWARE)
    for number, arm in enumerate(plan.arms):
        cell = plan.cell(plan.places[0], arm)
        assert cell
        row = {"mode": cell.setting.mode, "seed": seed, "success": True}
        shades = np.linspace(60, 220, frames * (1 + (number == 1)))
        pictures = (np.full((52, 128, 3), shade, np.uint8) for shade in shades)
        write_frames(Path(film_path(cells.path(cell.setting), row)), pictures)


def run_config(settings: Sequence[Setting], **change: Any) -> dict[str, Any]:
    """The config.json of a run of three cameras with 20 episodes per mode."""
    return {
        "schema": SCHEMA,
        "name": "static-3v-224-7f3a",
        "hash": "7f3a",
        "settings": [setting.as_json() for setting in settings],
        "episodes": 20,
        "command": "python experiments/run.py --views 3 --res 224",
        "instruction": "Pick up the {colour} {shape}",
        "camera_px": [640, 360],
        "policy": {"name": "assets/policies/tiny", "kind": "stand-in", "parameters": 2_400_000},
        "feature_error": None,
        "latency": settings[0].timing.latency.describe(),
        "machine": {"cores": 2, "platform": "Linux"},
        "software": {
            "versions": {"python": "3.11.7", "vlatency": "0.1.0"},
            "gl_renderer": "llvmpipe (LLVM 15.0.6, 256 bits)",
        },
        "git_revision": None,
        **change,
    }


def run_row(mode: str, seed: int, success: bool, age_ms: float | None, missed: int) -> Row:
    """An episode of 40 control ticks."""
    return {
        "mode": mode,
        "seed": seed,
        "success": success,
        "feature_age_ms_p50": age_ms,
        "feature_age_ms_p95": None if age_ms is None else 2 * age_ms,
        "used_feature_age_ms_p50": age_ms,
        "used_feature_age_ms_p95": age_ms,
        "time_to_success_s": 3.0 + (seed - 10_000) / 10 if success else None,
        "ticks": 40,
        "missed": missed,
        "overruns": 0,
        "encodes": 7,
    }


RUN = tuple(replace(SETTING, timing=replace(SETTING.timing, mode=mode)) for mode in MODES)
"""The settings of a run in all modes, at a VL latency of 50 ms and 10 ms for the head."""
RUN_ROWS = (
    [run_row("pause", 10_000 + seed, seed != 3, 0.0, 0) for seed in range(20)]
    + [run_row("sync", 10_000 + seed, False, 1502.8, 39) for seed in range(20)]
    + [run_row("async", 10_000 + seed, seed not in (3, 4, 5), 96.34, 1) for seed in range(20)]
)
"""19, 0 and 17 of 20 succeed in pause, sync and async."""


def write_run(
    path: Path, rows: Sequence[Row] = RUN_ROWS, settings: Sequence[Setting] = RUN, **change: Any
) -> RunFolder:
    """A run folder with those episodes."""
    run = RunFolder.create(path, run_config(settings, **change))
    for row in rows:
        run.append(row)
    return run


def cell(vl_ms: float, k: int, n: int, mode: Mode = "async", servers: Servers | None = None) -> Result:
    """A cell of which only this matters: what its clock charged, and how many of its episodes succeeded."""
    return timed_cell(
        Timing(actions=SETPOINTS, mode=mode, latency=FixedLatency(vl_ms, 11.0), servers=servers or Apart()), k, n
    )


def timed_cell(timing: Timing, k: int, n: int, **each: int) -> Result:
    """A cell of that timing, with other values of every row."""
    setting = replace(SETTING, timing=timing)
    rows: list[Row] = [{"mode": timing.mode, "seed": setting.seed + i, "success": i < k, **each} for i in range(n)]
    return summarize(setting, rows, run_config([setting]))
