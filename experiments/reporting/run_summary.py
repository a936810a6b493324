"""The summary of a run, from its folder."""

from pathlib import Path

from vlatency.experiments.evaluation.run_folder import RunFolder
from vlatency.experiments.reporting.result import results
from vlatency.experiments.reporting.summary import MODE_COLUMNS, Summary
from vlatency.experiments.sweeps.plan import run_plan
from vlatency.experiments.sweeps.run_store import RunStore


def summarize_run(folder: RunFolder) -> Summary:
    """What the episodes permit to say that there are, finished or not."""
    config, store = folder.config, RunStore(folder)
    plan = run_plan(folder.settings, Path(config["policy"]["folder"]), config["episodes"])
    found = results(plan, store.rows_of(plan.settings, plan.episodes), store.config)
    software = {name: config[name] for name in ("versions", "gl_renderer", "git_revision")}
    return Summary(plan, found, {}, MODE_COLUMNS, config["command"], software)
