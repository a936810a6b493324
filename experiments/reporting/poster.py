"""The main figure of a study as one SVG file, for a README: success of every configuration in every place."""

from html import escape
from pathlib import Path

from markupsafe import Markup

from vlatency.experiments.reporting.figures import kind
from vlatency.experiments.reporting.headline import rate
from vlatency.experiments.reporting.study import Shown, Study
from vlatency.experiments.reporting.svg import WIDTH, Bar, element, intervals, intervals_height
from vlatency.experiments.sweeps.plan import show

STYLE = Path(__file__).parent / "templates" / "report.css"
COLUMNS, GAP, HEAD = 2, 24, 44


def poster(study: Study) -> str:
    """An SVG document, light or dark as the reader's screen; one panel a place, one line an arm."""
    panels = []
    for where in study.places:
        cells = [cell for arm in study.arms if (cell := study.cell(where, arm)) is not None]
        bars = [_bar(cell) for cell in cells]
        panels.append((show(where), _panel(bars, study.arms[0]), intervals_height(bars)))
    columns = min(COLUMNS, len(panels))
    tall = max(height for *_, height in panels) + HEAD
    width = columns * (WIDTH + GAP) + GAP
    height = tall * -(-len(panels) // columns) + GAP
    drawn = []
    for number, (title, svg, room) in enumerate(panels):
        x, y = GAP + number % columns * (WIDTH + GAP), GAP + number // columns * tall
        drawn.append(element("text", title, x=x + 8, y=y + 8, class_="head"))
        drawn.append(element("svg", svg, x=x, y=y + 16, width=WIDTH, height=room))
    style = Markup("<style>{}</style>").format(Markup(escape(STYLE.read_text(encoding="utf-8"), quote=False)))
    paper = element("rect", width="100%", height="100%", fill="var(--card)")
    return str(
        element(
            "svg",
            style,
            paper,
            *drawn,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
            font_family="system-ui, sans-serif",
            font_size="11.5",
        )
    )


def _bar(cell: Shown) -> Bar:
    says = rate(cell.success) if cell.success else "not measured"
    return Bar(cell.arm, cell.arm, says, cell.success, kind(cell.against))


def _panel(bars: list[Bar], reference: str) -> Markup:
    ticks = [(share, f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return intervals(bars, 0.0, 1.0, f"success [95 %]; green, red: better, worse than {reference}", ticks)
