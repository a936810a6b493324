"""The summary of a sweep, from its cells; and its folder, which says which cells those are."""

import json
from pathlib import Path
from typing import Any

from vlatency.experiments.evaluation.run_folder import SCHEMA, SWEEP, check_schema
from vlatency.experiments.reporting.result import results
from vlatency.experiments.reporting.summary import ARM_COLUMNS, Summary
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.plan import Plan
from vlatency.experiments.sweeps.verdicts import break_evens
from vlatency.sim.errors import UsageError


def summarize_sweep(plan: Plan, cells: Cells, command: str) -> Summary:
    """What the episodes permit to say that there are, finished or not.

    Args:
        plan: the sweep.
        cells: where its rows are.
        command: that measures it.
    """
    rows = {setting: cells.rows(setting, plan.episodes) for setting in plan.settings}
    found = results(plan, rows, cells.config)
    return Summary(plan, found, break_evens(plan, rows), ARM_COLUMNS, command, cells.software)


def write_sweep(summary: Summary, cells: Cells) -> Path:
    """Write sweep.json (which cells), summary.json and summary.md (what they say); the folder they are in."""
    plan = summary.plan
    folder = cells.root.parent / f"sweep-{plan.name}-{plan.hash[:4]}"
    folder.mkdir(parents=True, exist_ok=True)
    about = {"schema": SCHEMA, "command": summary.command, "software": summary.software, "plan": plan.as_json()}
    write_text(folder / SWEEP, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    summary.write(folder)
    return folder


def read_sweep(folder: Path) -> tuple[Summary, Cells]:
    """The summary of a sweep that was written, and its cells.

    Raises:
        UsageError: the folder holds none, or it is damaged.
    """
    path = folder / SWEEP
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        check_schema(path, about)
        plan, cells = Plan.from_json(about["plan"]), Cells(folder.parent / "cells", about["software"])
        return summarize_sweep(plan, cells, about["command"]), cells
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be used ({error!r}); measure the sweep again") from None
