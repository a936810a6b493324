"""The figures of a study: which of them its cells permit, and what each is drawn from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlatency.experiments.analysis.break_even import BreakEven
from vlatency.experiments.analysis.late_or_wrong import Split
from vlatency.experiments.analysis.paired import Interval, Paired
from vlatency.experiments.evaluation import feature_ages
from vlatency.experiments.reporting.mode_table import difference, percent, points
from vlatency.experiments.reporting.study import Shown, Study, Where
from vlatency.experiments.reporting.svg import Bar, Point, curve, intervals, pareto
from vlatency.experiments.reporting.sweep_table import divide
from vlatency.experiments.sweeps.plan import show


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
        panels: one a place.
    """

    kind: str
    title: str
    note: str
    n: str
    panels: tuple[Panel, ...]


def figures(study: Study) -> list[Figure]:
    """All that the study permits, in the order of the page."""
    found = (_pareto(study), _latency(study), _age(study), _split(study), _fall(study))
    return [figure for figure in found if figure.panels]


def front(cells: Sequence[Shown]) -> list[int]:
    """Indices of those that no other beats: none has as many successes at as high a rate, and more of one of them."""

    def beats(one: Shown, two: Shown) -> bool:
        a, b = _merit(one), _merit(two)
        return a != b and all(mine >= theirs for mine, theirs in zip(a, b, strict=True))

    return [place for place, cell in enumerate(cells) if not any(beats(other, cell) for other in cells)]


def _merit(cell: Shown) -> tuple[float, float]:
    assert cell.success
    return cell.success.estimate, round(cell.rate_hz or math.inf, 6)


def _count(cells: Sequence[Shown]) -> str:
    counts = sorted({cell.n for cell in cells})
    if not counts:
        return "n = 0"
    return f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") + " episodes a point"


def _measured(study: Study, where: Where) -> list[Shown]:
    cells = (study.cell(where, arm) for arm in study.arms)
    return [cell for cell in cells if cell and cell.success]


def _pareto(study: Study) -> Figure:
    panels, used = [], []
    for where in study.places:
        cells = [cell for cell in _measured(study, where) if cell.rate_hz]
        if len({cell.rate_hz for cell in cells}) < 2:
            continue
        best = front(cells)
        spots = []
        for place, cell in enumerate(cells):
            assert cell.success and cell.rate_hz
            mark = str(study.arms.index(cell.arm) + 1)
            spots.append(Point(cell.arm, cell.rate_hz, cell.success, cell.n, mark, place in best))
        svg = pareto(spots, best, cells[0].setting["control_hz"])
        panels.append(Panel(cells[0].task, show(where), svg))
        used += cells
    return Figure(
        "pareto",
        "Success and control rate",
        "Up and to the right is better. Filled: no other configuration has more of the one without less of the other. "
        "Numbers are those of the table, moved sideways where they would cover each other; whiskers are 95 % "
        "intervals.",
        _count(used),
        tuple(panels),
    )


def _latency(study: Study) -> Figure:
    panels, used = [], []
    for where in study.places if study.only_timing_differs and study.load is None else ():
        cells = sorted(_measured(study, where), key=lambda cell: cell.vl_ms)
        if len(cells) > 1:
            spots = [Point(cell.arm, cell.vl_ms, cell.success, cell.n) for cell in cells if cell.success]
            panels.append(Panel(cells[0].task, show(where), curve(spots, "VL latency [ms]")))
            used += cells
    return Figure(
        "latency",
        "Success against latency",
        "What an encode of the vision-language model may take. Everything else is the same; the band holds the "
        "95 % intervals.",
        _count(used),
        tuple(panels),
    )


def _age(study: Study) -> Figure:
    panels, total = [], 0
    for task in study.tasks:
        rows = [row for cell in study.cells if cell.task == task for row in cell.rows if "feature_age_ms_p50" in row]
        cells = feature_ages.success_against_age(rows)
        if len(cells) > 1:
            spots = [
                Point("", place, Interval(cell["success"], cell["ci_low"], cell["ci_high"]), cell["n"])
                for place, cell in enumerate(cells)
            ]
            svg = curve(spots, "median feature age of an episode [ms]", [str(cell["age_ms"]) for cell in cells])
            panels.append(Panel(task, f"task {task}", svg))
            total += sum(cell["n"] for cell in cells)
    return Figure(
        "age",
        "Success against feature age",
        "How old the features were when the head used them: episodes of all configurations together, by their median. "
        "Configurations differ in more than age, so this shows what goes together, not what causes it.",
        f"{total} episodes",
        tuple(panels),
    )


