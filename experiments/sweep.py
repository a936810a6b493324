"""Measure many configurations and compare them: what was measured before is not measured again."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from vlatency.experiments.parallel.open_engine import EngineName
from vlatency.experiments.shared import command

if TYPE_CHECKING:
    from vlatency.experiments.evaluation.episodes import Job
    from vlatency.experiments.evaluation.run_folder import Row
    from vlatency.experiments.evaluation.setting import Setting
    from vlatency.experiments.sweeps.cell_store import Cells
    from vlatency.experiments.sweeps.plan import Cell, Plan

RUNS = Path("runs")


@dataclass(frozen=True)
class Args:
    """Run a sweep, or what is missing of it, and say what its cells permit to say.

    A sweep that was killed goes on with the same command. Cells lie in runs/cells, and all sweeps share them.
    """

    sweep: tyro.conf.Positional[str]
    """note, views-res, quant, int4, budgets, speed, hardware, reuse, execution, axis-latency, axis-views, axis-res,
    controls, configurations or smoke; or a YAML file (experiments/sweeps/plan.py says what is in it)."""
    episodes: int = 0
    """Episodes of each cell; 0 takes what the sweep says."""
    looks: int = 0
    """Look so many times, and stop measuring what is decided; 0 takes what the sweep says, or only the end."""
    split: bool = False
    """Late or wrong: two more cells for each arm, its timing and its features apart."""
    policy: str = ""
    """A policy in assets/policies, or the folder of another one; default is what the sweep says, or tiny."""
    workers: int = 0
    """Processes; 0 takes one a CPU core. Results do not depend on it."""
    engine: EngineName = "local"
    """Where episodes run: processes here (local), or a Ray cluster (ray), each of whose nodes needs this checkout at
    the same path, installed. Results do not depend on it."""
    address: str = ""
    """--engine ray: host:port of the cluster, on a node of which this runs; default is one of this machine alone."""
    videos: int = 0
    """Film so many scenes of each place in every arm: those that end most differently."""
    dry_run: bool = False
    """Only say what would be measured, how long it takes, and what differences it can tell."""


def main(args: Args) -> None:
    """Say what is about to be measured, measure it, write and print the tables."""
    from vlatency.experiments.evaluation.episodes import Job, probe, run
    from vlatency.experiments.parallel.open_engine import open_engine
    from vlatency.experiments.reporting.sweep_table import text
    from vlatency.experiments.run import describe
    from vlatency.experiments.shared import provenance
    from vlatency.experiments.shared.files import check_writable
    from vlatency.experiments.sweeps.cell_store import Cells
    from vlatency.experiments.sweeps.filming import film
    from vlatency.experiments.sweeps.plan import FIRST_SEED, read_plan

    for name in ("episodes", "looks", "videos"):
        command.check_range(name, getattr(args, name), 0)
    plan = read_plan(args.sweep, args.episodes, args.looks, args.split, args.policy)
    check_writable(RUNS)
    gpu = any(cell.setting.device == "cuda" for cell in plan.cells)
    with open_engine(args.engine, args.address, args.workers, gpu) as workers:
        # A worker opens the world and loads each policy, so that what is wrong with them is said before we write.
        jobs = {cell.policy: Job(cell.setting, cell.policy, cell.setting.modes[0], FIRST_SEED) for cell in plan.cells}
        facts = {policy: workers.call(probe, job) for policy, job in jobs.items()}
        cells = Cells(RUNS / "cells", provenance.software(facts[plan.cells[0].policy].gl_renderer))
        print("\n".join(forecast(plan, cells, workers.slots)), flush=True)
        if args.dry_run:
            return
        with cells.locked():
            measure(
                plan,
                cells,
                lambda jobs: workers.map(run, jobs),
                lambda cell: describe(cell.setting, Path(cell.policy), facts[cell.policy]),
            )
            for line in film(plan, cells, lambda jobs: workers.map(run, jobs), args.videos) if args.videos else ():
                print(f"warning: {line}", file=sys.stderr)
    folder = write(plan, cells)
    print("\n" + "\n".join(text(plan, {setting: cells.rows(setting, plan.episodes) for setting in plan.settings})))
    print(f"{folder}/  sweep.json · summary.md · summary.json")
    print(f"next: python experiments/report.py {folder}")


def forecast(plan: "Plan", cells: "Cells", workers: int) -> list[str]:
    """What is said before the first episode: how much, how long, and what it will be able to tell."""
    settings = plan.settings
    missing = {setting: len(cells.missing(setting, plan.episodes)) for setting in settings}
    total, left = plan.episodes * len(settings), sum(missing.values())
    arms, places = len(plan.arms), len(plan.places)
    head = f"sweep {plan.name}: {plan.about}" if plan.about else f"sweep {plan.name}"
    parts = len(settings) - len({cell.setting for cell in plan.cells if not cell.part})
    apart = f", and {parts} that tell late from wrong" if parts else ""
    lines = [
        head,
        f"cells  {len(settings)} ({arms} arm{'s' * (arms != 1)} in {places} place{'s' * (places != 1)}{apart}), "
        f"{total} episodes: {total - left} measured, {left} to go",
        f"time   {_time(cells, missing, workers)}",
    ]
    lines += _tells(plan)
    if plan.looks > 1:
        lines.append(f"looks  {plan.looks}, declared now: what is decided at one of them is measured no further")
    others = sum(cells.elsewhere(setting) for setting in settings)
    if others:
        lines.append(f"note   {others} rows of these cells come from other software and are not used")
    return lines


def _tells(plan: "Plan") -> list[str]:
    """Which differences the sweep finds with a power of 80 %."""
    from vlatency.experiments.analysis.paired import LEVEL, detectable

    found = {}
    shares = {0.5: ", if two arms differ on half of the seeds", 0.2: ", if they differ on a fifth of them"}
    for share, who in shares.items():
        points = _points(detectable(plan.episodes, share))
        if plan.comparisons > 1:
            strict = _points(detectable(plan.episodes, share, (1 - LEVEL) / plan.comparisons))
            points += f"; at worst, corrected for {plan.comparisons} comparisons, {strict}"
        found[points] = who
    if len(found) == 1:  # so few seeds that arms which differ so much differ on more of them
        found = dict.fromkeys(found, "")
    return [f"tells  at n = {plan.episodes}{who}: {points}" for points, who in found.items()]


def _time(cells: "Cells", missing: dict["Setting", int], workers: int) -> str:
    left = sum(missing.values())
    if not left:
        return "none: everything is measured"
    seconds = [(cells.seconds(setting), count) for setting, count in missing.items() if count]
    known = [(each, count) for each, count in seconds if each is not None]
    if not known:
        return "not known before the first episodes: none was ever measured here"
    total = sum(each * count for each, count in known) / workers
    return f"about {_duration(total)} with {workers} at a time, by the wall time of episodes measured before"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _points(difference: float | None) -> str:
    return "nothing" if difference is None else f"{100 * difference:.0f} points"


def measure(
    plan: "Plan",
    cells: "Cells",
    run_jobs: "Callable[[Sequence[Job]], Iterator[Row]]",
    describe: "Callable[[Cell], dict[str, Any]]",
) -> None:
    """Run the episodes that have no row yet, and append their rows: look by look, cell by cell, seed by seed.

    Args:
        run_jobs: gives the rows of jobs, in their order.
        describe: gives the config.json of a cell that is new.
    """
    from functools import partial

    from vlatency.experiments.analysis.interim_looks import sizes
    from vlatency.experiments.evaluation.episodes import Job
    from vlatency.experiments.shared.progress import bars

    with bars() as progress:
        for look, size in enumerate(sizes(plan.episodes, plan.looks), 1):
            wanted = _wanted(plan, cells)
            todo = [(cell, seed) for cell in wanted for seed in cells.missing(cell.setting, size)]
            name = f"look {look}" if plan.looks > 1 else "sweep"
            progress.add(name, len(wanted) * size, len(wanted) * size - len(todo))
            jobs = [Job(cell.setting, cell.policy, cell.setting.modes[0], seed) for cell, seed in todo]
            for row, (cell, _) in zip(run_jobs(jobs), todo, strict=True):
                cells.append(cell.setting, row, plan.episodes, partial(describe, cell))
                progress.advance(name)


def _wanted(plan: "Plan", cells: "Cells") -> "list[Cell]":
    """One cell of each setting that is still undecided; the reference is needed as long as another arm is."""
    from vlatency.experiments.sweeps.verdicts import decided

    rows = {setting: cells.rows(setting, plan.episodes) for setting in plan.settings}
    wanted: dict[Setting, Cell] = {}
    for place in plan.places:
        done = {arm for arm in plan.arms[1:] if decided(plan, rows, place, arm)}
        if len(done) and len(done) == len(plan.arms) - 1:
            done.add(plan.arms[0])
        for cell in plan.cells:
            if cell.place == place and cell.arm not in done:
                wanted.setdefault(cell.setting, cell)
    return list(wanted.values())


def write(plan: "Plan", cells: "Cells") -> Path:
    """Write sweep.json (which cells), summary.json and summary.md (what they say) to the sweep's folder."""
    import json

    from vlatency.experiments.evaluation.run_folder import SUMMARY_JSON, SUMMARY_MD, SWEEP
    from vlatency.experiments.reporting.sweep_table import text
    from vlatency.experiments.shared import provenance
    from vlatency.experiments.shared.files import write_text
    from vlatency.experiments.sweeps.verdicts import as_json

    rows = {setting: cells.rows(setting, plan.episodes) for setting in plan.settings}
    folder = cells.root.parent / f"sweep-{plan.name}-{plan.hash[:4]}"
    folder.mkdir(parents=True, exist_ok=True)
    command = provenance.command_line(sys.argv)
    about = {
        "name": plan.name,
        "about": plan.about,
        "episodes": plan.episodes,
        "looks": plan.looks,
        "command": command,
        "software": cells.software,
        "cells": [
            {
                "place": dict(cell.place),
                "arm": cell.arm,
                "part": cell.part,
                "folder": cells.path(cell.setting).name,
                "setting": cell.setting.as_json(),
            }
            for cell in plan.cells
        ],
    }
    software = ", ".join(f"{name} {version}" for name, version in cells.software["versions"].items())
    lines = [f"# {plan.name}", "", plan.about, "", "```", *text(plan, rows), "```", ""]
    lines += [f"- {software}; drawn by {cells.software['gl_renderer']}", "", f"    {command}", ""]
    for name, content in ((SWEEP, about), (SUMMARY_JSON, as_json(plan, rows))):
        write_text(folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / SUMMARY_MD, "\n".join(lines))
    return folder


if __name__ == "__main__":
    command.run(main, Args)
