"""Charts as inline SVG: no library, no network, colours from the page's style sheet, every figure also as text.

Each function gives one panel, 360 wide; its `<title>` says in words what is drawn. Groups carry data-arm, so that a
page can filter them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from vlatency.experiments.analysis.paired import Interval
from vlatency.experiments.reporting.mode_table import percent

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 14, 22, 40


@dataclass(frozen=True)
class Point:
    """A rate at a place on the x axis."""

    arm: str
    x: float
    y: Interval
    n: int
    mark: str = ""
    """What is written in the point, such as its number."""
    strong: bool = True
    """Filled; else hollow."""


@dataclass(frozen=True)
class Bar:
    """A line of a chart of intervals.

    Attributes:
        arm: for filters.
        label, says: in words, before and after the bar.
        interval: what is drawn; low or high may be infinite, for an interval that goes on.
        kind: a class of the style sheet: better, worse, unknown.
        head: a heading instead of a bar.
    """

    arm: str
    label: str
    says: str = ""
    interval: Interval | None = None
    kind: str = "unknown"
    head: bool = False


def element(name: str, *children: str, **attributes: object) -> Markup:
    """An SVG element; _ in attribute names stands for -, a trailing one is dropped; None leaves the attribute out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    head = Markup("").join(Markup(' {}="{}"').format(key, _number(value)) for key, value in given.items())
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), head, Markup("").join(map(escape, children)))


def _number(value: object) -> object:
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def _svg(height: float, says: str, *children: str) -> Markup:
    box = f"0 0 {WIDTH} {height:g}"
    return element("svg", element("title", says), *children, viewBox=box, role="img", class_="chart")


def _text(x: float, y: float, words: str, anchor: str = "start", class_: str | None = None) -> Markup:
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def curve(points: Sequence[Point], axis: str, labels: Sequence[str] = ()) -> Markup:
    """Success over a number, with a band of the 95 % intervals.

    Args:
        points: in the order of x.
        axis: name of x, with its unit.
        labels: names of places on the axis, for points at 0, 1, 2 and so on.
    """
    height = 280 if labels else 240
    bottom = height - _BOTTOM - 38 * bool(labels)
    last = max(max(point.x for point in points), 1e-9)
    start = 0.5 if labels else 0.05 * last
    span = len(labels) if labels else last * 1.1

    def x(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value + start) / span

    def y(share: float) -> float:
        return bottom - (bottom - _TOP) * share

    band = [(x(point.x), y(point.y.high)) for point in points]
    band += [(x(point.x), y(point.y.low)) for point in reversed(points)]
    line = [(x(point.x), y(point.y.estimate)) for point in points]
    ticks: list[Markup] = []
    if labels:
        for place, label in enumerate(labels):
            at = x(place), bottom + 14
            turn = f"rotate(-38 {at[0]:.1f} {at[1]:.1f})"
            ticks.append(element("text", label, x=at[0], y=at[1], text_anchor="end", transform=turn))
    else:
        ticks = [_text(x(value), bottom + 15, f"{value:g}", "middle") for value in _ticks(last)]
    return _svg(
        height,
        f"Success over {axis}: " + "; ".join(_says(point, f"{axis} {_named(point, labels)}") for point in points),
        *_rate_axis(y, WIDTH - _RIGHT),
        element("polygon", points=_path(band), class_="band"),
        element("polyline", points=_path(line), class_="line"),
        *(
            element(
                "g",
                element("title", _says(point, f"{axis} {_named(point, labels)}")),
                element("line", x1=x(point.x), x2=x(point.x), y1=y(point.y.low), y2=y(point.y.high), class_="whisker"),
                element("circle", cx=x(point.x), cy=y(point.y.estimate), r=4, class_="dot"),
                *([_text(x(point.x), y(point.y.high) - 5, percent(point.y.estimate), "middle", "value")] * named),
                data_arm=point.arm,
            )
            for point, named in zip(points, _spaced([x(point.x) for point in points]), strict=True)
        ),
        *ticks,
        _text((_LEFT + WIDTH - _RIGHT) / 2, height - 3, axis, "middle", "axis"),
    )


