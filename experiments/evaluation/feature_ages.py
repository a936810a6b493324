"""How old the features were, at the control ticks and when the head used them, and success against age at use."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from vlatency.experiments.analysis.paired import wilson
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.shared.table import markdown_table, percent

EDGES_MS = (0, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200)
"""Left edges of the bins [ms]; the last bin has no right edge."""
BINS = (*(f"{left}-{right}" for left, right in pairwise(EDGES_MS)), f"{EDGES_MS[-1]} and more")
"""Names of the bins, such as 100-150."""
HISTOGRAM = "feature_age_histogram"
"""Key of a row: control ticks in each bin, by the age of the newest finished features, used there or not. Ticks before
there were any features are in none."""
USED_HISTOGRAM = "used_feature_age_histogram"
"""Key of a row: runs of the head in each bin, by the age of the features when it used them."""


def histogram(ages_ms: Iterable[float]) -> list[int]:
    """How many of the ages, none negative, fall into each bin."""
    counts = [0] * len(EDGES_MS)
    for age in ages_ms:
        counts[bisect_right(EDGES_MS, age) - 1] += 1
    return counts


def total(rows: Sequence[Row], key: str = HISTOGRAM) -> list[int]:
    """The sum of one of the histograms over some episodes; rows without one (older runs) count as empty."""
    counts = [row.get(key, [0] * len(EDGES_MS)) for row in rows]
    return [sum(each[place] for each in counts) for place in range(len(EDGES_MS))]


def success_against_age(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Success in each bin that holds any episode, of any mode, by the median age of its features when used."""
    bins: dict[int, list[bool]] = {}
    for row in rows:
        if row.get("used_feature_age_ms_p50") is not None:
            bins.setdefault(bisect_right(EDGES_MS, row["used_feature_age_ms_p50"]) - 1, []).append(row["success"])
    cells = []
    for place, outcomes in sorted(bins.items()):
        k, n = sum(outcomes), len(outcomes)
        rate = wilson(k, n)
        interval = {"success": rate.estimate, "ci_low": rate.low, "ci_high": rate.high}
        cells.append({"age_ms": BINS[place], "k": k, "n": n, **interval})
    return cells


def markdown(episodes: Mapping[str, Sequence[Row]]) -> list[str]:
    """Both as Markdown tables: the shares of ticks and of head runs in each bin for each arm, and success against age.

    Args:
        episodes: rows by arm.
    """
    lines: list[str] = []
    ran = {arm: rows for arm, rows in episodes.items() if rows}
    counts = {f"{arm}: at ticks": total(rows) for arm, rows in ran.items()}
    counts |= {f"{arm}: when used": total(rows, USED_HISTOGRAM) for arm, rows in ran.items()}
    bins = [place for place in range(len(BINS)) if any(each[place] for each in counts.values())]
    if bins:
        shares = [[f"{100 * each[place] / max(1, sum(each)):.0f} %" for each in counts.values()] for place in bins]
        rows = [[BINS[place], *row] for place, row in zip(bins, shares, strict=True)]
        lines += markdown_table(["feature age ms", *counts], rows)
    cells = success_against_age([row for rows in episodes.values() for row in rows])
    if cells:
        heads = ["median feature age when used, of an episode, ms", "k/n", "success", "95 % CI"]
        rows = [
            [
                cell["age_ms"],
                f"{cell['k']}/{cell['n']}",
                f"{percent(cell['success'])} %",
                f"[{percent(cell['ci_low'])}, {percent(cell['ci_high'])}]",
            ]
            for cell in cells
        ]
        lines += ["", *markdown_table(heads, rows)]
    return [*lines, ""] if lines else []
