"""From runs and sweeps to a decision: an HTML page with the answer first, tables, and the main figure."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from vlatency.experiments.shared import command

if TYPE_CHECKING:
    from vlatency.experiments.reporting.study import Study


@dataclass(frozen=True)
class Args:
    """Write report.html, .md, .csv, .tex and .svg (its main figure) of runs and sweeps, finished or not; print tables.

    The page holds all it needs, charts and films included, and opens without a network.
    """

    folders: tyro.conf.Positional[tuple[str, ...]]
    """Folders of runs or sweeps, such as runs/sweep-note-7f3a; the first one's answer heads the page."""
    out: str = ""
    """Folder to write to; default is report/ inside the folder, or beside the folders if there are several."""


def main(args: Args) -> None:
    """Print every study's table, and write the report."""
    from vlatency.experiments.evaluation.run_folder import CONFIG, SWEEP
    from vlatency.experiments.reporting.headline import answer
    from vlatency.experiments.reporting.html_page import html
    from vlatency.experiments.reporting.poster import poster
    from vlatency.experiments.reporting.tables import as_csv, latex, markdown
    from vlatency.experiments.shared import provenance
    from vlatency.experiments.shared.files import check_writable, write_text
    from vlatency.sim.errors import UsageError

    if not args.folders:
        raise UsageError("name at least one folder of a run or a sweep, such as runs/static-3v-224-7f3a")
    paths = [Path(name) for name in args.folders]
    missing = [str(path) for path in paths if not path.is_dir()]
    if missing:
        raise UsageError(f"no folder {', '.join(missing)}; name folders of runs or sweeps, as runs/ holds them")
    # runs/* also holds cells and reports.
    told = [path for path in paths if (path / CONFIG).is_file() or (path / SWEEP).is_file()]
    if told and len(told) < len(paths):
        others = ", ".join(str(path) for path in paths if path not in told)
        print(f"note: passed over, as they hold no run and no sweep: {others}", file=sys.stderr)
    paths = told or paths
    out = Path(args.out) if args.out else (paths[0] if len(paths) == 1 else paths[0].parent) / "report"
    check_writable(out)
    studies = [_told(path) for path in paths]
    answered = [(study, answer(study)) for study in studies]
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("report.html", html(answered, provenance.command_line(sys.argv))),
        ("report.md", markdown(answered)),
        ("report.csv", as_csv(studies)),
        ("report.tex", latex(studies)),
        ("report.svg", poster(studies[0])),
    ):
        write_text(out / name, text)
    print("\n" + "\n".join(f"{study.name}: {found.short}. {found.sentence}" for study, found in answered))
    print(f"{out}/  report.html · report.md · report.csv · report.tex · report.svg")


def _told(path: Path) -> "Study":
    """The study in a folder, after its table is printed; a run's summary is written anew."""
    from vlatency.experiments.evaluation.run_folder import CONFIG, RunFolder
    from vlatency.experiments.reporting.run_summary import policy_line, text, write_summary
    from vlatency.experiments.reporting.study import printed, read_run, read_study

    if not (path / CONFIG).is_file():
        study = read_study(path)
        print(f"{path}\n{printed(path)}\n")
        return study
    run = RunFolder(path)
    print(f"{run.path}\n  policy {policy_line(run.config['policy'])} · {run.config['latency']}")
    if run.rows:
        write_summary(run.path, run.config, run.rows)
        print(f"\n{text(run.config, run.rows)}")
    else:
        print("  no episode is finished yet")
    return read_run(run)


if __name__ == "__main__":
    command.run(main, Args)
