"""Which arm of a study to ship: one that keeps up, succeeds often enough, and is not worse than the reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlatency.experiments.analysis.choosing import Enough, choose, enough, exact, needed
from vlatency.experiments.analysis.paired import POWER, Interval, Paired, paired
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.wording import difference, rate
from vlatency.experiments.shared.table import percent
from vlatency.experiments.sweeps.plan import Place, show

CANNOT_TELL = "Cannot tell"
LOSS = 0.20
"""With `--min-success reference` so large a loss must be excluded: no test tells 0 of 3 from 3 of 3."""
Least: TypeAlias = float | Literal["reference"]
"""The lowest success rate that is good enough, or "reference": what is not told worse than the reference is."""


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
class Option:
    """An arm over all places, all of them measured.

    Attributes:
        arm: its name.
        results: one a place.
        options: how many intervals hold at once, see `analysis.choosing`.
    """

    arm: str
    results: Sequence[Result]
    options: int = 1

    @property
    def n(self) -> int:
        """Episodes of all places."""
        return sum(result.n for result in self.results)

    @property
    def seeds(self) -> int:
        """Episodes of the place with the fewest."""
        return min(result.n for result in self.results)

    @property
    def success(self) -> Interval:
        """Mean over the places, which count the same.

        A scene that is hard in one task is hard in the others, so the interval takes a seed for one episode, however
        many places it is run in.
        """
        mean = sum(result.k / result.n for result in self.results) / len(self.results)
        successes = round(mean * self.seeds, 6)  # rounding errors must not cost an episode
        low, high = (exact(k, self.seeds, self.options) for k in (math.floor(successes), math.ceil(successes)))
        return Interval(mean, low.low, high.high)

    @property
    def keeps_up(self) -> bool:
        """In every place."""
        return all(result.keeps_up for result in self.results)

    @property
    def rate_hz(self) -> float | None:
        """The least over all places; None if nothing limits it."""
        return min((result.rate_hz for result in self.results if result.rate_hz), default=None)

    def describe(self) -> str:
        """Its success and what that rests on."""
        return f"{self.arm} succeeds in {rate(self.success)} of {self.n} episodes"

    def against(self, other: "Option") -> Paired:
        """On the seeds that both have, place by place."""
        pairs = []
        for mine, theirs in zip(self.results, other.results, strict=True):
            outcomes = theirs.outcomes
            pairs += [(success, outcomes[seed]) for seed, success in mine.outcomes.items() if seed in outcomes]
        return paired([first for first, _ in pairs], [second for _, second in pairs])

    def worse_than(self, reference: "Option") -> str:
        """Where it is told worse than the reference, and by how much; empty if it is not.

        The test over all places is not corrected for the number of arms: an arm in doubt is rather not shipped.
        """
        if self.arm == reference.arm:
            return ""
        overall = self.against(reference)
        if overall.verdict == "worse":
            return f"significantly worse than {reference.arm} ({difference(overall.difference, ' points')})"
        for result in self.results:
            if result.against and result.verdict == "worse":
                change = difference(result.against.difference, " points")
                return f"significantly worse than {reference.arm} {at(result.place)} ({change})"
        return ""

    def too_low(self, least: float) -> str:
        """The place where success is told to be below `least`; empty if there is none."""
        options = self.options * len(self.results)
        for result in self.results if len(self.results) > 1 else ():
            there = exact(result.k, result.n, options)
            if enough(there, least) == "no":
                return f"below {percent(least)} % {at(result.place)} ({rate(there)})"
        return ""


def ship(summary: Summary, least: Least) -> Answer:
    """The arm with the most successes among those that keep up and are good enough.

    Args:
        summary: of a study with arms in which the world does not wait.
        least: what is good enough.
    """
    arms = summary.plan.arms
    known = [Option(arm, summary.of_arm(arm)) for arm in arms if all(result.n for result in summary.of_arm(arm))]
    hertz = f"{summary.control_hz:g} Hz"
    if len(arms) == 1:
        return Answer(f"{arms[0]}: {rate(known[0].success)}", f"{known[0].describe()}; it was compared with no other.")
    timed = [option for option in known if all(result.mode != "pause" for result in option.results)]
    able = [option for option in timed if option.keeps_up]
    if not timed:
        return Answer("Not measured", f"No configuration that has to keep {hertz} has episodes in every place yet.")
    if not able:
        nearest = max(timed, key=lambda option: option.rate_hz or math.inf)
        pace = f" at {nearest.rate_hz:.2g} Hz" if nearest.rate_hz else ""
        return Answer("None", f"No configuration keeps {hertz}; {nearest.describe()}{pace}.{_missing(summary, known)}")
    able = [Option(option.arm, option.results, len(able) * summary.plan.looks) for option in able]
    able.sort(key=lambda option: (-option.success.estimate, max(result.vl_ms for result in option.results)))
    reference = next((option for option in known if option.arm == summary.reference), None)
    judged = [_judge(option, reference, least) for option in able]
    verdict, place = choose([verdict for verdict, _ in judged])
    best = able[0 if place is None else place]
    others = [f"{option.arm} succeeds in {rate(option.success)}, {why}"
              for option, (_, why) in zip(able, judged, strict=True) if option is not best]  # fmt: skip
    over = f"on {len(summary.tasks)} tasks" if len(summary.tasks) > 1 else f"on task {summary.tasks[0]}"
    one_stage = best.results[0].setting.timing.stages == 1  # it has no ticks to keep
    kept, alone = ("", " There is no other.") if one_stage else (f", and keeps {hertz}", f" No other keeps {hertz}.")
    found = f"{best.describe()} {over}, {judged[able.index(best)][1]}{kept}."
    rest = f" Of the others{' that do' * (not one_stage)}, {'; '.join(others)}." if others else alone
    beside = _beside(reference, best) if reference and reference.arm not in [option.arm for option in able] else ""
    several = f" The intervals hold at once for all {len(able)} that keep up." if len(able) > 1 else ""
    missing = _missing(summary, known)
    if verdict == "yes":
        return Answer(f"Ship: {best.arm}", f"{found}{rest}{beside}{several}{missing}")
    if verdict == "cannot tell":
        return Answer(CANNOT_TELL, f"{found}{_more(best, reference, least)}{rest}{beside}{several}{missing}")
    return Answer(CANNOT_TELL if missing else "None", f"{found}{rest}{beside}{several}{missing}")


def _judge(option: Option, reference: Option | None, least: Least) -> tuple[Enough, str]:
    """Whether an option that keeps up may be shipped, and why."""
    if option.success.estimate == 0:
        return "no", "which is never"
    if reference and (worse := option.worse_than(reference)):
        return "no", worse
    if least == "reference":
        return _as_good(option, reference)
    if low := option.too_low(least):
        return "no", low
    wanted = f"{percent(least)} %"
    verdict = enough(option.success, least)
    return verdict, {
        "yes": f"surely at or above {wanted}",
        "no": f"surely below {wanted}",
        "cannot tell": f"which may be above or below {wanted}",
    }[verdict]


def _as_good(option: Option, reference: Option | None) -> tuple[Enough, str]:
    if reference is None:
        return "cannot tell", "with no episodes of the reference in every place to compare with"
    if option.arm == reference.arm:
        return "yes", "the reference itself"
    result = option.against(reference)
    change = difference(result.difference, " points")
    if result.difference.low <= -LOSS:
        return "cannot tell", f"not told worse than {reference.arm}, but perhaps much worse ({change})"
    return "yes", f"not told worse than {reference.arm} ({change})"


def _more(best: Option, reference: Option | None, least: Least) -> str:
    """How many more episodes it takes to tell."""
    if least == "reference":
        if reference is None:
            return ""
        return f" About {best.against(reference).needed} episodes of each would be needed."
    wanted = f"{percent(least)} %"
    seeds = needed(best.success.estimate, least, best.options)
    if seeds is None:
        return f" Its rate is too close to {wanted} for any number of episodes."
    more = f"{max(seeds - best.seeds, 1)} more{' in each place' * (len(best.results) > 1)}"
    return f" About {more} would decide with a chance of {POWER:.0%}, if that is its rate."


def _missing(summary: Summary, known: Sequence[Option]) -> str:
    """The arms that might keep up, and are not measured in every place."""
    there = [option.arm for option in known]
    missing = [arm for arm in summary.plan.arms if arm not in there and summary.of_arm(arm)[0].mode != "pause"]
    return f" Not measured in every place yet: {', '.join(missing)}." if missing else ""


def _beside(reference: Option, best: Option) -> str:
    """The best arm beside a reference that does not keep up."""
    pace = f"at {reference.rate_hz:.2g} Hz" if reference.rate_hz else "with the world waiting"
    said = f" {reference.arm}, the reference, succeeds in {rate(reference.success)} {pace}"
    if best.worse_than(reference):
        return f"{said}."
    result = best.against(reference)
    change = difference(result.difference, " points")
    if result.significant:
        return f"{said}: {best.arm} is significantly {result.verdict} ({change})."
    return f"{said}: the difference from {best.arm} is not significant ({change}, n = {result.n})."


def at(place: Place) -> str:
    """Such as "on conveyor"."""
    return f"on {short(place)}" if place else "overall"


def short(place: Place) -> str:
    """Such as "conveyor, speed 0.05"."""
    return ", ".join(str(value) if name == "task" else show(((name, value),)) for name, value in place)
