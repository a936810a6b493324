"""The answer of a study in one sentence, with its uncertainty; "cannot tell" when its episodes cannot."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from vlatency.experiments.analysis.paired import Interval, Paired, holm, paired, wilson
from vlatency.experiments.reporting.mode_table import difference, divide, percent
from vlatency.experiments.reporting.study import Shown, Study, Where

CANNOT_TELL, NOT_MEASURED = "Cannot tell", "Not measured"


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
    cells: Sequence[Shown]

    @property
    def success(self) -> Interval:
        return wilson(sum(cell.k for cell in self.cells), self.n)

    @property
    def n(self) -> int:
        return sum(cell.n for cell in self.cells)

    @property
    def keeps_up(self) -> bool:
        return all(cell.keeps_up for cell in self.cells)

    def describe(self) -> str:
        return f"{self.arm} succeeds in {rate(self.success)} of {self.n} episodes"


def rate(success: Interval) -> str:
    """Such as "88 % [84, 91]"."""
    return f"{percent(success.estimate)} % [{percent(success.low)}, {percent(success.high)}]"


def answer(study: Study) -> Answer:
    """What the study permits to say about its question."""
    pools = [_Pool(arm, study.of_arm(arm)) for arm in study.arms]
    pools = [pool for pool in pools if pool.cells and all(cell.n for cell in pool.cells)]
    if not pools:
        return Answer(NOT_MEASURED, "No configuration has episodes in every place yet.")
    if study.falls:
        return _break_even(study)
    if any(cell.split for cell in study.cells):
        return _late_or_wrong(study, _ship(study, pools))
    if study.only_timing_differs:
        return _how_late(study)
    if all(cell.loop_ms is None for cell in study.cells):
        return _paused(study)
    return _ship(study, pools)


def _ship(study: Study, pools: list[_Pool]) -> Answer:
    """The arm with the most successes among those that keep up, if the others can be told from it."""
    timed = [pool for pool in pools if all(cell.loop_ms is not None for cell in pool.cells)]
    able = [pool for pool in timed if pool.keeps_up]
    if len(study.arms) == 1:
        only = pools[0]
        return Answer(f"{only.arm}: {rate(only.success)}", f"{only.describe()}; it was compared with no other.")
    hertz = f"{study.cells[0].setting['control_hz']:g} Hz"
    if not able:
        nearest = max(timed, key=lambda pool: min(cell.rate_hz or 0.0 for cell in pool.cells))
        pace = min(cell.rate_hz or 0.0 for cell in nearest.cells)
        return Answer("None", f"No configuration keeps {hertz}; {nearest.describe()} at {pace:.2g} Hz.")
    best = max(able, key=lambda pool: (pool.success.estimate, -max(cell.vl_ms for cell in pool.cells)))
    pairs = {(one.arm, two.arm): _compare(one, two) for one, two in itertools.combinations(able, 2)}
    told = {pair for pair, result in holm(pairs).items() if result.significant}
    rivals = [pool for pool in able if pool is not best and not told & {(best.arm, pool.arm), (pool.arm, best.arm)}]
    over = f" on {len(study.tasks)} tasks" if len(study.tasks) > 1 else f" on task {study.tasks[0]}"
    if rivals:
        names = ", ".join(f"{pool.arm} in {rate(pool.success)}" for pool in rivals)
        needed = max(
            holm(pairs)[pair].needed for pair in pairs if best.arm in pair and {*pair} & {r.arm for r in rivals}
        )
        return Answer(
            CANNOT_TELL,
            f"{best.describe()}{over}, but {names}: all keep {hertz}, and these episodes do not tell them apart "
            f"(about {needed} a configuration would).{_against(study, pools, best)}",
        )
    worse = _worse_somewhere(study, best, able)
    others = [f"{pool.arm} in {rate(pool.success)}" for pool in able if pool is not best]
    less = f"; of those that also do, {', '.join(others)}: less" if others else ", as the only one"
    return Answer(
        f"Ship: {best.arm}", f"{best.describe()}{over} and keeps {hertz}{less}.{worse}{_against(study, pools, best)}"
    )


def _worse_somewhere(study: Study, best: _Pool, able: list[_Pool]) -> str:
    """Where another arm that keeps up does better, though not over all places; Holm over those comparisons."""
    places: dict[tuple[str, Where], Paired] = {}
    for pool in able:
        for mine, other in zip(best.cells, pool.cells, strict=True):
            if pool is not best:
                places[pool.arm, mine.where] = _compare(_Pool(best.arm, [mine]), _Pool(pool.arm, [other]))
    found = [
        f"worse than {arm} in {_short(where)} ({difference(result.difference, ' points')})"
        for (arm, where), result in holm(places).items()
        if result.significant and result.difference.estimate < 0
    ]
    return f" But it is {'; '.join(found)}." if found else ""


def _against(study: Study, pools: list[_Pool], best: _Pool) -> str:
    """The best arm beside the reference."""
    reference = pools[0]
    if reference is best or reference.arm != study.arms[0]:
        return ""
    result = _compare(best, reference)
    pace = [cell.rate_hz for cell in reference.cells if cell.rate_hz]
    at = f" at {min(pace):.2g} Hz" if pace else " with the world waiting"
    change = f"({difference(result.difference, ' points')})"
    if not result.significant:
        verdict = f"whether {best.arm} differs from it, n = {result.n} cannot tell {change}"
    else:
        verdict = f"{best.arm} is {'better' if result.difference.estimate > 0 else 'worse'} {change}"
    return f" {reference.arm}, the reference, succeeds in {rate(reference.success)}{at}: {verdict}."


def _compare(one: _Pool, two: _Pool) -> Paired:
    """On the seeds that both have, place by place."""
    pairs = []
    for a, b in zip(one.cells, two.cells, strict=True):
        theirs = b.outcomes
        pairs += [(success, theirs[seed]) for seed, success in a.outcomes.items() if seed in theirs]
    return paired([first for first, _ in pairs], [second for _, second in pairs])


def _how_late(study: Study) -> Answer:
    """The least latency at which success is told to be worse than at the reference's, place by place."""
    least: dict[Where, Shown] = {}
    reference = study.arms[0]
    for cell in sorted(study.cells, key=lambda cell: cell.vl_ms):
        if cell.against and cell.against.significant and cell.against.difference.estimate < 0:
            least.setdefault(cell.where, cell)
    better = {
        cell.where: cell
        for cell in study.cells
        if cell.against and cell.against.significant and cell.against.difference.estimate > 0
    }
    gains = "".join(
        f" It is better at {cell.vl_ms:g} ms in {_short(where)} ({difference(cell.against.difference, ' points')})."
        for where, cell in better.items()
        if cell.against
    )
    safe = [where for where in study.places if where not in least]
    names = [_short(where) for where in safe]
    n = min(cell.n for cell in study.cells if cell.n)
    top = max(cell.vl_ms for cell in study.cells)
    none = f"up to {top:g} ms nothing can be told from {reference} at n = {n}"
    if not least and gains:
        return Answer("Late features are told to cost success nowhere", f"In no place is it worse at any.{gains}")
    if not least:
        return Answer(CANNOT_TELL, f"Whether late features cost success: {none} in any place.")
    first = min(least.values(), key=lambda cell: cell.vl_ms)
    assert first.against
    sentence = (
        f"Success is worse than with {reference} from {first.vl_ms:g} ms on in {_short(first.where)} "
        f"({difference(first.against.difference, ' points')}, n = {first.against.n}), "
        f"and in {len(least)} of {len(study.places)} places at some latency"
    )
    return Answer(
        f"Late features cost success in {len(least)} of {len(study.places)} places",
        sentence + (f"; in {', '.join(names)} {none}." if names and not better else ".") + gains,
    )


