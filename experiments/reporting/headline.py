"""The answer of a study in one sentence, with its uncertainty; "cannot tell" when its episodes cannot."""

from collections.abc import Mapping, Sequence

from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.shipping import CANNOT_TELL, Answer, Least, Option, at, ship, short
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.wording import difference, divided, rate
from vlatency.experiments.shared.table import percent
from vlatency.experiments.sweeps.plan import Place


def answer(summary: Summary, least: Least = 0.9) -> Answer:
    """What the summary permits to say about its question.

    Args:
        summary: of a run or a sweep.
        least: how often a configuration has to succeed to be shipped.
    """
    arms = [arm for arm in summary.plan.arms if all(result.n for result in summary.of_arm(arm))]
    if not arms:
        return Answer("Not measured", "No configuration has episodes in every place yet.")
    if summary.falls:
        return _break_even(summary)
    if any(result.split for result in summary.results):
        return _late_or_wrong(summary, ship(summary, least))
    if summary.only_latency_differs:
        return _how_late(summary)
    if all(result.mode == "pause" for result in summary.results):
        return _paused(summary, arms[0])
    return ship(summary, least)


def _how_late(summary: Summary) -> Answer:
    """The least latency with a significant loss against the reference, place by place."""
    worse: dict[Place, Result] = {}
    better: dict[Place, Result] = {}
    for result in sorted(summary.results, key=lambda result: result.vl_ms):
        for verdict, found in (("worse", worse), ("better", better)):
            if result.verdict == verdict:
                found.setdefault(result.place, result)
    places, top = summary.plan.places, max(result.vl_ms for result in summary.results)
    n = min(result.n for result in summary.results if result.n)
    none = f"no significant difference from {summary.reference} up to {top:g} ms (n = {n})"
    gains = "".join(f" Success is significantly better {_where(result)}." for result in better.values())
    if not worse and gains:
        return Answer(f"No {_noun(places)} loses success to late features", f"No significant loss anywhere.{gains}")
    if not worse:
        return Answer(f"{CANNOT_TELL} whether late features cost success", f"There is {none} in any {_noun(places)}.")
    same = [place for place in places if place not in worse and place not in better]
    first = min(worse.values(), key=lambda result: result.vl_ms)
    rest = f" {_list(same)}: {none}." if same else ""
    return Answer(
        f"Late features cost success in {len(worse)} of {len(places)} {_noun(places)}s",
        f"Success is significantly worse than with {summary.reference} already {_where(first)}.{rest}{gains}",
    )


def _where(result: Result) -> str:
    assert result.against
    change = difference(result.against.difference, " points")
    return f"at {result.vl_ms:g} ms {at(result.place)} ({change}, n = {result.against.n})"


def _late_or_wrong(summary: Summary, shipped: Answer) -> Answer:
    """What timing and features do, each alone, and then which arm to ship."""
    split = [(result, result.split) for result in summary.results if result.split]
    known = [(result, parts) for result, parts in split if parts.late.significant or parts.wrong.significant]
    kinds = []
    for verdict, verb in (("worse", "hurt"), ("better", "help")):
        late = dict.fromkeys(result.arm for result, parts in known if parts.late.verdict == verdict)
        wrong = dict.fromkeys(result.arm for result, parts in known if parts.wrong.verdict == verdict)
        kinds += [f"timing {verb}s {', '.join(late)}"] * bool(late)
        kinds += [f"features {verb} {', '.join(wrong)}"] * bool(wrong)
    said = "; ".join(f"{result.arm} {at(result.place)}: {divided(parts)}" for result, parts in known)
    if not known:
        n = min(parts.total.n for _, parts in split)
        said = f"For no arm is the effect of its timing or of its features alone significant (n = {n})"
    hurts = "; ".join(kinds)
    return Answer(
        f"{hurts[0].upper()}{hurts[1:]}" if hurts else f"{CANNOT_TELL} late from wrong",
        f"{said}. Which to ship: {shipped.short}. {shipped.sentence}",
    )


def _paused(summary: Summary, first: str) -> Answer:
    """What differs from the reference where the world waits for all arms."""
    reference, waits = summary.reference, "The world waits for the model, so no latency was charged."
    compared = [result for result in summary.results if result.against]
    if not compared:
        only = Option(first, summary.of_arm(first))
        return Answer(f"{first}: {rate(only.success)}", f"{only.describe()}. {waits}")
    found = [
        f"{result.arm} is significantly {result.verdict} {at(result.place)} "
        f"({difference(result.against.difference, ' points')})"
        for result in compared
        if result.against and result.against.significant
    ]
    n = min(result.against.n for result in compared if result.against)
    count = f"{len(found)} of {len(compared)}" if found else "none"
    return Answer(
        f"Significant differences from {reference}: {count}",
        f"{'; '.join(found) or f'No arm differs significantly from {reference} (n = {n})'}. {waits}",
    )


def _break_even(summary: Summary) -> Answer:
    """The arm with the lowest crossing first, then all."""
    falls = {f"{arm} on {short(rest)}" if rest else arm: fall for (rest, arm), fall in summary.falls.items()}
    threshold = percent(next(iter(falls.values())).threshold)
    described = "; ".join(f"{fall.describe()} with {who}" for who, fall in falls.items())
    sentence = f"The {summary.load} from which on success is below {threshold} %: {described}."
    bounded: Mapping[str, float] = {who: fall.high for who, fall in falls.items() if fall.high is not None}
    if not bounded:
        return Answer(f"{CANNOT_TELL} the break-even {summary.load}", sentence)
    lowest = min(bounded, key=lambda who: bounded[who])
    others = [fall.low for who, fall in falls.items() if who != lowest]
    # Where one holds and the other fails at the same tested load, they are apart.
    if any(low is None or low < bounded[lowest] for low in others):
        return Answer(f"{CANNOT_TELL} which arm has the lowest break-even {summary.load}", sentence)
    return Answer(f"Lowest break-even {summary.load}: {falls[lowest].describe()} with {lowest}", sentence)


def _list(places: Sequence[Place]) -> str:
    return f"On {'; '.join(map(short, places))}"


def _noun(places: Sequence[Place]) -> str:
    """What the places of a study are."""
    return "task" if all(name == "task" for place in places for name, _ in place) else "place"
