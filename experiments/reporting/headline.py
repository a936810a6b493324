"""The answer of a study in one sentence, with its uncertainty; "cannot tell" when its episodes cannot."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlatency.experiments.analysis.paired import Interval, Paired, holm, paired, wilson
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.wording import difference, divided, rate
from vlatency.experiments.shared.table import percent
from vlatency.experiments.sweeps.plan import Place

CANNOT_TELL = "Cannot tell"


@dataclass(frozen=True)
class Answer:
    """What to say first.

    Attributes:
        short: the arm to ship, or "Cannot tell", or what was found, in a few words.
        sentence: why, with intervals and n.
    """

    short: str
    sentence: str


@dataclass(frozen=True)
class _Pool:
    """An arm over all places."""

    arm: str
    results: Sequence[Result]

    @property
    def success(self) -> Interval:
        return wilson(sum(result.k for result in self.results), self.n)

    @property
    def n(self) -> int:
        return sum(result.n for result in self.results)

    @property
    def keeps_up(self) -> bool:
        return all(result.keeps_up for result in self.results)

    @property
    def rate_hz(self) -> float | None:
        """The least over all places; None if nothing limits it."""
        return min((result.rate_hz for result in self.results if result.rate_hz), default=None)

    def describe(self) -> str:
        return f"{self.arm} succeeds in {rate(self.success)} of {self.n} episodes"

    def against(self, other: "_Pool") -> Paired:
        """On the seeds that both have, place by place."""
        pairs = []
        for mine, theirs in zip(self.results, other.results, strict=True):
            outcomes = theirs.outcomes
            pairs += [(success, outcomes[seed]) for seed, success in mine.outcomes.items() if seed in outcomes]
        return paired([first for first, _ in pairs], [second for _, second in pairs])


def answer(summary: Summary) -> Answer:
    """What the summary permits to say about its question."""
    pools = [_Pool(arm, summary.of_arm(arm)) for arm in summary.plan.arms]
    pools = [pool for pool in pools if all(result.n for result in pool.results)]
    if not pools:
        return Answer("Not measured", "No configuration has episodes in every place yet.")
    if summary.falls:
        return _break_even(summary)
    if any(result.split for result in summary.results):
        return _late_or_wrong(summary, _ship(summary, pools))
    if summary.only_latency_differs:
        return _how_late(summary)
    if all(result.mode == "pause" for result in summary.results):
        return _paused(summary, pools)
    return _ship(summary, pools)


def _ship(summary: Summary, pools: Sequence[_Pool]) -> Answer:
    """The arm with the most successes among those that keep up, if it is significantly better than the others."""
    first, hertz = pools[0], f"{summary.control_hz:g} Hz"
    if len(summary.plan.arms) == 1:
        return Answer(f"{first.arm}: {rate(first.success)}", f"{first.describe()}; it was compared with no other.")
    timed = [pool for pool in pools if all(result.loop_ms is not None for result in pool.results)]
    able = [pool for pool in timed if pool.keeps_up]
    if not timed:
        return Answer("Not measured", f"No configuration that has to keep {hertz} has episodes in every place yet.")
    if not able:
        nearest = max(timed, key=lambda pool: pool.rate_hz or 0.0)
        return Answer("None", f"No configuration keeps {hertz}; {nearest.describe()} at {nearest.rate_hz:.2g} Hz.")
    best = max(able, key=lambda pool: (pool.success.estimate, -max(result.vl_ms for result in pool.results)))
    pairs = holm({(a.arm, b.arm): a.against(b) for a, b in itertools.combinations(able, 2)})
    unsure = [(arms, result) for arms, result in pairs.items() if best.arm in arms and not result.significant]
    over = f"on {len(summary.tasks)} tasks" if len(summary.tasks) > 1 else f"on task {summary.tasks[0]}"
    start = f"{best.describe()} {over}"
    reference = _beside(first, best) if first.arm == summary.reference and first not in able else ""
    if unsure:
        rivals = [pool for pool in able if pool is not best and any(pool.arm in arms for arms, _ in unsure)]
        names = ", ".join(f"{pool.arm} in {rate(pool.success)}" for pool in rivals)
        needed = max(result.needed for _, result in unsure)
        return Answer(
            CANNOT_TELL,
            f"{start}, {names}. {'All' if len(rivals) > 1 else 'Both'} keep {hertz}, and no difference from {best.arm} "
            f"is significant: about {needed} episodes of each would be needed.{reference}",
        )
    return Answer(
        f"Ship: {best.arm}",
        f"{start} and keeps {hertz}. {_others(able, best, hertz)}{_worse_somewhere(best, able)}{reference}",
    )


def _others(able: Sequence[_Pool], best: _Pool, hertz: str) -> str:
    others = [f"{pool.arm} in {rate(pool.success)}" for pool in able if pool is not best]
    if not others:
        return f"No other configuration keeps {hertz}."
    return f"The others that keep {hertz} succeed significantly less often: {', '.join(others)}."


def _worse_somewhere(best: _Pool, able: Sequence[_Pool]) -> str:
    """Where another arm that keeps up does better, though not over all places; Holm over those comparisons."""
    tests: dict[tuple[str, Place], Paired] = {}
    for pool in able:
        for mine, other in zip(best.results, pool.results, strict=True):
            if pool is not best:
                tests[pool.arm, mine.place] = _Pool(best.arm, [mine]).against(_Pool(pool.arm, [other]))
    found = [
        f"worse than {arm} {_at(place)} ({difference(result.difference, ' points')})"
        for (arm, place), result in holm(tests).items()
        if result.verdict == "worse"
    ]
    return f" But it is significantly {'; '.join(found)}." if found else ""


def _beside(reference: _Pool, best: _Pool) -> str:
    """The best arm beside the reference."""
    result = best.against(reference)
    pace = f"at {reference.rate_hz:.2g} Hz" if reference.rate_hz else "with the world waiting"
    change = difference(result.difference, " points")
    verdict = f"{best.arm} is significantly {result.verdict} ({change})"
    if not result.significant:
        verdict = f"the difference from {best.arm} is not significant ({change}, n = {result.n})"
    return f" {reference.arm}, the reference, succeeds in {rate(reference.success)} {pace}: {verdict}."


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
    return f"at {result.vl_ms:g} ms {_at(result.place)} ({change}, n = {result.against.n})"


def _late_or_wrong(summary: Summary, ship: Answer) -> Answer:
    """What timing and features do, each alone, and then which arm to ship."""
    split = [(result, result.split) for result in summary.results if result.split]
    known = [(result, parts) for result, parts in split if parts.late.significant or parts.wrong.significant]
    kinds = []
    for verdict, verb in (("worse", "hurt"), ("better", "help")):
        late = dict.fromkeys(result.arm for result, parts in known if parts.late.verdict == verdict)
        wrong = dict.fromkeys(result.arm for result, parts in known if parts.wrong.verdict == verdict)
        kinds += [f"timing {verb}s {', '.join(late)}"] * bool(late)
        kinds += [f"features {verb} {', '.join(wrong)}"] * bool(wrong)
    said = "; ".join(f"{result.arm} {_at(result.place)}: {divided(parts)}" for result, parts in known)
    if not known:
        n = min(parts.total.n for _, parts in split)
        said = f"For no arm is the effect of its timing or of its features alone significant (n = {n})"
    short = "; ".join(kinds)
    return Answer(
        f"{short[0].upper()}{short[1:]}" if short else f"{CANNOT_TELL} late from wrong",
        f"{said}. Which to ship: {ship.short}. {ship.sentence}",
    )


def _paused(summary: Summary, pools: Sequence[_Pool]) -> Answer:
    """What differs from the reference where the world waits for all arms."""
    reference, waits = summary.reference, "The world waits for the model, so no latency was charged."
    compared = [result for result in summary.results if result.against]
    if not compared:
        return Answer(f"{pools[0].arm}: {rate(pools[0].success)}", f"{pools[0].describe()}. {waits}")
    found = [
        f"{result.arm} is significantly {result.verdict} {_at(result.place)} "
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
    falls = {f"{arm} on {_short(rest)}" if rest else arm: fall for (rest, arm), fall in summary.falls.items()}
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


def _short(place: Place) -> str:
    return ", ".join(str(value) if name == "task" else f"{name} {value}" for name, value in place)


def _at(place: Place) -> str:
    return f"on {_short(place)}" if place else "overall"


def _list(places: Sequence[Place]) -> str:
    return f"On {'; '.join(map(_short, places))}"


def _noun(places: Sequence[Place]) -> str:
    """What the places of a study are."""
    return "task" if all(name == "task" for place in places for name, _ in place) else "place"
