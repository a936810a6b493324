"""Tables as text and as Markdown, and how figures are written in them."""

from collections.abc import Sequence


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of plain text: the first column to the left, all others to the right.

    Args:
        heads: names of the columns; a line break puts the rest on a second line.
        rows: cells, as many as there are heads.
    """
    height = max(head.count("\n") + 1 for head in heads)
    above = [([""] * height + head.split("\n"))[-height:] for head in heads]
    lines = [[column[level] for column in above] for level in range(height)] + [list(row) for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]

    def drawn(line: Sequence[str]) -> str:
        first, *others = (cell.ljust(width) if place == 0 else cell.rjust(width)
                          for place, (cell, width) in enumerate(zip(line, widths, strict=True)))  # fmt: skip
        return "  ".join([first, *others]).rstrip()

    return [drawn(line) for line in lines]


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown, aligned in the same way."""
    lines = [[" ".join(head.split("\n")).strip() for head in heads], ["---", *["---:"] * (len(heads) - 1)]]
    return [f"| {' | '.join(line)} |" for line in [*lines, *rows]]


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"{100 * share:.0f}"


def points(difference: float) -> str:
    """A difference of two shares in whole points, with its sign."""
    whole = round(100 * difference)
    return f"{whole:+d}" if whole else "0"


def milliseconds(value: float | None) -> str:
    """Three digits, or - for None [ms]."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value == 0 or value >= 100 else f"{value:.1f}"
