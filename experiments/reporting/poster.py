"""The main figure of a report as one SVG file, for a README: success of every configuration in every place."""

from html import escape
from pathlib import Path

from markupsafe import Markup

from vlatency.experiments.reporting.figures import kind
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.svg import WIDTH, Bar, element, intervals, intervals_height
from vlatency.experiments.reporting.wording import NOT_MEASURED, rate
from vlatency.experiments.sweeps.plan import show

STYLE = Path(__file__).parent / "templates" / "report.css"
COLUMNS, GAP, HEAD = 2, 24, 44
TICKS = [(share, f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


def poster(summary: Summary) -> str:
    """An SVG document, light or dark as the reader's screen; one panel per place, one line per arm."""
    axis = f"success [95 %]; green, red: significantly better, worse than {summary.reference}"
    places = summary.plan.places
    columns = min(COLUMNS, len(places))
    room = intervals_height([_bar(result) for result in summary.at(places[0])])
    tall, width = room + HEAD, columns * (WIDTH + GAP) + GAP
    height = tall * -(-len(places) // columns) + GAP
    drawn = []
    for number, place in enumerate(places):
        x, y = GAP + number % columns * (WIDTH + GAP), GAP + number // columns * tall
        svg = intervals([_bar(result) for result in summary.at(place)], 0.0, 1.0, axis, TICKS)
        drawn.append(element("text", show(place), x=x + 8, y=y + 8, class_="head"))
        drawn.append(element("svg", svg, x=x, y=y + 16, width=WIDTH, height=room))
    style = Markup("<style>{}</style>").format(Markup(escape(STYLE.read_text(encoding="utf-8"), quote=False)))
    paper = element("rect", width="100%", height="100%", fill="var(--card)")
    size = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height, "font_size": "11.5"}
    space = "http://www.w3.org/2000/svg"
    return str(element("svg", style, paper, *drawn, xmlns=space, font_family="system-ui, sans-serif", **size))


def _bar(result: Result) -> Bar:
    says = rate(result.success) if result.success else NOT_MEASURED
    return Bar(result.arm, result.arm, says, result.success, kind(result.against))