def _split(study: Study) -> Figure:
    panels, counts = [], set()
    for where in study.places:
        bars, lines = [], []
        cells = [cell for cell in _measured(study, where) if cell.split]
        for cell in cells:
            split = cell.split
            assert split
            counts.add(split.total.n)
            bars += _parts(cell.arm, split)
            lines.append(f"{cell.arm}: {divide(split)}")
        if bars:
            ends = [abs(end) for bar in bars if bar.interval for end in (bar.interval.low, bar.interval.high)]
            reach = min(2.0, max(0.2, math.ceil(max(ends) * 10) / 10))
            ticks = [(value, points(value)) for value in (0.0, -reach, -reach / 2, reach / 2, reach)]
            svg = intervals(bars, -reach, reach, f"change of success against {study.arms[0]} [points]", ticks)
            panels.append(Panel(cells[0].task, show(where), svg, tuple(lines)))
    return Figure(
        "split",
        "Late or wrong",
        f"Is a configuration worse than {study.arms[0]} because its features come at another time, or because they are "
        "other features? Each is measured alone, on the same seeds; lines are 95 % intervals.",
        "n = "
        + " to ".join(map(str, sorted({min(counts), max(counts)} if counts else {0})))
        + " seeds, four arms each",
        tuple(panels),
    )


def _parts(arm: str, split: Split) -> list[Bar]:
    bars = [Bar(arm, arm, head=True)]
    for name, result in (("late: its timing alone", split.late), ("wrong: its features alone", split.wrong)):
        bars.append(Bar(arm, name, f"{difference(result.difference)} {_word(result)}", result.difference, kind(result)))
    bars.append(Bar(arm, "both at once: what is left", difference(split.interaction), split.interaction))
    # Its verdict is that of the table, adjusted there for all the others.
    bars.append(Bar(arm, "total", f"{difference(split.total.difference)} points", split.total.difference))
    return bars


def kind(result: Paired | None) -> str:
    """The class of the style sheet that says whether it is better, worse, or unknown."""
    if result is None or not result.significant:
        return "unknown"
    return "better" if result.difference.estimate > 0 else "worse"


def _word(result: Paired) -> str:
    return {"unknown": "cannot tell"}.get(kind(result), kind(result))


def _fall(study: Study) -> Figure:
    panels = []
    for rest in dict.fromkeys(where for where, _, _ in study.falls):
        mine = [(arm, fall) for where, arm, fall in study.falls if where == rest]
        low, high = mine[0][1].slowest, mine[0][1].fastest
        bars = [Bar(arm, arm, fall.describe(), _crossing(fall)) for arm, fall in mine]
        ticks = [(low + (high - low) * share / 4, f"{low + (high - low) * share / 4:.3g}") for share in range(5)]
        svg = intervals(bars, low, high, f"{_with_unit(study.load)}, tested from {low:g} to {high:g}", ticks)
        panels.append(Panel(dict(rest).get("task", study.tasks[0]), show(rest), svg))
    for arm in study.arms if study.falls else ():
        for rest in dict.fromkeys(where for where, _, _ in study.falls):
            panels += _falling(study, rest, arm)
    threshold = percent(study.falls[0][2].threshold) if study.falls else ""
    return Figure(
        "break-even",
        f"Break-even {study.load}",
        f"The {study.load} at which success falls below {threshold} %, supposing only that it does not rise. The "
        "interval lies between tested loads; an arrow goes on beyond what was tested. Below: what was measured.",
        _count([cell for cell in study.cells if cell.n]),
        tuple(panels),
    )


def _falling(study: Study, rest: Where, arm: str) -> list[Panel]:
    assert study.load
    cells = [c for c in study.of_arm(arm) if c.success and tuple(i for i in c.where if i[0] != study.load) == rest]
    cells.sort(key=lambda cell: float(dict(cell.where)[str(study.load)]))
    spots = [Point(arm, float(dict(c.where)[study.load]), c.success, c.n) for c in cells if c.success]
    if len(spots) < 2:
        return []
    return [Panel(cells[0].task, f"{arm}, {show(rest)}", curve(spots, _with_unit(study.load)))]


def _with_unit(load: str | None) -> str:
    return "speed [m/s]" if load == "speed" else str(load)


def _crossing(fall: BreakEven) -> Interval | None:
    """As it is drawn: infinite where it goes on, without an estimate where there is none."""
    if fall.low is None and fall.high is None:
        return None
    return Interval(
        math.nan if fall.estimate is None else fall.estimate,
        -math.inf if fall.low is None else fall.low,
        math.inf if fall.high is None else fall.high,
    )
