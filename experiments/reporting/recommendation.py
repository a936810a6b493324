"""What to ship: the answer, how far it is from the cliff, what would change it, and where its figures come from."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from vlatency.experiments.analysis.choosing import choose, exact, needed
from vlatency.experiments.analysis.paired import POWER
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.candidates import Candidate, configuration
from vlatency.experiments.reporting.interpolation import cliff, interpolate, speaking
from vlatency.experiments.reporting.question import Question
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.to_measure import measuring
from vlatency.experiments.reporting.wording import policy_lines, rate, servers_line
from vlatency.experiments.shared.table import text_table
from vlatency.experiments.sweeps.plan_file import presets, read_plan
from vlatency.sim.errors import UsageError

Lines = list[tuple[str, str]]
"""Titles and sentences."""


def recommend(candidates: Sequence[Candidate], everywhere: Sequence[Result], question: Question) -> Lines:
    """The answer first, then what it rests on, and what to measure if it cannot be told.

    Args:
        candidates: in the order of `candidates.rank`.
        everywhere: results of the task at any speed.
        question: what is asked for.
    """
    if not candidates:
        return [("answer", _nothing(everywhere, question)), ("next", what_to_measure(question))]
    able = [candidate for candidate in candidates if candidate.keeps_up]
    known = [candidate for candidate in able if candidate.interpolated]
    unknown = [candidate for candidate in able if not candidate.interpolated]
    verdict, place = choose([question.meets(candidate) for candidate in known])
    if place is None:
        return _none(candidates, known, unknown, question)
    best = known[place]
    if verdict == "yes":
        return [("answer", _ship(best, question)), ("margin", _margin(best, question)),
                ("flips", _flips(best, everywhere, question)), *_behind(best)]  # fmt: skip
    return [("answer", _perhaps(best, question)), ("margin", _margin(best, question)), *_behind(best),
            ("next", measuring(best, question))]  # fmt: skip


def _ship(best: Candidate, question: Question) -> str:
    said = f"ship {best.describe()}: the whole interval is at or above {question.wanted}"
    if not best.at_best:
        return said
    # From the fastest on: a fixed sequence, so that the last one that passes needs no further correction.
    later = speaking(best.results, best.timing)[1]
    good = takewhile(lambda cell: exact(cell.k, cell.n, best.options).low >= question.min_success, later)
    last = [cell.setting.timing.latency.charged.vl_p95_ms for cell in good][-1]
    return f"{said}, if its real VL p95 stays below {last:.0f} ms: no device beats its roofline"


def _perhaps(best: Candidate, question: Question) -> str:
    assert best.interpolated
    said = f"cannot tell: {best.describe()} may be above or below {question.wanted}"
    if best.interpolated.how != "at":
        return f"{said}; only other latencies were measured: measure it at this one"
    more = needed(best.interpolated.success.estimate, question.min_success, best.options)
    if not more:
        return f"{said}; its rate is too close to {question.wanted} for any number of episodes"
    return f"{said}; about {more} episodes would decide with a chance of {POWER:.0%}, if that is its rate"


def _none(
    candidates: Sequence[Candidate], known: Sequence[Candidate], unknown: Sequence[Candidate], question: Question
) -> Lines:
    """No candidate that keeps up is good enough, as far as it was measured."""
    if not known and not unknown:
        fastest = max(candidates, key=lambda candidate: candidate.rate_hz)
        pace = f" ({fastest.rate_hz:.2g} Hz)" if math.isfinite(fastest.rate_hz) else ""
        said = f"none: no measured configuration keeps {question.rate_hz:g} Hz; {fastest.name} is the fastest{pace}"
        return [("answer", said)]
    below = f"the best that keeps up is {known[0].describe()}, below {question.wanted}" if known else ""
    behind = _behind(known[0]) if known else []
    if not unknown:
        return [("answer", f"none: {below}"), *behind]
    names = "; ".join(candidate.name for candidate in unknown)
    slower = unknown[0].unlike()
    were = "was" if len(unknown) == 1 else "were"
    found = f"{names} {were} measured at {'shorter' if slower else 'other'} latencies only"
    why = f"{unknown[0].name} is slower here than where it was measured, in {slower}"
    if not slower:
        why = f"it is not known what was charged for {unknown[0].name}: its profile is gone, or has changed"
    return [("answer", f"cannot tell: {f'{below}, but ' * bool(below)}{found}"), ("because", why), *behind,
            ("next", measuring(unknown[0], question))]  # fmt: skip


def _nothing(everywhere: Sequence[Result], question: Question) -> str:
    speeds = sorted({result.setting.speed for result in everywhere if result.setting.speed is not None})
    there = f" (measured speeds: {', '.join(f'{speed:g}' for speed in speeds)})" if speeds else ""
    return f"cannot tell: nothing is measured on {question.place} at {question.rate_hz:g} Hz in {question.cells}{there}"


def _margin(candidate: Candidate, question: Question) -> str:
    """How far the candidate is from where its success falls below what is asked for."""
    fall = cliff(candidate.results, question.min_success)
    if fall is None:
        return "not measured: this configuration has cells at one latency only"
    here = f"this device takes {candidate.charged.vl_p95_ms:.0f} ms{' at best' * candidate.at_best}"
    if fall.low is None and fall.high is None:
        said = f"cannot tell where success falls below {question.wanted}"
    elif fall.low == fall.fastest:
        said = f"success holds at every tested VL p95, up to {fall.fastest:.0f} ms"
    elif fall.high == fall.slowest:
        said = f"success fails at every tested VL p95, from {fall.slowest:.0f} ms on"
    else:
        holds = "cannot tell up to which VL p95 success holds"
        if fall.low is not None:
            holds = f"success holds up to a VL p95 of {fall.low:.0f} ms"
        fails = "cannot tell from where it fails" if fall.high is None else f"it fails from {fall.high:.0f} ms on"
        said = f"{holds}; {fails}"
    return f"{said}; {here}"


def _flips(candidate: Candidate, everywhere: Sequence[Result], question: Question) -> str:
    """What would change the answer, as far as it is measured."""
    assert candidate.interpolated
    found = []
    fall = cliff(candidate.results, question.min_success)
    if fall and fall.low is not None and fall.low < fall.fastest:
        found.append(f"a VL p95 above {fall.low:.0f} ms")
    found.append(f"--min-success above {math.floor(100 * candidate.interpolated.success.low) / 100:.2f}")
    if math.isfinite(candidate.rate_hz) and candidate.timing.stages == 2:
        found.append(f"--control-hz above {candidate.rate_hz:.3g}, which it does not keep")
    speeds: dict[float, list[Result]] = {}
    wanted = replace(configuration(candidate.results[0]), speed=None)
    for result in everywhere:
        speed = result.setting.speed
        if speed not in (None, question.speed) and replace(configuration(result), speed=None) == wanted:
            speeds.setdefault(speed, []).append(result)
    for speed, results in sorted(speeds.items()):
        there = interpolate(results, candidate.timing, candidate.options)
        if there and there.success.high < question.min_success:
            found.append(f"--speed {speed:g}, where success is {rate(there.success)}")
            break
    return "; ".join(found)


def _behind(candidate: Candidate) -> list[tuple[str, str]]:
    """Where the figures come from."""
    assert candidate.interpolated
    results = candidate.interpolated.results
    said = f"success is that of {policy_lines(results)}; latency is {candidate.source}"
    heads = sorted({result.setting.timing.latency.head_ms for result in results})
    if any(not math.isclose(head, candidate.charged.head_ms, rel_tol=0.1) for head in heads):
        measured = " and ".join(f"{head:g}" for head in heads)
        said += f"; measured with a head of {measured} ms, this device takes {candidate.charged.head_ms:.3g}"
    commands = " and ".join(dict.fromkeys(result.origin.command for result in results if result.origin))
    return [("behind", said), ("cells", f"measured by {commands}")]


def table(
    candidates: Sequence[Candidate], beaten: Sequence[int | None], question: Question
) -> tuple[list[str], list[str]]:
    """The candidates as text: lines of the heads, and one line each.

    Args:
        candidates: in the order of `candidates.rank`, at least one.
        beaten: as of `candidates.dominated`.
        question: what is asked for.
    """
    keeps = f"keeps\n{question.rate_hz:g} Hz"
    enough = f"{question.wanted}\nor more"
    heads = ["configuration", "VL p95\nms", "loop\nHz", keeps, "success", enough, "measured at VL p95"]
    rows = []
    for number, (candidate, better) in enumerate(zip(candidates, beaten, strict=True), 1):
        more = "" if better is None else f"; dominated by {better + 1}"
        rows.append(
            [
                f"{number} {candidate.name}",
                f"{'>= ' * candidate.at_best}{candidate.charged.vl_p95_ms:.0f}",
                f"{candidate.rate_hz:.1f}",
                "-" if candidate.timing.stages == 1 else "yes" if candidate.keeps_up else "no",
                *_success(candidate, question, more),
            ]
        )
    lines = text_table(heads, rows)
    return lines[: -len(rows)], lines[-len(rows) :]


def _success(candidate: Candidate, question: Question, more: str) -> tuple[str, str, str]:
    if candidate.interpolated is None:
        ms = sorted(result.setting.timing.latency.charged.vl_p95_ms for result in candidate.results)
        where = f"{ms[0]:.0f} to {ms[-1]:.0f}" if ms[0] < ms[-1] else f"{ms[0]:.0f}"
        return "not measured", "cannot tell", f"only {where} ms, or faster in something else"
    enough = question.meets(candidate)
    at_best = " at best" * (candidate.at_best and enough == "yes")
    return rate(candidate.interpolated.success), enough + at_best, candidate.interpolated.describe() + more


def what_to_measure(question: Question) -> str:
    """The command to type where nothing is measured."""
    asked = [name for name in presets() if any(map(question.suits, _settings(name)))]
    if not asked:
        return "no sweep that ships measures this; write one (docs/usage.md) for python experiments/sweep.py"
    return f"python experiments/sweep.py {asked[0]}" + (f" (or {', '.join(asked[1:])})" if asked[1:] else "")


def _settings(preset: str) -> tuple[Setting, ...]:
    try:
        return read_plan(preset).settings
    except UsageError:  # it is of policies that are not here
        return ()


def caption(candidates: Sequence[Candidate]) -> str:
    """How to read the table, and what it assumes."""
    options = max(candidate.options for candidate in candidates)
    servers = dict.fromkeys(servers_line(candidate.timing) for candidate in candidates)
    several = f"for all {options} configurations at once (Clopper-Pearson, Bonferroni)"
    return (
        f"{'; '.join(servers)} · intervals hold at 95 % {several if options > 1 else '(Clopper-Pearson)'} · "
        "loop Hz: 99 % of the loops are as fast"
    )
