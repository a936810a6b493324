"""From episode rows to a table: one line a mode, and what the shared seeds say about the difference."""

import statistics
from collections.abc import Sequence
from typing import Any

from vlatency.agent.realtime.episode import MODES
from vlatency.experiments.analysis.late_or_wrong import Split
from vlatency.experiments.analysis.paired import Interval, Paired, holm, paired, wilson
from vlatency.experiments.evaluation.run_folder import Row

Cell = dict[str, Any]
REFERENCE = "pause"
"""The mode that the others are compared with."""

_HEADS = (
    "                    success          VL     feature age     ticks    time to",
    "mode    k/n      rate  95 % CI       ms     p50    p95      missed   success",
)


def summarize(rows: Sequence[Row], vl_ms: float) -> list[Cell]:
    """One cell a mode that has rows.

    Ages are medians over episodes of each episode's p50 and p95, so that a long failure weighs no more than a quick
    success; time to success is the median over the successes.

    Args:
        rows: rows of episodes.jsonl.
        vl_ms: nominal latency of an encode [ms]; pause charges none.
    """
    cells = []
    for mode in MODES:
        mine = [row for row in rows if row["mode"] == mode]
        if not mine:
            continue
        k, n = sum(row["success"] for row in mine), len(mine)
        interval = wilson(k, n)
        cells.append(
            {
                "mode": mode,
                "k": k,
                "n": n,
                "success": interval.estimate,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "vl_ms": 0.0 if mode == REFERENCE else vl_ms,
                "feature_age_ms_p50": _median(mine, "feature_age_ms_p50"),
                "feature_age_ms_p95": _median(mine, "feature_age_ms_p95"),
                "ticks": sum(row["ticks"] for row in mine),
                "missed": sum(row["missed"] for row in mine),
                "overruns": sum(row["overruns"] for row in mine),
                "encodes": sum(row["encodes"] for row in mine),
                "time_to_success_s": _median(mine, "time_to_success_s"),
            }
        )
    return cells


def compare(rows: Sequence[Row]) -> dict[str, Paired]:
    """Each other mode against `REFERENCE`, on the seeds that both have run; with Holm over these comparisons."""
    outcomes = {mode: {row["seed"]: row["success"] for row in rows if row["mode"] == mode} for mode in MODES}
    reference = outcomes[REFERENCE]
    results = {}
    for mode in MODES:
        seeds = sorted(reference.keys() & outcomes[mode].keys())
        if mode != REFERENCE and seeds:
            results[mode] = paired([outcomes[mode][seed] for seed in seeds], [reference[seed] for seed in seeds])
    return holm(results)


def text_table(cells: Sequence[Cell]) -> list[str]:
    """The table as lines of plain text."""
    return [*_HEADS, *(_line(cell) for cell in cells)]


def _line(cell: Cell) -> str:
    kn = f"{cell['k']}/{cell['n']}"
    interval = f"[{percent(cell['ci_low'])}, {percent(cell['ci_high'])}]"
    seconds = cell["time_to_success_s"]
    return (
        f"{cell['mode']:<6}{kn:>6}{percent(cell['success']) + '%':>10}  {interval:<11}{milliseconds(cell['vl_ms']):>6}"
        f"{milliseconds(cell['feature_age_ms_p50']):>8}{milliseconds(cell['feature_age_ms_p95']):>7}{_missed(cell):>11}"
        f"{'-' if seconds is None else f'{seconds:.1f} s':>11}"
    ).rstrip()


def markdown_table(cells: Sequence[Cell]) -> list[str]:
    """The same table in Markdown."""
    lines = [
        "| mode | k/n | success | 95 % CI | VL ms | feature age p50 ms | p95 ms | ticks missed | time to success |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for cell in cells:
        seconds = cell["time_to_success_s"]
        values = (
            cell["mode"],
            f"{cell['k']}/{cell['n']}",
            f"{percent(cell['success'])} %",
            f"[{percent(cell['ci_low'])}, {percent(cell['ci_high'])}]",
            milliseconds(cell["vl_ms"]),
            milliseconds(cell["feature_age_ms_p50"]),
            milliseconds(cell["feature_age_ms_p95"]),
            _missed(cell),
            "-" if seconds is None else f"{seconds:.1f} s",
        )
        lines.append(f"| {' | '.join(values)} |")
    return lines


def verdict(mode: str, result: Paired) -> str:
    """One line that says what the shared seeds permit to say."""
    return against(mode, REFERENCE, result)


def against(first: str, second: str, result: Paired) -> str:
    """The same for two arms of any name."""
    return f"{first} against {second}, same seeds: {outcome(result)}"


def outcome(result: Paired) -> str:
    """Difference, test and verdict: better, worse, or cannot tell."""
    start = f"{difference(result.difference, ' points')}, McNemar p {_p(result.p_value)}: "
    if result.significant:
        return start + ("better" if result.difference.estimate > 0 else "worse")
    if result.difference.estimate == 0:
        return start + f"cannot tell at n = {result.n} (a difference of 10 points would need about {result.needed})"
    return start + f"cannot tell at n = {result.n} (needs about {result.needed})"


def difference(interval: Interval, unit: str = "") -> str:
    """Such as "-10 points [-31, +9]", with or without a unit."""
    return f"{points(interval.estimate)}{unit} [{points(interval.low)}, {points(interval.high)}]"


def divide(split: Split) -> str:
    """The one line that answers "is it bad because it is wrong, or because it is late?"."""
    return (
        f"{difference(split.total.difference, ' points')} = timing {difference(split.late.difference)} + "
        f"features {difference(split.wrong.difference)} + both at once {difference(split.interaction)}: "
        f"timing {_word(split.late)}, features {_word(split.wrong)}"
    )


def _word(result: Paired) -> str:
    if result.significant:
        return "better" if result.difference.estimate > 0 else "worse"
    return f"cannot tell at n = {result.n}"


def swap_line(rows: Sequence[Row]) -> str:
    """What was lifted where the policy was told another object than the task's."""
    told = sum(row["instructed_lifted"] for row in rows)
    former = sum(row["former_target_lifted"] for row in rows)
    return f"told another object: lifted the instructed one {told}/{len(rows)}, the former target {former}/{len(rows)}"


def _median(rows: Sequence[Row], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return statistics.median(values) if values else None


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


def _missed(cell: Cell) -> str:
    return "0" if cell["missed"] == 0 else f"{100 * cell['missed'] / cell['ticks']:.1f}%"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"
