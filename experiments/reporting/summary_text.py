"""A summary as text: the tables that a run or a sweep prints when it ends, and summary.md."""

import json
from collections.abc import Callable
from pathlib import Path

from vlatency.experiments.evaluation import feature_ages
from vlatency.experiments.evaluation.run_folder import SUMMARY_JSON, SUMMARY_MD
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.wording import (
    DASH,
    FIT,
    assumptions,
    comparison,
    divided,
    encode_details,
    limits,
    loop,
    surroundings,
    vl_ms,
)
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.shared.provenance import NOT_DRAWN
from vlatency.experiments.shared.table import markdown_table, milliseconds, percent, text_table
from vlatency.experiments.sweeps.plan import Place, show

Column = tuple[str, Callable[[Result], str]]


def _rate(result: Result) -> str:
    return f"{percent(result.success.estimate)}%" if result.success else "not measured"


def _ages(p50_ms: float | None, p95_ms: float | None) -> str:
    return f"{milliseconds(p50_ms)}/{milliseconds(p95_ms)}"


def _missed(result: Result) -> str:
    return f"{100 * result.missed / result.ticks:.1f}%" if result.missed else "0"


def _seconds(result: Result) -> str:
    return "-" if result.time_to_success_s is None else f"{result.time_to_success_s:.1f} s"


def _keeps_up(result: Result) -> str:
    if result.setting.timing.stages == 1 and result.keeps_up:
        return "-"
    return {None: "world waits", True: "yes", False: "no"}[result.keeps_up]


SUCCESS: tuple[Column, ...] = (
    ("k/n", lambda result: f"{result.k}/{result.n}" if result.n else "-"),
    ("success\nrate", _rate),
    ("95 % CI", lambda result: limits(result.success) if result.success else ""),
    ("VL\nms", vl_ms),
)
MODE_COLUMNS: tuple[Column, ...] = (
    ("mode", lambda result: result.arm),
    *SUCCESS,
    ("age [ms]\nat ticks", lambda result: _ages(result.feature_age_ms_p50, result.feature_age_ms_p95)),
    ("p50/p95\nwhen used", lambda result: _ages(result.used_feature_age_ms_p50, result.used_feature_age_ms_p95)),
    ("ticks\nmissed", _missed),
    ("time to\nsuccess", _seconds),
)
"""Of the table of a run, whose arms are modes."""
ARM_COLUMNS: tuple[Column, ...] = (
    ("arm", lambda result: result.arm),
    *SUCCESS,
    ("loop\nms", lambda result: loop(result, milliseconds(result.loop_ms)) if result.loop_ms is not None else "-"),
    ("loop\nHz", lambda result: loop(result, f"{result.rate_hz:.1f}") if result.rate_hz else "-"),
    ("keeps\nup", _keeps_up),
)
"""Of the table of a sweep."""
LETTERS: Column = ("letters", lambda result: result.letters or "")
"""Where there are any."""


