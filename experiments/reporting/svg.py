"""Charts as inline SVG: no library, no network, colours from the page's style sheet, every figure also as text.

Each function gives one panel, 360 wide; its `<title>` says in words what is drawn. Groups carry data-arm, so that a
page can filter them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from vlatency.experiments.analysis.paired import Interval
from vlatency.experiments.reporting.wording import FIT, rate
from vlatency.experiments.shared.table import percent

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 14, 22, 40
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Point:
    """Success of `n` episodes at `x`.

    Attributes:
        mark: written in the point, which is hollow unless `strong`.
        fit: `x` rests on a latency that was not measured in this configuration; the point has a dashed outline.
    """

    arm: str
    x: float
    y: Interval
    n: int
    mark: str = ""
    strong: bool = True
    fit: bool = False

    def says(self, where: str) -> str:
        """In words, for a tool tip."""
        return f"{f'{self.arm}, ' * bool(self.arm)}{where}{f' {FIT}' * self.fit}: {rate(self.y)}, n = {self.n}"


@dataclass(frozen=True)
class Bar:
    """A line of a chart of intervals, with words at its left and right. Without both it is a heading.

    An end of the interval may be infinite, for one that goes on. `kind` is a class of the style sheet: better, worse,
    unknown.
    """

    arm: str
    label: str
    says: str = ""
    interval: Interval | None = None
    kind: str = "unknown"

    @property
    def height(self) -> int:
        """Of the line [px]."""
        return 38 if self.says or self.interval else 22


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


def _text(
    x: float, y: float, words: str, anchor: str = "start", class_: str | None = None, turned: bool = False
) -> Markup:
    turn = f"rotate(-38 {x:.1f} {y:.1f})" if turned else None
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_, transform=turn)


def _line(x: tuple[float, float], y: tuple[float, float], class_: str) -> Markup:
    return element("line", x1=x[0], x2=x[1], y1=y[0], y2=y[1], class_=class_)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _axis_name(height: float, name: str) -> Markup:
    return _text((_LEFT + WIDTH - _RIGHT) / 2, height - 4, name, "middle", "axis")


def _success_axis(bottom: float) -> tuple[Callable[[float], float], list[Markup]]:
    """Where a rate is drawn, and the grid with its labels."""

    def y(share: float) -> float:
        return bottom - (bottom - _TOP) * share

    grid = [_line((_LEFT, WIDTH - _RIGHT), (y(share), y(share)), "grid") for share in _SHARES]
    names = [f"{percent(share)} %" if share == 1 else percent(share) for share in _SHARES]
    return y, grid + [_text(_LEFT - 6, y(share) + 4, name, "end") for share, name in zip(_SHARES, names, strict=True)]


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
    y, grid = _success_axis(bottom)

    def x(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value + start) / span

    said = [point.says(f"{axis} {labels[int(point.x)] if labels else f'{point.x:g}'}") for point in points]
    at = [x(point.x) for point in points]
    band = [(here, y(point.y.high)) for here, point in zip(at, points, strict=True)]
    band += reversed([(here, y(point.y.low)) for here, point in zip(at, points, strict=True)])
    line = [(here, y(point.y.estimate)) for here, point in zip(at, points, strict=True)]
    dots: list[Markup] = []
    for point, here, words, named in zip(points, at, said, _spaced(at, 24), strict=True):
        drawn = [element("title", words), _line((here, here), (y(point.y.low), y(point.y.high)), "whisker")]
        drawn.append(element("circle", cx=here, cy=y(point.y.estimate), r=4, class_=f"dot{' fit' * point.fit}"))
        drawn += [_text(here, y(point.y.high) - 5, percent(point.y.estimate), "middle", "value")] * named
        dots.append(element("g", *drawn, data_arm=point.arm))
    ticks = [_text(x(value), bottom + 15, f"{value:g}", "middle") for value in _ticks(last)]
    if labels:
        ticks = [_text(x(place), bottom + 14, label, "end", turned=True) for place, label in enumerate(labels)]
    return _svg(
        height,
        f"Success over {axis}: {'; '.join(said)}",
        *grid,
        element("polygon", points=_path(band), class_="band"),
        element("polyline", points=_path(line), class_="line"),
        *dots,
        *ticks,
        _axis_name(height, axis),
    )


def _spaced(places: Sequence[float], least: float) -> list[bool]:
    """Which of rising places are kept so that each is `least` from the one kept before it."""
    kept: list[float] = []
    for place in places:
        if not kept or place - kept[-1] >= least:
            kept.append(place)
    return [place in kept for place in places]


def _ticks(last: float) -> list[float]:
    """About five round numbers from 0 to `last`."""
    raw = last / 5
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.999)
    return [round(step * place, 10) for place in range(int(last / step * 1.001) + 1)]


def pareto(points: Sequence[Point], front: Sequence[int], wanted_hz: float) -> Markup:
    """Success over control rate, on a logarithmic axis, with the front that nothing dominates.

    Args:
        points: x is the rate [Hz]; `mark` is written in the point.
        front: indices of the points on the front.
        wanted_hz: a line at the rate that is asked for.
    """
    height = 250
    y, grid = _success_axis(height - _BOTTOM)
    rates = [point.x for point in points] + [wanted_hz]
    low, high = math.log10(min(rates)) - 0.12, math.log10(max(rates)) + 0.12

    def x(rate: float) -> float:
        return _LEFT + 10 + (WIDTH - _LEFT - _RIGHT - 20) * (math.log10(rate) - low) / (high - low)

    at = [(x(point.x), y(point.y.estimate)) for point in points]
    dots, badges = [], []
    for point, (px, py), bx in zip(points, at, _apart(at, (_LEFT + WIDTH - _RIGHT) / 2), strict=True):
        hollow, fit = " hollow" * (not point.strong), " fit" * point.fit
        dot = element("circle", cx=px, cy=py, r=3.5, class_="dot")
        dots.append(element("g", _line((px, bx), (py, py), "whisker"), dot, data_arm=point.arm))
        drawn = [element("title", point.says(f"{point.x:.3g} Hz"))]
        drawn.append(_line((px, px), (y(point.y.low), y(point.y.high)), "whisker"))
        drawn.append(element("circle", cx=bx, cy=py, r=9, class_=f"badge{hollow}{fit}"))
        drawn.append(_text(bx, py + 4, point.mark, "middle", f"mark{hollow}"))
        badges.append(element("g", *drawn, data_arm=point.arm))
    edge, right = x(wanted_hz), WIDTH - _RIGHT
    return _svg(
        height,
        "Success and control rate: " + "; ".join(point.says(f"{point.x:.3g} Hz") for point in points),
        *grid,
        element("rect", x=edge, y=y(1), width=right - edge, height=y(0) - y(1), class_="able"),
        _line((edge, edge), (y(1), y(0)), "wanted"),
        _text(edge + 4, y(0) - 5, f"keeps {wanted_hz:g} Hz", class_="axis"),
        element("polyline", points=_path(_steps([at[place] for place in front])), class_="front"),
        *dots,
        *badges,
        *(_text(x(tick), y(0) + 15, f"{tick:g}", "middle") for tick in _decades(low, high, x)),
        _axis_name(height, "control rate it can serve [Hz]"),
    )


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A staircase through points, from the left."""
    steps: list[tuple[float, float]] = []
    for x, y in sorted(points):
        steps += [(steps[-1][0], y)] if steps else []
        steps.append((x, y))
    return steps


