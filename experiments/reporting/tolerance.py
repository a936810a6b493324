"""How much latency each task bears: success falls along the latency, task by task, for each way of carrying on."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlatency.experiments.analysis.break_even import BreakEven, break_even
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.svg import element
from vlatency.experiments.reporting.wording import surroundings
from vlatency.experiments.shared.table import percent
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Series:
    """One task under one way of carrying on, at every latency that was measured.

    Attributes:
        task: its name.
        way: mode, hold and the rest of what the series have apart.
        results: by latency [ms], the least first; 0 is the world that waits.
    """

    task: str
    way: str
    results: dict[float, Result]

    def bears(self, threshold: float) -> BreakEven:
        """The latency from which on success is below the threshold [ms]."""
        pairs = [(ms, success) for ms, result in self.results.items() for success in result.outcomes.values()]
        return break_even([ms for ms, _ in pairs], [success for _, success in pairs], threshold)

    @property
    def mean(self) -> float:
        """Of the success rates at all latencies: it orders what bears the same."""
        return sum(result.k / result.n for result in self.results.values()) / len(self.results)


def series(summary: Summary) -> list[Series]:
    """All series of a sweep over latencies, in the order of its arms. UsageError if it is no such sweep."""
    found: dict[tuple[str, str], dict[float, Result]] = {}
    for place in summary.plan.places:
        here = [result for result in summary.at(place) if result.n]
        still = [(0.0, result) for result in here if result.mode == "pause"]
        for result in here:
            if result.mode != "pause":
                way = ", ".join([result.mode, *surroundings(result.setting)])
                latency = result.setting.timing.latency
                found.setdefault((result.task, way), dict(still))[latency.vl_ms + latency.head_ms] = result
    several = [Series(task, way, dict(sorted(each.items()))) for (task, way), each in found.items() if len(each) > 1]
    if not several:
        raise UsageError(f"{summary.plan.name} has no task at several latencies; give a sweep such as metaworld")
    return several


def ordered(found: Sequence[Series], threshold: float) -> list[str]:
    """The tasks, those that bear most first, by their first series."""
    first: dict[str, Series] = {}
    for each in found:
        first.setdefault(each.task, each)

    def bears(task: str) -> tuple[float, float]:
        fall = first[task].bears(threshold)
        whole = fall.fastest if fall.above else 0.0
        return (whole if fall.estimate is None else fall.estimate), first[task].mean

    return sorted(first, key=bears, reverse=True)


def table(found: Sequence[Series], threshold: float) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: one line a task, for each way what it bears and its success at every latency [%]."""
    ways = list(dict.fromkeys(each.way for each in found))
    by = {(each.task, each.way): each for each in found}
    heads, rows = ["task", "0 ms: k/n"], []
    latencies = {way: sorted({ms for each in found if each.way == way for ms in each.results if ms}) for way in ways}
    for way in ways:
        heads += [f"{way}: bears [ms]", *(f"{ms:g} ms" for ms in latencies[way])]
    for task in ordered(found, threshold):
        still = next(each for each in found if each.task == task).results.get(0.0)
        row = [task, f"{still.k}/{still.n}" if still else "-"]
        for way in ways:
            each = by.get((task, way))
            row.append(each.bears(threshold).describe() if each else "-")
            row += [_rate(each.results.get(ms) if each else None) for ms in latencies[way]]
        rows.append(row)
    return heads, rows


def _rate(result: Result | None) -> str:
    return percent(result.k / result.n) if result else "-"


ROW, CELL, LEFT, HEAD = 15, 40, 200, 58
_PAPER, _INK, _FAINT = "#ffffff", "#1d2430", "#5b6472"


def chart(found: Sequence[Series], threshold: float, captions: Sequence[str]) -> str:
    """An SVG document: a line a task, a block a way, a cell a latency; the darker, the more often it succeeds."""
    ways = list(dict.fromkeys(each.way for each in found))
    by = {(each.task, each.way): each for each in found}
    latencies = sorted({ms for each in found for ms in each.results})
    block = CELL * len(latencies) + 26
    tasks = ordered(found, threshold)
    width, height = LEFT + block * len(ways), HEAD + ROW * len(tasks) + 16 + 16 * len(captions)
    drawn = [element("rect", width=width, height=height, fill=_PAPER)]
    for number, way in enumerate(ways):
        x = LEFT + number * block
        drawn.append(element("text", way, x=x, y=22, font_weight="600", fill=_INK))
        for column, ms in enumerate(latencies):
            drawn.append(_words(f"{ms:g}", x + CELL * (column + 0.5), 44, _FAINT))
        drawn += [
            part
            for line, task in enumerate(tasks)
            for part in _cells(by.get((task, way)), latencies, x, HEAD + ROW * line)
        ]
    for line, task in enumerate(tasks):
        name = task.partition(":")[2] or task
        drawn.append(element("text", name, x=LEFT - 10, y=HEAD + ROW * line + 11, text_anchor="end", fill=_INK))
    for line, caption in enumerate(reversed(captions)):
        drawn.append(element("text", caption, x=10, y=height - 12 - 16 * line, fill=_FAINT))
    drawn.append(element("text", "inference [ms]", x=LEFT - 10, y=44, text_anchor="end", fill=_FAINT))
    space = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "role": "img"}
    size = {"width": width, "height": height, "font_size": "11", "font_family": "system-ui, sans-serif"}
    return str(element("svg", element("title", captions[0]), *drawn, **space, **size))


def _cells(each: Series | None, latencies: Sequence[float], x: float, y: float) -> list[Markup]:
    parts = []
    for column, ms in enumerate(latencies):
        result = each.results.get(ms) if each else None
        if result is None:
            continue
        share, left = result.k / result.n, x + CELL * column
        # From near white to dark blue, so that it reads in grey as well.
        colour = "#" + "".join(f"{round(light + (dark - light) * share):02x}" for light, dark in _SCALE)
        says = f"{result.task}, {ms:g} ms: {result.k}/{result.n}"
        cell = element("rect", element("title", says), x=left, y=y, width=CELL - 1, height=ROW - 1, fill=colour)
        parts += [cell, _words(percent(share), left + CELL / 2, y + 11, _PAPER if share > 0.45 else _INK)]
    return parts


_SCALE = ((240, 12), (243, 60), (248, 120))
"""Light and dark value of red, green and blue."""


def _words(words: str, x: float, y: float, colour: str) -> Markup:
    return element("text", words, x=x, y=y, text_anchor="middle", fill=colour, font_size="10")
