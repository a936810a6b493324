"""A summary as text: the tables that a run or a sweep prints when it ends, and summary.md."""

import json
from collections.abc import Callable
from pathlib import Path

from vlatency.experiments.evaluation import feature_ages
from vlatency.experiments.evaluation.run_folder import SUMMARY_JSON, SUMMARY_MD
from vlatency.experiments.reporting.result import Policy, Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.wording import (
    assumptions,
    comparison,
    divided,
    encode_details,
    limits,
    policy_line,
    surroundings,
)
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.shared.table import markdown_table, milliseconds, percent, text_table
from vlatency.experiments.sweeps.plan import Place, show

Column = tuple[str, Callable[[Result], str]]


def _rate(result: Result) -> str:
    return f"{percent(result.success.estimate)}%" if result.success else "not measured"


def _missed(result: Result) -> str:
    return f"{100 * result.missed / result.ticks:.1f}%" if result.missed else "0"


def _seconds(result: Result) -> str:
    return "-" if result.time_to_success_s is None else f"{result.time_to_success_s:.1f} s"


def _keeps_up(result: Result) -> str:
    return {None: "world waits", True: "yes", False: "no"}[result.keeps_up]


SUCCESS: tuple[Column, ...] = (
    ("k/n", lambda result: f"{result.k}/{result.n}" if result.n else "-"),
    ("success\nrate", _rate),
    ("95 % CI", lambda result: limits(result.success) if result.success else ""),
    ("VL\nms", lambda result: milliseconds(result.vl_ms)),
)
MODE_COLUMNS: tuple[Column, ...] = (
    ("mode", lambda result: result.arm),
    *SUCCESS,
    ("feature age\np50", lambda result: milliseconds(result.feature_age_ms_p50)),
    ("[ms]\np95", lambda result: milliseconds(result.feature_age_ms_p95)),
    ("ticks\nmissed", _missed),
    ("time to\nsuccess", _seconds),
)
"""Of the table of a run, whose arms are modes."""
ARM_COLUMNS: tuple[Column, ...] = (
    ("arm", lambda result: result.arm),
    *SUCCESS,
    ("loop\nms", lambda result: milliseconds(result.loop_ms) if result.loop_ms is not None else "-"),
    ("loop\nHz", lambda result: f"{result.rate_hz:.1f}" if result.rate_hz else "-"),
    ("keeps\nup", _keeps_up),
)
"""Of the table of a sweep."""
LETTERS: Column = ("letters", lambda result: result.letters or "")
"""Of the table of a sweep, where there are any."""


