"""From runs and sweeps to a decision: an HTML page with the answer first, tables, and the main figure.

python experiments/report.py runs/sweep-note-7f3a
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vlatency.experiments.evaluation.run_folder import CONFIG, SWEEP
from vlatency.experiments.reporting.headline import answer
from vlatency.experiments.reporting.html_page import html
from vlatency.experiments.reporting.poster import poster
from vlatency.experiments.reporting.study import Study, read_study
from vlatency.experiments.reporting.summary_text import text, write_summary
from vlatency.experiments.reporting.tables import as_csv, latex, markdown
from vlatency.experiments.shared import command, provenance
from vlatency.experiments.shared.files import check_writable, locked, write_text
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Write report.html, .md, .csv, .tex and .svg (its main figure) of runs and sweeps, finished or not; print tables.

    The page holds all it needs, charts and films included, and opens without a network.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs or sweeps, such as runs/sweep-note-7f3a; the first one's answer heads the page."""
    out: Path | None = None
    """Folder to write to; default is report/ inside the folder, or beside the folders if there are several."""
    min_success: float | Literal["reference"] = 0.9
    """How often a configuration has to succeed to be shipped, between 0 and 1; or reference: ship what is not told
    worse than the first arm. What is significantly worse than that is never shipped."""


def main(args: Args) -> None:
    """Print every study's tables, and write the report."""
    if args.min_success != "reference" and not 0 < args.min_success < 1:  # also refuses NaN
        raise UsageError(f"min-success must be above 0 and below 1, or reference, not {args.min_success:g}")
    folders = _that_hold_studies(args.folders)
    out = args.out or (folders[0] if len(folders) == 1 else folders[0].parent) / "report"
    check_writable(out)
    studies = [_show(read_study(folder)) for folder in folders]
    summaries = [study.summary for study in studies]
    answers = [answer(summary, args.min_success) for summary in summaries]
    files = {
        "report.html": html(list(zip(studies, answers, strict=True)), provenance.command_line(sys.argv)),
        "report.md": markdown(zip(summaries, answers, strict=True)),
        "report.csv": as_csv(summaries),
        "report.tex": latex(summaries),
        "report.svg": poster(summaries[0]),
    }
    with locked(out):
        for name, content in files.items():
            write_text(out / name, content)
    for summary, found in zip(summaries, answers, strict=True):
        print(f"\n{summary.plan.name}: {found.short}. {found.sentence}")
    print(f"{out}/  {' · '.join(files)}")


def _that_hold_studies(folders: tuple[Path, ...]) -> list[Path]:
    """The folders of runs and sweeps; of `runs/*`, cells and reports are passed over. UsageError if there are none."""
    if not folders:
        raise UsageError("name at least one folder of a run or a sweep, such as runs/static-3v-224-7f3a")
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise UsageError(f"no folder {', '.join(missing)}; name folders of runs or sweeps, as runs/ holds them")
    found = [folder for folder in folders if (folder / CONFIG).is_file() or (folder / SWEEP).is_file()]
    if found and len(found) < len(folders):
        others = ", ".join(str(folder) for folder in folders if folder not in found)
        print(f"note: passed over, as they hold no run and no sweep: {others}", file=sys.stderr)
    return found or list(folders)


def _show(study: Study) -> Study:
    """The study, after its tables are printed and its summary is written anew."""
    write_summary(study.summary, study.folder)
    print(f"{study.folder}\n" + "\n".join(text(study.summary)) + "\n")
    return study


if __name__ == "__main__":
    command.run(main, Args)