def _late_or_wrong(study: Study, ship: Answer) -> Answer:
    """What is told of timing and of features, and then which arm to ship."""
    split = [(cell, cell.split) for cell in study.cells if cell.split]
    told = [(cell, parts) for cell, parts in split if parts.late.significant or parts.wrong.significant]
    said = [f"{cell.arm} in {_short(cell.where)}: {divide(parts)}" for cell, parts in told]
    late, wrong = (
        list(dict.fromkeys(cell.arm for cell, parts in told if _worse(part(parts))))
        for part in (lambda parts: parts.late, lambda parts: parts.wrong)
    )
    kinds = [f"{what}: {', '.join(arms)}" for what, arms in (("Late", late), ("Wrong", wrong)) if arms]
    fewest = min(parts.total.n for _, parts in split)
    none = f"Of no arm it is told whether its timing or its features change success at n = {fewest}"
    more = f" Which to ship: {ship.short}. {ship.sentence}"
    return Answer("; ".join(kinds) or f"{CANNOT_TELL} late from wrong", f"{'; '.join(said) or none}.{more}")


def _worse(result: Paired) -> bool:
    return result.significant and result.difference.estimate < 0


def _paused(study: Study) -> Answer:
    """What differs from the reference where the world waits for all arms."""
    reference, n = study.arms[0], min(cell.n for cell in study.cells if cell.n)
    waits = "the world waits for the model, so no latency was charged"
    told = [
        f"{cell.arm} is {'worse' if _worse(cell.against) else 'better'} in {_short(cell.where)} "
        f"({difference(cell.against.difference, ' points')})"
        for cell in study.cells
        if cell.against and cell.against.significant
    ]
    if told:
        return Answer(f"Told from {reference}: {len(told)} of {_comparisons(study)}", f"{'; '.join(told)}; {waits}.")
    if not _comparisons(study):
        return Answer(f"{reference}: {rate(_Pool(reference, study.cells).success)}", f"One configuration; {waits}.")
    return Answer(f"Nothing is told from {reference}", f"In no place is an arm told from it at n = {n}; {waits}.")


def _comparisons(study: Study) -> int:
    return sum(cell.against is not None for cell in study.cells)


def _break_even(study: Study) -> Answer:
    """The least crossing first, then all."""
    threshold = percent(study.falls[0][2].threshold)
    said = [(f"{arm}{f', {_short(rest)}' if rest else ''}", fall) for rest, arm, fall in study.falls]
    sentence = f"The {study.load} from which on success is below {threshold} %: " + "; ".join(
        f"with {who} {fall.describe()}" for who, fall in said
    )
    bounded = [(fall.high, who, fall) for who, fall in said if fall.high is not None]
    if not bounded:
        return Answer(f"{CANNOT_TELL} the break-even {study.load}", f"{sentence}.")
    high, who, least = min(bounded, key=lambda each: each[0])
    # Where one holds and the other fails at the same tested load, they are apart.
    if any(fall.low is None or fall.low < high for _, fall in said if fall is not least):
        return Answer(f"{CANNOT_TELL} with which the break-even {study.load} is least", f"{sentence}.")
    return Answer(f"Break-even {study.load} is least with {who}: {least.describe()}", f"{sentence}.")


def _short(where: Where) -> str:
    return ", ".join(str(value) if name == "task" else f"{name} {value}" for name, value in where) or "everywhere"