def _table(summary: Summary, place: Place) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of a place."""
    here = summary.at(place)
    columns = MODE_COLUMNS if summary.by_mode else ARM_COLUMNS
    columns += (LETTERS,) * (not summary.by_mode and any(each.letters for each in here))
    return [head for head, _ in columns], [[value(result) for _, value in columns] for result in here]


def text(summary: Summary) -> list[str]:
    """A table a place, then what it permits to say."""
    lines: list[str] = []
    for place in summary.plan.places:
        lines += ["", show(place)] if len(summary.plan.places) > 1 else [""]
        lines += [f"  {line}" for line in (*text_table(*_table(summary, place)), *_comparisons(summary, place))]
    return lines[1:] + _notes(summary)


def _comparisons(summary: Summary, place: Place) -> list[str]:
    return [
        f"{each.arm} against {summary.reference}, same seeds: {comparison(each.against)}"
        for each in summary.at(place)
        if each.against
    ]


def _notes(summary: Summary) -> list[str]:
    """The sentences under the tables."""
    results, looks = summary.results, summary.plan.looks
    lines = [*_splits(summary), *_break_evens(summary)]
    count = sum(result.against is not None for result in results)
    if count:
        several = f", adjusted by Holm over {count} comparisons" * (count > 1)
        lines += ["", f"p-values are exact McNemar on shared seeds{several};"]
        lines.append("intervals of differences are Newcombe's, each at 95 % by itself")
    if not summary.by_mode and any(result.letters for result in results):
        lines.append("arms that share a letter do not differ significantly (Holm over the pairs of the place)")
    if looks > 1:
        lines.append(f"up to {looks} looks at each comparison; p-values allow for them, intervals do not")
    lines += [swap_line(each) for each in results if each.setting.swap_instruction and each.n]
    if not all(result.n for result in results):
        lines.append("not all cells are measured yet")
    return [*lines, assumptions(results)]


def _splits(summary: Summary) -> list[str]:
    parted = [f"  {each.arm}, {show(each.place)}: {divided(each.split)}" for each in summary.results if each.split]
    once = ", as if looked at once" * (summary.plan.looks > 1)
    head = f"late or wrong, against {summary.reference} on the same seeds{once}"
    return ["", head, *parted] if parted else []


def _break_evens(summary: Summary) -> list[str]:
    if summary.plan.break_even is None:
        return []
    option, threshold = summary.plan.break_even
    head = f"break-even: the {option} above which success is below {percent(threshold)} % [95 % interval]"
    falls = [
        f"  {arm}{f', {show(rest)}' if rest else ''}: {fall.describe()}" for (rest, arm), fall in summary.falls.items()
    ]
    return ["", head, *falls]


def markdown(summary: Summary) -> str:
    """What summary.md holds."""
    plan = summary.plan
    lines = [f"# {plan.name}", "", plan.about, ""]
    for place in plan.places:
        lines += [f"## {show(place)}", ""] if len(plan.places) > 1 else []
        lines += [*markdown_table(*_table(summary, place)), ""]
        lines += [f"- {line}" for line in _comparisons(summary, place)]
    notes = [line.strip() for line in _notes(summary) if line]
    lines += ["", *(f"- {line}" for line in (*notes, *_provenance(summary)))]
    lines += ["", *feature_ages.markdown({result.arm: result.rows for result in summary.results})]
    return "\n".join([*lines, f"    {summary.command}", ""])


def _provenance(summary: Summary) -> list[str]:
    results, first = summary.results, summary.results[0].setting
    origins = [result.origin for result in results if result.origin]
    policies = dict.fromkeys(origin.policy for origin in origins)
    latencies = dict.fromkeys(origin.latency for origin in origins)
    around = dict.fromkeys(
        line for each in results for line in (*encode_details(each.setting, None), *surroundings(each.setting))
    )
    return [
        f"seeds from {first.seed}; {first.timing.control_hz:g} Hz control",
        *around,
        *(f"policy {policy_line(policy)}. {whose_success(policy)}" for policy in policies),
        *(f"latency {latency}" for latency in latencies),
        *(["control: the policy saw black images"] if first.blackout else []),
        drawn_by(summary),
    ]


def drawn_by(summary: Summary) -> str:
    """Renderer and versions."""
    versions = ", ".join(f"{name} {version}" for name, version in summary.software["versions"].items())
    return f"drawn by {summary.software['gl_renderer']}; {versions}"


def write_summary(summary: Summary, folder: Path) -> None:
    """Write summary.json and summary.md into a folder."""
    write_text(folder / SUMMARY_JSON, json.dumps(summary.as_json(), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / SUMMARY_MD, markdown(summary))


def whose_success(policy: Policy) -> str:
    """In a sentence."""
    if policy.stand_in:
        return "Success is the tiny stand-in's; Qwen2.5-VL-3B itself was not run"
    return "Success is this policy's own"


def swap_line(result: Result) -> str:
    """What was lifted where the policy was told another object than the task's."""

    def lifted(key: str) -> str:
        return f"{sum(bool(row[key]) for row in result.rows)}/{result.n}"

    return (
        f"{result.arm}, told another object: lifted the instructed one {lifted('instructed_lifted')}, "
        f"the former target {lifted('former_target_lifted')}"
    )
