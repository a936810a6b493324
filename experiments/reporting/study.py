"""A study is what a report shows: the summary of a run or a sweep, made anew from its episodes, and its films."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlatency.experiments.evaluation.run_folder import CONFIG, SCHEMA, SWEEP, VIDEOS, RunFolder, check_schema
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.result import Result, results
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.summary_text import write_summary
from vlatency.experiments.shared import checked_json
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.plan import Place, Plan, run_plan
from vlatency.experiments.sweeps.verdicts import break_evens
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Film:
    """An episode on film, with the age of its features on the strip."""

    place: Place
    arm: str
    seed: int
    outcome: str
    path: Path


@dataclass(frozen=True)
class Study:
    """What one run or one sweep found.

    Attributes:
        folder: where it was read from.
        summary: what its episodes permit to say.
        films: that lie in the folders of its episodes.
    """

    folder: Path
    summary: Summary
    films: tuple[Film, ...] = ()


def summarize_run(folder: RunFolder) -> Summary:
    """The summary of a run, finished or not."""
    config = folder.config
    plan = run_plan(folder.settings, config["policy"]["name"], config["episodes"])
    rows = {setting: folder.rows_of(setting, plan.episodes) for setting in plan.settings}
    return Summary(plan, results(plan, rows, lambda _: config), {}, config["command"], config["software"])


def summarize_sweep(plan: Plan, cells: Cells, command: str) -> Summary:
    """The summary of a sweep, finished or not.

    Args:
        plan: the sweep.
        cells: where its rows are.
        command: that measures it.
    """
    rows = {setting: cells.rows(setting, plan.episodes) for setting in plan.settings}
    return Summary(plan, results(plan, rows, cells.config), break_evens(plan, rows), command, cells.software)


def write_sweep(summary: Summary, cells: Cells) -> Path:
    """Write sweep.json (which cells), summary.json and summary.md (what they say), and return their folder."""
    plan = summary.plan
    folder = cells.root.parent / f"sweep-{plan.name}-{plan.hash[:4]}"
    folder.mkdir(parents=True, exist_ok=True)
    about = {"schema": SCHEMA, "command": summary.command, "software": summary.software, "plan": plan.as_json()}
    write_text(folder / SWEEP, checked_json.dumps(about, indent=2) + "\n")
    write_summary(summary, folder)
    return folder


def read_study(folder: Path) -> Study:
    """The study in a folder that `run.py` or `sweep.py` wrote.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    try:
        if (folder / SWEEP).is_file():
            return _read_sweep(folder)
        if (folder / CONFIG).is_file():
            summary = summarize_run(RunFolder(folder))
            return Study(folder, summary, tuple(_films(summary.results, lambda _: folder)))
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} cannot be used ({error!r}); measure it again") from None
    raise UsageError(f"{folder} holds no run and no sweep: it has neither {CONFIG} nor {SWEEP}")


def _read_sweep(folder: Path) -> Study:
    about: dict[str, Any] = checked_json.loads((folder / SWEEP).read_bytes())
    check_schema(folder / SWEEP, about)
    cells = Cells(folder.parent / "cells", about["software"])
    summary = summarize_sweep(Plan.from_json(about["plan"]), cells, about["command"])
    if not any(result.n for result in summary.results):
        raise UsageError(f"{folder} holds a sweep whose episodes are not in {cells.root}; measure it again")
    return Study(folder, summary, tuple(_films(summary.results, cells.path)))


def _films(results: Iterable[Result], folder_of: Callable[[Setting], Path]) -> Iterable[Film]:
    for result in results:
        for path in sorted((folder_of(result.setting) / VIDEOS).glob(f"{result.mode}-*-*.mp4")):
            _, seed, outcome = path.stem.split("-")
            if seed.isdecimal():
                yield Film(result.place, result.arm, int(seed), outcome, path)