def _named(point: Point, labels: Sequence[str]) -> str:
    return labels[int(point.x)] if labels else f"{point.x:g}"


def _says(point: Point, where: str) -> str:
    y = point.y
    name = f"{point.arm}, {where}" if point.arm else where
    return f"{name}: {percent(y.estimate)} % [{percent(y.low)}, {percent(y.high)}], n = {point.n}"


def _spaced(places: Sequence[float]) -> list[bool]:
    """Which of rising places can have a label without covering the last one's."""
    named: list[float] = []
    for place in places:
        if not named or place - named[-1] >= 24:
            named.append(place)
    return [place in named for place in places]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _ticks(last: float) -> list[float]:
    """About five round numbers from 0 to `last`."""
    raw = last / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.999)
    return [round(step * place, 10) for place in range(int(last / step * 1.001) + 1)]


def _rate_axis(y: "object", right: float) -> list[Markup]:
    assert callable(y)
    lines = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        lines.append(element("line", x1=_LEFT, x2=right, y1=y(share), y2=y(share), class_="grid"))
        lines.append(_text(_LEFT - 6, y(share) + 4, f"{percent(share)} %" if share == 1 else percent(share), "end"))
    return lines


def pareto(points: Sequence[Point], front: Sequence[int], wanted_hz: float) -> Markup:
    """Success over control rate, on a logarithmic axis, with the front that nothing dominates.

    Args:
        points: x is the rate [Hz]; `mark` is written in the point.
        front: indices of the points on the front.
        wanted_hz: a line at the rate that is asked for.
    """
    height = 250
    bottom = height - _BOTTOM
    rates = [point.x for point in points] + [wanted_hz]
    low, high = math.log10(min(rates)) - 0.12, math.log10(max(rates)) + 0.12

    def x(rate: float) -> float:
        return _LEFT + 10 + (WIDTH - _LEFT - _RIGHT - 20) * (math.log10(rate) - low) / (high - low)

    def y(share: float) -> float:
        return bottom - (bottom - _TOP) * share

    ticks = [value * 10.0**power for power in range(-2, 4) for value in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    kept: list[float] = []
    for tick in ticks:
        if not kept or x(tick) - x(kept[-1]) > 26:
            kept.append(tick)
    steps: list[tuple[float, float]] = []
    for point in sorted((points[place] for place in front), key=lambda point: point.x):
        if steps:
            steps.append((steps[-1][0], y(point.y.estimate)))
        steps.append((x(point.x), y(point.y.estimate)))
    at = [(x(point.x), y(point.y.estimate)) for point in points]
    sides = _apart(at, (_LEFT + WIDTH - _RIGHT) / 2)
    return _svg(
        height,
        "Success and control rate: " + "; ".join(_says(point, f"{point.x:.3g} Hz") for point in points),
        *_rate_axis(y, WIDTH - _RIGHT),
        element("rect", x=x(wanted_hz), y=y(1), width=WIDTH - _RIGHT - x(wanted_hz), height=y(0) - y(1), class_="able"),
        element("line", x1=x(wanted_hz), x2=x(wanted_hz), y1=y(1), y2=y(0), class_="wanted"),
        _text(x(wanted_hz) + 4, y(0) - 5, f"keeps {wanted_hz:g} Hz", class_="axis"),
        element("polyline", points=_path(steps), class_="front"),
        *(
            element(
                "g",
                element("line", x1=px, x2=bx, y1=py, y2=py, class_="whisker"),
                element("circle", cx=px, cy=py, r=3.5, class_="dot"),
                data_arm=point.arm,
            )
            for point, (px, py), bx in zip(points, at, sides, strict=True)
        ),
        *(
            element(
                "g",
                element("title", _says(point, f"{point.x:.3g} Hz")),
                element("line", x1=px, x2=px, y1=y(point.y.low), y2=y(point.y.high), class_="whisker"),
                element("circle", cx=bx, cy=py, r=9, class_="badge" if point.strong else "badge hollow"),
                _text(bx, py + 4, point.mark, "middle", "mark" if point.strong else "mark hollow"),
                data_arm=point.arm,
            )
            for point, (px, py), bx in zip(points, at, sides, strict=True)
        ),
        *(_text(x(tick), bottom + 15, f"{tick:g}", "middle") for tick in kept),
        _text((_LEFT + WIDTH - _RIGHT) / 2, height - 5, "control rate it can serve [Hz]", "middle", "axis"),
    )


def _apart(points: list[tuple[float, float]], middle: float) -> list[float]:
    """Where badges stand that do not cover each other: at the height of their point, moved sideways to the middle."""
    placed: list[tuple[float, float]] = []
    for x, y in points:
        way = 20 if x < middle else -20
        sides = (x + way * step for step in range(len(points)))
        placed.append((next(side for side in sides if all(math.hypot(side - a, y - b) >= 19 for a, b in placed)), y))
    return [side for side, _ in placed]


_BAR, _HEAD = 38, 22


def intervals_height(bars: Sequence[Bar]) -> int:
    """Height of their chart."""
    return sum(_HEAD if bar.head else _BAR for bar in bars) + 44


def intervals(bars: Sequence[Bar], low: float, high: float, axis: str, ticks: Sequence[tuple[float, str]]) -> Markup:
    """Estimates with intervals, one a line, each with its words above; a heading stands alone.

    Args:
        bars: from the top down.
        low, high: ends of the axis; an infinite interval ends there in an arrow.
        axis: what is drawn.
        ticks: places and names on the axis; the first one is drawn as the line to compare with.
    """
    height = intervals_height(bars)
    bottom = height - 36

    def x(value: float) -> float:
        return 10 + (WIDTH - 20) * (min(max(value, low), high) - low) / (high - low)

    drawn: list[Markup] = []
    top = 4.0
    for bar in bars:
        if bar.head:
            drawn.append(element("g", _text(8, top + 16, bar.label, class_="head"), data_arm=bar.arm))
            top += _HEAD
            continue
        parts = [_text(16, top + 14, bar.label), _text(WIDTH - 10, top + 14, bar.says, "end", "value")]
        if bar.interval is not None:
            y, i = top + 26, bar.interval
            parts.append(element("line", x1=x(i.low), x2=x(i.high), y1=y, y2=y, class_=f"range {bar.kind}"))
            parts += [_arrow(x(low), y, 1, bar.kind)] if i.low == -math.inf else []
            parts += [_arrow(x(high), y, -1, bar.kind)] if i.high == math.inf else []
            if math.isfinite(i.estimate):
                parts.append(element("circle", cx=x(i.estimate), cy=y, r=5, class_=f"point {bar.kind}"))
        drawn.append(element("g", *parts, data_arm=bar.arm))
        top += _BAR
    grid = []
    for place, (value, name) in enumerate(ticks):
        class_ = "grid zero" if place == 0 else "grid"
        grid.append(element("line", x1=x(value), x2=x(value), y1=4, y2=bottom, class_=class_))
        grid.append(_text(min(max(x(value), 18), WIDTH - 18), bottom + 15, name, "middle"))
    says = "; ".join(f"{bar.label} {bar.says}".strip() for bar in bars)
    return _svg(height, f"{axis}: {says}", *grid, *drawn, _text(WIDTH / 2, height - 4, axis, "middle", "axis"))


def _arrow(x: float, y: float, way: int, kind: str) -> Markup:
    tip = [(x, y), (x + 8 * way, y - 5), (x + 8 * way, y + 5)]
    return element("polygon", points=_path(tip), class_=f"point {kind}")


def strip(success: Interval) -> Markup:
    """A rate and its interval in one small line, for a table."""

    def x(share: float) -> float:
        return 2 + 116 * share

    return element(
        "svg",
        element("line", x1=x(0), x2=x(1), y1=6, y2=6, class_="grid"),
        element("line", x1=x(success.low), x2=x(success.high), y1=6, y2=6, class_="range unknown"),
        element("circle", cx=x(success.estimate), cy=6, r=4, class_="dot"),
        viewBox="0 0 120 12",
        class_="strip",
        aria_hidden="true",
    )
