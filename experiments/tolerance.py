"""Which tasks forgive latency: a line a task, ordered by the latency it bears, and a map of success.

python experiments/tolerance.py runs/sweep-metaworld-7f3a --out docs
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import tyro

from vlatency.experiments.reporting import tolerance
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.reporting.summary_text import drawn_by
from vlatency.experiments.reporting.wording import assumptions
from vlatency.experiments.shared import command
from vlatency.experiments.shared.files import check_writable, write_text
from vlatency.experiments.shared.table import markdown_table, text_table
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Print how much latency each task of a sweep bears, and write it as Markdown, CSV and one figure."""

    folder: tyro.conf.Positional[Path]
    """Folder of a sweep over latencies, finished or not."""
    out: Path | None = None
    """Folder to write to; default is that of the sweep."""
    threshold: float = 0.5
    """A task bears a latency as long as its success is at least this, between 0 and 1."""


def main(args: Args) -> None:
    """Read the sweep, print the table, write the files."""
    if not 0 < args.threshold < 1:  # also refuses NaN
        raise UsageError(f"threshold must be above 0 and below 1, not {args.threshold:g}")
    out = args.out or args.folder
    check_writable(out)
    summary = read_study(args.folder).summary
    found = tolerance.series(summary)
    heads, rows = tolerance.table(found, args.threshold)
    name = f"{summary.plan.name}-tolerance"
    count = min(result.n for each in found for result in each.results.values())
    captions = [
        f"success [%] of {count} or more episodes a cell; a task is the higher, the later it falls below "
        f"{100 * args.threshold:g} %",
        assumptions(summary.results),
    ]
    notes = [
        f"bears: at which latency success falls below {100 * args.threshold:g} % [95 % interval, of tested latencies]",
        "0 ms: the world waits for the policy, which is the same as no latency",
        *[f"not all cells are measured yet: {len(rows)} of {len(summary.plan.places)} places"]
        * any(not result.n for result in summary.results),
        assumptions(summary.results),
        drawn_by(summary),
    ]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([heads, *rows])
    text = [f"# {summary.plan.about}", "", *markdown_table(heads, rows), "", *(f"- {note}" for note in notes), ""]
    files = {
        f"{name}.md": "\n".join([*text, f"    {summary.command}", ""]),
        f"{name}.csv": file.getvalue(),
        f"{name}.svg": tolerance.chart(found, args.threshold, captions),
    }
    out.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        write_text(out / path, content)
    print("\n".join([*text_table(heads, rows), "", *notes]))
    print(f"{out}/  {' · '.join(files)}")


if __name__ == "__main__":
    command.run(main, Args)