def _decades(low: float, high: float, x: Callable[[float], float]) -> list[float]:
    """Round numbers on a logarithmic axis, as far apart as their labels need."""
    ticks = [value * 10.0**power for power in range(-2, 4) for value in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return [tick for tick, kept in zip(ticks, _spaced([x(tick) for tick in ticks], 26), strict=True) if kept]


def _apart(points: list[tuple[float, float]], middle: float) -> list[float]:
    """Where badges stand that do not cover each other: at the height of their point, moved sideways to the middle."""
    placed: list[tuple[float, float]] = []
    for x, y in points:
        way = 20 if x < middle else -20
        sides = (x + way * step for step in range(len(points)))
        placed.append((next(side for side in sides if all(math.hypot(side - a, y - b) >= 19 for a, b in placed)), y))
    return [side for side, _ in placed]


def intervals_height(bars: Sequence[Bar]) -> int:
    """Height of their chart."""
    return sum(bar.height for bar in bars) + 44


def intervals(bars: Sequence[Bar], low: float, high: float, axis: str, ticks: Sequence[tuple[float, str]]) -> Markup:
    """Estimates with intervals, one per line, each with its words above; a heading stands alone.

    Args:
        bars: from the top down.
        low: left end of the axis; an infinite interval ends there in an arrow.
        high: right end, likewise.
        axis: what is drawn.
        ticks: places and names on the axis; the first one is drawn as the line to compare with.
    """
    height = intervals_height(bars)
    bottom = height - 36

    def x(value: float) -> float:
        return 10 + (WIDTH - 20) * (min(max(value, low), high) - low) / (high - low)

    drawn, top = [], 4.0
    for bar in bars:
        drawn.append(element("g", *_bar(bar, top, x), data_arm=bar.arm))
        top += bar.height
    grid = []
    for place, (value, name) in enumerate(ticks):
        grid.append(_line((x(value), x(value)), (4, bottom), "grid" if place else "grid zero"))
        grid.append(_text(min(max(x(value), 18), WIDTH - 18), bottom + 15, name, "middle"))
    says = "; ".join(f"{bar.label} {bar.says}".strip() for bar in bars)
    return _svg(height, f"{axis}: {says}", *grid, *drawn, _text(WIDTH / 2, height - 4, axis, "middle", "axis"))


def _bar(bar: Bar, top: float, x: Callable[[float], float]) -> list[Markup]:
    if not bar.says and not bar.interval:
        return [_text(8, top + 16, bar.label, class_="head")]
    parts = [_text(16, top + 14, bar.label), _text(WIDTH - 10, top + 14, bar.says, "end", "value")]
    if bar.interval is not None:
        y, (left, right) = top + 26, (x(bar.interval.low), x(bar.interval.high))
        parts.append(_line((left, right), (y, y), f"range {bar.kind}"))
        parts += [_arrow(left, y, 1, bar.kind)] if bar.interval.low == -math.inf else []
        parts += [_arrow(right, y, -1, bar.kind)] if bar.interval.high == math.inf else []
        if math.isfinite(bar.interval.estimate):
            parts.append(element("circle", cx=x(bar.interval.estimate), cy=y, r=5, class_=f"point {bar.kind}"))
    return parts


def _arrow(x: float, y: float, way: int, kind: str) -> Markup:
    tip = [(x, y), (x + 8 * way, y - 5), (x + 8 * way, y + 5)]
    return element("polygon", points=_path(tip), class_=f"point {kind}")


def strip(success: Interval) -> Markup:
    """A rate and its interval in one small line, for a table."""

    def x(share: float) -> float:
        return 2 + 116 * share

    drawn = [_line((x(0), x(1)), (6, 6), "grid"), _line((x(success.low), x(success.high)), (6, 6), "range unknown")]
    drawn.append(element("circle", cx=x(success.estimate), cy=6, r=4, class_="dot"))
    return element("svg", *drawn, viewBox="0 0 120 12", class_="strip", aria_hidden="true")
