"""Measure many configurations and compare them: what was measured before is not measured again.

python experiments/sweep.py note --videos 1
"""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import tyro

from vlatency.experiments.evaluation.episodes import Job, run_episode
from vlatency.experiments.evaluation.facts import probe
from vlatency.experiments.evaluation.options import EngineOptions
from vlatency.experiments.evaluation.run_config import describe
from vlatency.experiments.reporting.study import summarize_sweep, write_sweep
from vlatency.experiments.reporting.summary_text import text
from vlatency.experiments.shared import command, provenance
from vlatency.experiments.shared.files import check_writable, locked
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.filming import film, scenes_to_film
from vlatency.experiments.sweeps.measuring import forecast, measure
from vlatency.experiments.sweeps.plan import Cell
from vlatency.experiments.sweeps.plan_file import Overrides, read_plan

RUNS = Path("runs")


@dataclass(frozen=True)
class Args:
    """Run a sweep, or what is missing of it, and say what its cells permit to say.

    A sweep that was killed goes on with the same command. Cells lie in runs/cells, and all sweeps share them.
    """

    sweep: tyro.conf.Positional[str]
    """A sweep that ships (experiments/sweeps/presets), such as note, speed, budgets or smoke; or a YAML file
    (experiments/sweeps/plan_file.py says what is in it)."""
    change: Overrides = Overrides()
    videos: int = 0
    """Film so many scenes of each place in every arm: those that end most differently."""
    dry_run: bool = False
    """Only say what would be measured, how long it takes, and what differences it can tell."""
    parallel: EngineOptions = EngineOptions()


def main(args: Args) -> None:
    """Say what is about to be measured, measure it, write and print the tables."""
    command.check_range("videos", args.videos, 0)
    plan = read_plan(args.sweep, args.change)
    root = RUNS / "cells"
    check_writable(root)
    gpu = any(cell.setting.device == "cuda" for cell in plan.cells)
    with nullcontext() if args.dry_run else locked(root), args.parallel.open(gpu) as workers:
        # A worker opens the worlds and loads each policy, so that what is wrong with them is said before we write.
        jobs = {_who_and_where(cell): Job(cell.setting, cell.policy, cell.setting.seed) for cell in plan.cells}
        facts = {key: workers.call(probe, job) for key, job in jobs.items()}
        cells = Cells(root, provenance.joined([each.software for each in facts.values()]))

        def config(cell: Cell) -> dict[str, Any]:
            return describe([cell.setting], cell.policy, facts[_who_and_where(cell)])

        for cell in () if args.dry_run else plan.cells:
            cells.restore(cell.setting, plan.episodes, partial(config, cell))
        print("\n".join(forecast(plan, cells, workers.slots)), flush=True)
        if args.dry_run:
            return
        measure(
            plan,
            lambda setting: cells.rows(setting, plan.episodes),
            lambda cell, row: cells.append(cell.setting, row, plan.episodes, partial(config, cell)),
            lambda jobs: workers.map(run_episode, jobs),
        )
        if args.videos:
            film(scenes_to_film(plan, cells, args.videos), lambda jobs: workers.map(run_episode, jobs))
        summary = summarize_sweep(plan, cells, provenance.command_line(sys.argv))
        folder = write_sweep(summary, cells)
    print("\n" + "\n".join(text(summary)))
    print(f"{folder}/  sweep.json · summary.md · summary.json")
    print(f"next: python experiments/report.py {quote(str(folder))}")


def _who_and_where(cell: Cell) -> tuple[str, str]:
    """The policy, and the environment if it is not ours: our own tasks are all the same to a probe."""
    return cell.policy, cell.setting.task if cell.setting.guest else ""


if __name__ == "__main__":
    command.run(main, Args)
