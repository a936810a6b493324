"""The summary of a run, from its folder."""

from pathlib import Path

from vlatency.experiments.evaluation.run_folder import RunFolder
from vlatency.experiments.reporting.result import results
from vlatency.experiments.reporting.summary import MODE_COLUMNS, Summary
from vlatency.experiments.sweeps.plan import run_plan


def summarize_run(folder: RunFolder) -> Summary:
    """What the episodes permit to say that there are, finished or not."""
    config = folder.config
    plan = run_plan(folder.settings, Path(config["policy"]["folder"]), config["episodes"])
    rows = {setting: folder.rows_of(setting, plan.episodes) for setting in plan.settings}
    found = results(plan, rows, lambda setting: config)
    software = {name: config[name] for name in ("versions", "gl_renderer", "git_revision")}
    return Summary(plan, found, {}, MODE_COLUMNS, config["command"], software)