def _table(summary: Summary, place: Place) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of a place."""
    here = summary.at(place)
    columns = MODE_COLUMNS if summary.by_mode else ARM_COLUMNS
    columns += (LETTERS,) * summary.lettered
    dashes = [[arm, *[DASH] * (len(columns) - 1)] for arm, _ in summary.plan.left_out]
    heads = [head.replace("VL", "inference") if one_stage(summary) else head for head, _ in columns]
    return heads, [*([value(result) for _, value in columns] for result in here), *dashes]


def one_stage(summary: Summary) -> bool:
    """Whether no policy has an encoder of its own: what is charged is a whole inference."""
    return all(result.setting.timing.stages == 1 for result in summary.results)


def text(summary: Summary) -> list[str]:
    """One table per place, then what they permit to say."""
    lines: list[str] = []
    for place in summary.plan.places:
        lines += ["", show(place)] if len(summary.plan.places) > 1 else [""]
        lines += [f"  {line}" for line in (*text_table(*_table(summary, place)), *comparisons(summary, place))]
    return [*lines[1:], *_findings(summary), "", *notes(summary)]


def comparisons(summary: Summary, place: Place, where: str = "same seeds") -> list[str]:
    """One line for each arm that is compared with the reference."""
    return [
        f"{each.arm} against {summary.reference}, {where}: {comparison(each.against)}"
        for each in summary.at(place)
        if each.against
    ]


def _findings(summary: Summary) -> list[str]:
    """Late or wrong, break-evens, and what was lifted where the policy was told another object."""
    lines: list[str] = []
    if any(each.split for each in summary.results):
        once = ", as if looked at once" * (summary.plan.looks > 1)
        lines += ["", f"late or wrong, against {summary.reference} on the same seeds{once}"]
        lines += [f"  {each.arm}, {show(each.place)}: {divided(each.split)}" for each in summary.results if each.split]
    if summary.plan.break_even:
        option, threshold = summary.plan.break_even
        lines += ["", f"break-even: the {option} above which success is below {percent(threshold)} % [95 % interval]"]
        lines += [f"  {', '.join([arm, *[show(rest)] * bool(rest)])}: {fall.describe()}"
                  for (rest, arm), fall in summary.falls.items()]  # fmt: skip
    if lost := gone(summary):
        lines += ["", *lost]
    swapped = [each for each in summary.results if each.setting.swap_instruction and each.n]
    return lines + [""] * bool(swapped) + [_lifted(each) for each in swapped]


def _lifted(result: Result) -> str:
    right, former = (
        sum(bool(row[key]) for row in result.rows) for key in ("instructed_lifted", "former_target_lifted")
    )
    return (
        f"{result.arm}, told another object: lifted the instructed one {right}/{result.n}, "
        f"the former target {former}/{result.n}"
    )


def gone(summary: Summary) -> list[str]:
    """One line for each place in which targets left the workspace, and what the word means; empty without any."""
    lines = []
    for place in summary.plan.places:
        said = [
            f"{each.arm} {each.gone} of {each.n - each.k} ({each.gone_early} early)"
            for each in summary.at(place)
            if each.gone
        ]
        if said:
            lines.append(f"failures with the target gone, {show(place)}: {', '.join(said)}")
    if lines:
        lines.append(
            "gone: out of the workspace when the episode ended; early: before a second look; at all other failures the "
            "target was in reach, so that what was done was stale or wrong"
        )
    return lines


def notes(summary: Summary) -> list[str]:
    """How the figures were tested, what they assume, and whose success it is."""
    results, looks = summary.results, summary.plan.looks
    count = sum(result.against is not None for result in results)
    holm = f", adjusted by Holm over {count} comparisons" * (count > 1)
    several = f" and {looks} looks" * (looks > 1)
    lines = [f"p-values are exact McNemar on shared seeds{holm}{several}"] * bool(count)
    lines.append("intervals are at 95 %, each by itself: Wilson's of rates, Newcombe's of differences")
    if summary.by_mode:
        lines.append(
            "feature age, p50/p95: at ticks, that of the newest finished features at each control tick, used or not; "
            "when used, that of the features with which the head ran"
        )
    if summary.lettered:
        lines.append("arms that share a letter do not differ significantly (Holm over the pairs of the place)")
    if summary.stand_in:
        lines.append("success is that of the small stand-in; Qwen2.5-VL-3B itself was not run")
    lines += [
        f"{each.arm}, {show(each.place)}, does not keep up, whatever its latencies promise: the clock recorded "
        f"{each.late} of {each.ticks} control ticks as late"
        for each in results
        if each.overruled
    ]
    lines += [
        f"{', '.join([arm, *[show(rest)] * bool(rest)])}: {fall.warning()}"
        for (rest, arm), fall in summary.falls.items()
        if fall.rise
    ]
    lines += [
        f"{FIT}: not measured in that configuration, but scaled by arithmetic or a factor, or modelled; beside a "
        "measured figure, what the fit misses by looks like a gain or a loss"
    ] * any(result.fitted for result in results)
    lines += [f"{DASH} {arm}: {reason}" for arm, reason in summary.plan.left_out]
    lines += ["not all cells are measured yet"] * any(not result.n for result in results)
    return [*lines, assumptions(results)]


def markdown(summary: Summary) -> str:
    """What summary.md holds."""
    plan = summary.plan
    lines = [f"# {plan.name}", "", plan.about, ""]
    for place in plan.places:
        lines += [f"## {show(place)}", ""] if len(plan.places) > 1 else []
        lines += [*markdown_table(*_table(summary, place)), ""]
        lines += [f"- {line}" for line in comparisons(summary, place)]
    said = [line.strip() for line in _findings(summary) if line]
    lines += ["", *(f"- {line}" for line in (*said, *notes(summary), *_details(summary)))]
    lines += ["", *feature_ages.markdown({result.arm: result.rows for result in summary.results})]
    return "\n".join([*lines, f"    {summary.command}", ""])


def _details(summary: Summary) -> list[str]:
    results, first = summary.results, summary.results[0].setting
    around = (line for each in results for line in (*encode_details(each.setting, None), *surroundings(each.setting)))
    latencies = dict.fromkeys(f"latency {result.origin.latency}" for result in results if result.origin)
    return [
        f"seeds from {first.seed}; {first.timing.control_hz:g} Hz control",
        *dict.fromkeys(around),
        *latencies,
        *["control: the policy saw black images"] * first.blackout,
        drawn_by(summary),
    ]


def drawn_by(summary: Summary) -> str:
    """Renderer and versions."""
    versions = ", ".join(f"{name} {version}" for name, version in summary.software["versions"].items())
    renderer = summary.software["gl_renderer"]
    return f"{renderer if renderer == NOT_DRAWN else f'drawn by {renderer}'}; {versions}"


def write_summary(summary: Summary, folder: Path) -> None:
    """Write summary.json and summary.md into a folder."""
    write_text(folder / SUMMARY_JSON, json.dumps(summary.as_json(), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / SUMMARY_MD, markdown(summary))
