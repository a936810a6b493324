"""The table of a report, one line per arm and one column per place: on the page, and as Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlatency.experiments.analysis.break_even import BreakEven
from vlatency.experiments.analysis.paired import Interval
from vlatency.experiments.reporting.headline import Answer
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.summary_text import comparisons, drawn_by, gone, notes, one_stage
from vlatency.experiments.reporting.wording import DASH, NOT_MEASURED, features, loop, policy_line, rate, vl_ms
from vlatency.experiments.shared.table import markdown_table, milliseconds
from vlatency.experiments.sweeps.plan import Place, show


@dataclass(frozen=True)
class Line:
    """An arm: what it is, its pace, its break-evens, and its result in each place."""

    number: int
    arm: str
    features: str
    pace: tuple[str, ...]
    keeps_up: str
    falls: tuple[str, ...]
    results: tuple[Result | None, ...]
    """None: the arm was left out."""


def heads(summary: Summary) -> list[str]:
    """Names of the columns."""
    keeps = f"keeps {summary.control_hz:g} Hz"
    falls = [f"break-even {summary.load}" + f", {show(rest)}" * (len(_rests(summary)) > 1) for rest in _rests(summary)]
    return [
        "configuration",
        "inference ms" if one_stage(summary) else "VL ms",
        "loop ms",
        "loop Hz",
        keeps,
        *falls,
        *map(show, summary.plan.places),
    ]


def lines(summary: Summary) -> list[Line]:
    """One per arm, then those that were left out. Figures that differ between places are given as a range."""
    plan = summary.plan
    found = [_line(summary, number, arm) for number, arm in enumerate(plan.arms, 1)]
    pace, falls, none = (DASH,) * 3, (DASH,) * len(_rests(summary)), (None,) * len(plan.places)
    for number, (arm, reason) in enumerate(plan.left_out, len(found) + 1):
        found.append(Line(number, arm, reason, pace, DASH, falls, none))
    return found


def _line(summary: Summary, number: int, arm: str) -> Line:
    results = summary.of_arm(arm)
    loops = [loop(result, milliseconds(result.loop_ms)) for result in results if result.loop_ms is not None]
    rates = [loop(result, f"{result.rate_hz:.3g}") for result in results if result.rate_hz]
    keeps = {result.keeps_up for result in results}
    kept = "world waits" if None in keeps else " / ".join(sorted("yes" if each else "no" for each in keeps))
    falls = [summary.falls.get((rest, arm)) for rest in _rests(summary)]
    return Line(
        number=number,
        arm=arm,
        features=features(results[0].setting),
        pace=(_span([vl_ms(result) for result in results]), _span(loops), _span(rates)),
        keeps_up="-" if results[0].setting.timing.stages == 1 and keeps == {True} else kept,
        falls=tuple(fall.describe() if fall else "" for fall in falls),
        results=tuple(results),
    )


def _rests(summary: Summary) -> list[Place]:
    """The places, apart from the load: each has a break-even."""
    return list(dict.fromkeys(rest for rest, _ in summary.falls))


def _span(figures: Sequence[str]) -> str:
    each = sorted(set(figures), key=lambda figure: float(figure.split()[0]))
    return each[0] if len(each) == 1 else f"{each[0]} to {each[-1]}" if each else "-"


def wide(summary: Summary) -> list[list[str]]:
    """The table in text."""
    return [[line.arm, *line.pace, line.keeps_up, *line.falls, *map(_in_text, line.results)] for line in lines(summary)]


def _in_text(result: Result | None) -> str:
    if not result:
        return DASH
    if not result.success:
        return NOT_MEASURED
    return f"{rate(result.success)} {result.k}/{result.n} {result.verdict}".strip()


def caption(summary: Summary) -> list[str]:
    """How to read the table and what it assumes, in sentences."""
    columns = (
        "VL ms is one encode; loop ms is what a control tick waits for: encode and head in sync, the head in async, "
        "on a shared GPU beside an encode"
    )
    if one_stage(summary):
        columns = "inference ms is one answer of the policy; loop ms adds the delays of camera and actuators"
    columns += "; to keep up, the clock must also have recorded at most 1 % of ticks as late"
    said = [f"verdicts are against {summary.reference}", columns, *notes(summary), *gone(summary), drawn_by(summary)]
    return [f"{line[0].upper()}{line[1:]}." for line in said]


def markdown(studies: Iterable[tuple[Summary, Answer]]) -> str:
    """All tables, each after its answer."""
    text: list[str] = []
    for summary, answer in studies:
        text += [f"# {_escaped(summary.plan.name)}", ""]
        text += [f"**{_escaped(answer.short)}.** {_escaped(answer.sentence)}", ""]
        said = [line for place in summary.plan.places for line in comparisons(summary, place, show(place))]
        text += markdown_table([*map(_escaped, heads(summary))], [[*map(_escaped, row)] for row in wide(summary)])
        text += ["", *(f"- {_escaped(line)}" for line in (*said, *caption(summary)))]
        text += ["", f"    {summary.command}", ""]
    return "\n".join(text)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def as_csv(summaries: Iterable[Summary]) -> str:
    """One row per result, all studies in one table. What was not measured stays empty."""
    records: list[dict[str, object]] = []
    for summary in summaries:
        records += [_record(summary, result) for result in summary.results]
        for arm, reason in summary.plan.left_out:
            said = {"study": summary.plan.name, "arm": arm, "latency": reason, "command": summary.command}
            records.append({**dict.fromkeys(records[-1]), **said})
    file = io.StringIO()
    writer = csv.DictWriter(file, records[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def _record(summary: Summary, result: Result) -> dict[str, object]:
    setting, o = result.setting, result.setting.optimization
    against, origin = result.against, result.origin
    falls = [
        fall for (rest, arm), fall in summary.falls.items() if arm == result.arm and set(rest) <= set(result.place)
    ]
    return {
        "study": summary.plan.name, "place": show(result.place), "task": result.task, "arm": result.arm,
        "mode": result.mode, "cameras": " ".join(setting.cameras),
        "width": o.width, "height": o.height, "encoding": o.encoding,
        "reuse": setting.timing.reuse, "execution": setting.timing.execution,
        "hold": setting.timing.actions.hold, "servers": setting.timing.servers, "k": result.k,
        "n": result.n, **_ends(("success", "ci_low", "ci_high"), result.success), "vl_ms": result.vl_ms,
        "vl_basis": "none" if result.mode == "pause" else setting.timing.latency.basis,
        "feature_age_at_ticks_ms_p50": result.feature_age_ms_p50,
        "feature_age_at_ticks_ms_p95": result.feature_age_ms_p95,
        "feature_age_when_used_ms_p50": result.used_feature_age_ms_p50,
        "feature_age_when_used_ms_p95": result.used_feature_age_ms_p95,
        "ticks": result.ticks, "ticks_missed": result.missed,
        "gone": result.gone, "gone_early": result.gone_early, "loop_ms": result.loop_ms,
        "fps": result.rate_hz, "control_hz": setting.timing.control_hz,
        "keeps_up": result.keeps_up, "verdict": result.verdict, "letters": result.letters,
        "p_holm": against and against.p_value,
        **_ends(("difference", "difference_low", "difference_high"), against.difference if against else None),
        **_ends(("break_even", "break_even_low", "break_even_high"), falls[0] if falls else None),
        "break_even_rises": falls[0].rise is not None and falls[0].rise.told if falls else None,
        "latency": origin and origin.latency, "policy": origin and policy_line(origin.policy),
        "kind": origin and origin.policy.kind, "stand_in": origin and origin.policy.stand_in,
        "command": summary.command,
    }  # fmt: skip


def _ends(names: Sequence[str], interval: Interval | BreakEven | None) -> dict[str, float | None]:
    values = (interval.estimate, interval.low, interval.high) if interval else (None, None, None)
    return dict(zip(names, values, strict=True))


def latex(summaries: Iterable[Summary]) -> str:
    """One `tabular` per study, for the package booktabs."""
    text: list[str] = []
    for summary in summaries:
        head = heads(summary)
        text += [f"% {' '.join(line.split())}" for line in (summary.command, *caption(summary))]
        text += [f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", "\\toprule"]
        text += [f"{' & '.join(map(_tex, head))} \\\\", "\\midrule"]
        text += [f"{' & '.join(map(_tex, row))} \\\\" for row in wide(summary)]
        text += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(text)


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | {"<": "$<$", ">": "$>$", "[": "{[}", "]": "{]}"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)
