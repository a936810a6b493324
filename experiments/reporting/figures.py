"""The figures of a report: which of them a summary permits, and what each is drawn from."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlatency.experiments.analysis.break_even import BreakEven
from vlatency.experiments.analysis.late_or_wrong import Split
from vlatency.experiments.analysis.paired import Interval, Paired
from vlatency.experiments.evaluation import feature_ages
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.svg import Bar, Point, curve, intervals, pareto
from vlatency.experiments.reporting.wording import FIT, difference, divided, rate_fitted
from vlatency.experiments.shared.table import percent, points
from vlatency.experiments.sweeps.plan import Place, show


@dataclass(frozen=True)
class Panel:
    """A chart of one place.

    Attributes:
        task: for filters.
        title: the place.
        svg: the chart.
        lines: what it says in words, if more than its labels.
    """

    task: str
    title: str
    svg: Markup
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """Panels with one title.

    Attributes:
        kind: latency, age, pareto, split, break-even.
        title, note: what is seen, and how to read it.
        n: episodes behind it, in words.
        panels: one per place.
    """

    kind: str
    title: str
    note: str
    n: str
    panels: tuple[Panel, ...]


def figures(summary: Summary) -> list[Figure]:
    """All that the summary permits, in the order of the page."""
    found = (_pareto(summary), _latency(summary), _age(summary), _split(summary), _fall(summary))
    return [figure for figure in found if figure and figure.panels]


def front(results: Sequence[Result]) -> list[int]:
    """Indices of those that no other beats: none has as many successes at as high a rate, and more of one of them."""

    def beats(one: Result, two: Result) -> bool:
        a, b = _merit(one), _merit(two)
        return a != b and all(mine >= theirs for mine, theirs in zip(a, b, strict=True))

    return [place for place, mine in enumerate(results) if not any(beats(other, mine) for other in results)]


def _merit(result: Result) -> tuple[float, float]:
    assert result.success
    return result.success.estimate, round(result.rate_hz or math.inf, 6)


def _dashed(any_fitted: bool) -> str:
    """What a dashed outline means, where there is one."""
    return f" Dashed ({FIT}): rests on a latency that was not measured in that configuration." * any_fitted


def _n(counts: Iterable[int], unit: str) -> str:
    """Such as "n = 20 to 40 episodes per point"."""
    each = sorted(set(counts)) or [0]
    return f"n = {each[0]}{f' to {each[-1]}' if len(each) > 1 else ''} {unit}"


def _pareto(summary: Summary) -> Figure:
    panels: list[Panel] = []
    used: list[Result] = []
    for place in summary.plan.places:
        here = [result for result in summary.at(place) if result.success and result.rate_hz]
        if len({result.rate_hz for result in here}) < 2:
            continue
        best, numbers = front(here), {arm: str(place + 1) for place, arm in enumerate(summary.plan.arms)}
        spots = [
            Point(
                result.arm,
                result.rate_hz,
                result.success,
                result.n,
                numbers[result.arm],
                index in best,
                rate_fitted(result),
            )
            for index, result in enumerate(here)
            if result.success and result.rate_hz
        ]
        panels.append(Panel(here[0].task, show(place), pareto(spots, best, summary.control_hz)))
        used += here
    return Figure(
        "pareto",
        "Success and control rate",
        "Up and to the right is better. Filled: no other configuration has more of one without less of the other. "
        "Numbers are those of the table, moved sideways where they would overlap. Vertical lines: 95 % intervals."
        + _dashed(any(map(rate_fitted, used))),
        _n((result.n for result in used), "episodes per point"),
        tuple(panels),
    )


def _latency(summary: Summary) -> Figure | None:
    if summary.falls or not summary.only_latency_differs:
        return None
    panels: list[Panel] = []
    used: list[Result] = []
    for place in summary.plan.places:
        here = sorted((result for result in summary.at(place) if result.n), key=lambda result: result.vl_ms)
        if len(here) > 1:
            spots = [
                Point(each.arm, each.vl_ms, each.success, each.n, fit=each.fitted) for each in here if each.success
            ]
            panels.append(Panel(here[0].task, show(place), curve(spots, "VL latency [ms]")))
            used += here
    return Figure(
        "latency",
        "Success against latency",
        "VL latency: what one encode by the vision-language model takes. Everything else is the same for all points. "
        "Shaded: 95 % intervals." + _dashed(any(result.fitted for result in used)),
        _n((result.n for result in used), "episodes per point"),
        tuple(panels),
    )


def _age(summary: Summary) -> Figure:
    panels, total = [], 0
    for task in summary.tasks:
        rows = [row for result in summary.results if result.task == task for row in result.rows]
        cells = feature_ages.success_against_age([row for row in rows if "used_feature_age_ms_p50" in row])
        if len(cells) > 1:
            spots = [
                Point("", place, Interval(cell["success"], cell["ci_low"], cell["ci_high"]), cell["n"])
                for place, cell in enumerate(cells)
            ]
            axis = "median feature age when used, of an episode [ms]"
            svg = curve(spots, axis, [str(cell["age_ms"]) for cell in cells])
            panels.append(Panel(task, f"task {task}", svg))
            total += sum(cell["n"] for cell in cells)
    return Figure(
        "age",
        "Success against feature age",
        "How old the features were when the head used them. Episodes of all configurations, grouped by their median "
        "age at use. Configurations differ in more than age, so this is a correlation, not a cause.",
        f"{total} episodes",
        tuple(panels),
    )


def _split(summary: Summary) -> Figure:
    panels: list[Panel] = []
    counts: set[int] = set()
    for place in summary.plan.places:
        parted = [(result.arm, result.split) for result in summary.at(place) if result.split]
        if not parted:
            continue
        counts |= {split.total.n for _, split in parted}
        bars = [bar for arm, split in parted for bar in _parts(arm, split)]
        ends = [abs(end) for bar in bars if bar.interval for end in (bar.interval.low, bar.interval.high)]
        reach = min(2.0, max(0.2, math.ceil(max(ends) * 10) / 10))
        ticks = [(value, points(value)) for value in (0.0, -reach, -reach / 2, reach / 2, reach)]
        svg = intervals(bars, -reach, reach, f"change of success against {summary.reference} [points]", ticks)
        lines = tuple(f"{arm}: {divided(split)}" for arm, split in parted)
        panels.append(Panel(str(dict(place).get("task", summary.tasks[0])), show(place), svg, lines))
    return Figure(
        "split",
        "Late or wrong",
        f"Does a configuration differ from {summary.reference} because its features come at other times, or because "
        "they are other features? Each change is measured alone, on the same seeds. Lines: 95 % intervals.",
        _n(counts, "seeds, four configurations on each"),
        tuple(panels),
    )


def _parts(arm: str, split: Split) -> list[Bar]:
    bars = [Bar(arm, arm)]
    for name, part in (("late: its timing alone", split.late), ("wrong: its features alone", split.wrong)):
        bars.append(Bar(arm, name, f"{difference(part.difference)} {part.verdict}", part.difference, kind(part)))
    bars.append(Bar(arm, "interaction: the rest", difference(split.interaction), split.interaction))
    # Its verdict is that of the table, adjusted there for all the others.
    bars.append(Bar(arm, "total", difference(split.total.difference, " points"), split.total.difference))
    return bars


def kind(result: Paired | None) -> str:
    """The class of the style sheet that says whether it is better, worse, or unknown."""
    return result.verdict if result and result.significant else "unknown"


def _fall(summary: Summary) -> Figure | None:
    if not summary.plan.break_even or not summary.falls:
        return None
    load, threshold = summary.plan.break_even
    panels: list[Panel] = []
    for rest in dict.fromkeys(rest for rest, _ in summary.falls):
        mine = {arm: fall for (place, arm), fall in summary.falls.items() if place == rest}
        tested = next(iter(mine.values()))
        low, high = tested.slowest, tested.fastest
        bars = [Bar(arm, arm, fall.describe(), _crossing(fall)) for arm, fall in mine.items()]
        ticks = [(value, f"{value:.3g}") for value in (low + (high - low) * part / 4 for part in range(5))]
        svg = intervals(bars, low, high, f"{_with_unit(load)}, tested from {low:g} to {high:g}", ticks)
        panels.append(Panel(str(dict(rest).get("task", summary.tasks[0])), show(rest), svg))
        panels += [panel for arm in mine for panel in _falling(summary, rest, arm, load)]
    return Figure(
        "break-even",
        f"Break-even {load}",
        f"The {load} at which success falls below {percent(threshold)} %, assuming only that success does not rise "
        f"with the {load}. The ends of an interval are tested values; an arrow means that it goes on beyond them. "
        "The curves show what was measured.",
        _n((result.n for result in summary.results if result.n), "episodes per point"),
        tuple(panels),
    )


def _falling(summary: Summary, rest: Place, arm: str, load: str) -> list[Panel]:
    """Success of an arm over the load, if it has two points."""
    found = {
        float(dict(result.place)[load]): result
        for result in summary.of_arm(arm)
        if result.n and set(rest) <= set(result.place)
    }
    spots = [Point(arm, x, result.success, result.n) for x, result in sorted(found.items()) if result.success]
    if len(spots) < 2:
        return []
    title = f"{arm}, {show(rest)}" if rest else arm
    return [Panel(next(iter(found.values())).task, title, curve(spots, _with_unit(load)))]


def _with_unit(load: str) -> str:
    return "speed [m/s]" if load == "speed" else load


def _crossing(fall: BreakEven) -> Interval | None:
    """As it is drawn: infinite where it goes on, without an estimate where there is none."""
    if fall.low is None and fall.high is None:
        return None
    return Interval(
        math.nan if fall.estimate is None else fall.estimate,
        -math.inf if fall.low is None else fall.low,
        math.inf if fall.high is None else fall.high,
    )
