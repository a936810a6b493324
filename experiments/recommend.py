"""Which configuration to ship on a device, from the cells that sweeps have measured; "cannot tell" when they cannot.

python experiments/recommend.py --device insertion_vla --task conveyor --min-success 0.8
"""

import sys
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from vlatency.experiments.reporting.candidates import dominated, make_candidates, rank, without_figure
from vlatency.experiments.reporting.interpolation import read_cells
from vlatency.experiments.reporting.question import Question
from vlatency.experiments.reporting.recommendation import caption, recommend, table
from vlatency.experiments.shared import command, provenance


@dataclass(frozen=True)
class Args:
    """Say which configuration to ship on a device, how far it is from the cliff, and what would change that.

    Nothing is run: success is looked up in measured cells, taken between two of them, or at least that of a slower one.
    """

    question: Question


def main(args: Args) -> None:
    """Print the candidates, the answer, the margin, what would change it, and the commands."""
    question = args.question
    question.check()
    device, policy = question.on_device(), question.policy_sha256
    cells = read_cells(question.cells, question.is_there)
    known = [result for result in cells.results if result.setting.policy_sha256 == policy]
    everywhere = [result for result in known if question.suits(result.setting, at_speed=False)]
    here = [result for result in everywhere if question.suits(result.setting)]
    candidates = rank(make_candidates(here, device))

    console = Console(highlight=False, soft_wrap=True)
    asked = f"{question.place}, {question.rate_hz:g} Hz, success of at least {question.wanted}; device {device.name}"
    console.print(Text(asked))
    unused = {
        "come from other software": cells.other_software,
        "are of an older version": cells.older,
        "were charged a latency that is not here any more, or has changed,": cells.unknown,
        f"are of other policies than {question.policy}": len(cells.results) - len(known),
    }
    for why, count in unused.items():
        if count:
            console.print(Text(f"note: {count} cells {why} and are not used"))
    for name, reason in without_figure(here, device).items():
        console.print(Text(f"note: nothing is said of {name}: {reason}"))
    if candidates:
        beaten = dominated(candidates)
        heads, lines = table(candidates, beaten, question)
        console.print(Text("\n".join(heads)))
        for line, better in zip(lines, beaten, strict=True):
            console.print(Text(line, style="" if better is None else "strike"))
        console.print(Text(caption(candidates)))
    console.print()
    for title, sentence in recommend(candidates, everywhere, question):
        console.print(Text(f"{title:<8}{sentence}", style="bold" if title == "answer" else ""))
    console.print(Text(f"{'again':<8}{provenance.command_line(sys.argv)}"))


if __name__ == "__main__":
    command.run(main, Args)
