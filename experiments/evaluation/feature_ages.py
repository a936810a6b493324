"""How old the features were: a histogram over control ticks, and success against age over episodes."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from vlatency.experiments.analysis.paired import wilson
from vlatency.experiments.evaluation.run_folder import Row

EDGES_MS = (0, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200)
"""Left edges of the bins [ms]; the last bin has no right edge."""
HISTOGRAM = "feature_age_histogram"
"""Key of a row: control ticks a bin; ticks before there were any features are in none."""


def histogram(ages_ms: Iterable[float]) -> list[int]:
    """How many of the ages, none negative, fall into each bin."""
    counts = [0] * len(EDGES_MS)
    for age in ages_ms:
        counts[bisect_right(EDGES_MS, age) - 1] += 1
    return counts


def total(rows: Sequence[Row]) -> list[int]:
    """The histogram of all ticks of some episodes; rows without one (older runs) count as empty."""
    return [sum(counts) for counts in zip(*(row.get(HISTOGRAM, [0] * len(EDGES_MS)) for row in rows), strict=True)]


def success_against_age(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One cell a bin that holds any episode, of whatever mode, by the median age of its features."""
    bins: dict[int, list[bool]] = {}
    for row in rows:
        if row["feature_age_ms_p50"] is not None:
            place = bisect_right(EDGES_MS, row["feature_age_ms_p50"]) - 1
            bins.setdefault(place, []).append(row["success"])
    cells = []
    for place, outcomes in sorted(bins.items()):
        interval = wilson(sum(outcomes), len(outcomes))
        cells.append(
            {
                "age_ms": label(place),
                "k": sum(outcomes),
                "n": len(outcomes),
                "success": interval.estimate,
                "ci_low": interval.low,
                "ci_high": interval.high,
            }
        )
    return cells


def label(place: int) -> str:
    """A bin in words, such as 100-150."""
    left, right = [*zip_longest(EDGES_MS, EDGES_MS[1:])][place]
    return f"{left} and more" if right is None else f"{left}-{right}"


def markdown(rows: Sequence[Row], modes: Sequence[str]) -> list[str]:
    """Both as tables: one column a mode for the share of ticks, two for success."""
    histograms = {mode: total(mine) for mode in modes if (mine := [row for row in rows if row["mode"] == mode])}
    used = [place for place in range(len(EDGES_MS)) if any(counts[place] for counts in histograms.values())]
    lines = []
    if used:
        lines += [f"| feature age ms | {' | '.join(f'{mode}: ticks' for mode in histograms)} |"]
        lines += [f"| --- |{' ---: |' * len(histograms)}"]
        for place in used:
            shares = [f"{100 * counts[place] / max(1, sum(counts)):.0f} %" for counts in histograms.values()]
            lines.append(f"| {label(place)} | {' | '.join(shares)} |")
    cells = success_against_age(rows)
    if cells:
        lines += [
            "",
            "| median feature age of an episode ms | k/n | success | 95 % CI |",
            "| --- | ---: | ---: | ---: |",
        ]
        for cell in cells:
            interval = f"[{100 * cell['ci_low']:.0f}, {100 * cell['ci_high']:.0f}]"
            share = f"{100 * cell['success']:.0f} %"
            lines.append(f"| {cell['age_ms']} | {cell['k']}/{cell['n']} | {share} | {interval} |")
    return [*lines, ""] if lines else []
