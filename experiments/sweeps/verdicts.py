"""What can be concluded from the rows of a sweep: verdicts, compact letters, late or wrong, break-even."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, count, product, takewhile

from vlatency.experiments.analysis.break_even import BreakEven, break_even
from vlatency.experiments.analysis.compact_letters import compact_letters
from vlatency.experiments.analysis.interim_looks import look_by_look, sizes
from vlatency.experiments.analysis.late_or_wrong import Split, late_or_wrong
from vlatency.experiments.analysis.paired import LEVEL, Paired, holm, paired
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.sweeps.plan import AS_IS, LATE, WRONG, Cell, Place, Plan

Rows = Mapping[Setting, Sequence[Row]]
"""By seed, as `cell_store.Cells.rows` gives them."""


def outcomes(cell: Cell | None, rows: Rows) -> list[bool]:
    """Success on each seed of a cell, up to the first seed that is missing."""
    if cell is None:
        return []
    found = {row["seed"]: bool(row["success"]) for row in rows.get(cell.setting, ())}
    return [found[seed] for seed in takewhile(found.__contains__, count(cell.setting.seed))]


def compare(plan: Plan, rows: Rows, place: Place, arm: str) -> Paired | None:
    """An arm against the reference, with the sweep's interim looks and before Holm; None if one of them has no seed."""
    mine, theirs = (outcomes(plan.cell(place, name), rows) for name in (arm, plan.arms[0]))
    if not mine or not theirs:
        return None
    return look_by_look(mine, theirs, sizes(plan.episodes, plan.looks), _look_level(plan))


def decided(plan: Plan, rows: Rows, place: Place, arm: str) -> bool:
    """Whether an interim look has told this arm from the reference, so that it needs no more seeds."""
    result = compare(plan, rows, place, arm) if plan.looks > 1 else None
    return result is not None and result.p_value < _look_level(plan)


def _look_level(plan: Plan) -> float:
    """Bonferroni's level, so that Holm's table in the end agrees with whatever a look has decided."""
    return (1 - LEVEL) / max(1, plan.comparisons)


def verdicts(plan: Plan, rows: Rows) -> dict[tuple[Place, str], Paired]:
    """Every arm against the reference of its place, with Holm over the whole sweep."""
    pairs = product(plan.places, plan.arms[1:])
    found = {(place, arm): result for place, arm in pairs if (result := compare(plan, rows, place, arm))}
    adjusted = holm(found)
    if plan.looks == 1:
        return adjusted
    return {key: replace(result, needed=found[key].needed) for key, result in adjusted.items()}  # looks: see compare


def used(plan: Plan, rows: Rows, place: Place, arm: str) -> list[bool]:
    """The outcomes that count: those up to the interim look that decided."""
    mine = outcomes(plan.cell(place, arm), rows)
    if plan.looks == 1:
        return mine
    compared = plan.arms[1:] if arm == plan.arms[0] else (arm,)
    counts = [result.n for other in compared if (result := compare(plan, rows, place, other))]
    return mine[: max(counts, default=len(mine))]


def letters(plan: Plan, rows: Rows, place: Place) -> dict[str, str]:
    """Compact letters by arm, with Holm over the pairs of this place; none for two arms, or with interim looks."""
    mine = {arm: outcomes(plan.cell(place, arm), rows) for arm in plan.arms}
    if len(mine) < 3 or plan.looks > 1 or not all(mine.values()):
        return {}
    pairs = {}
    for one, two in combinations(mine, 2):
        n = min(len(mine[one]), len(mine[two]))
        pairs[one, two] = paired(mine[one][:n], mine[two][:n])
    return compact_letters(plan.arms, [pair for pair, result in holm(pairs).items() if result.significant])


def splits(plan: Plan, rows: Rows) -> dict[tuple[Place, str], Split]:
    """Late or wrong, for each arm whose parts are measured, on the seeds that all four cells have.

    The tests of late and of wrong are adjusted by Holm over the whole sweep.
    """
    found: dict[tuple[Place, str], Split] = {}
    for place, arm in product(plan.places, plan.arms[1:]):
        wanted = ((plan.arms[0], AS_IS), (arm, LATE), (arm, WRONG), (arm, AS_IS))
        four = [outcomes(plan.cell(place, name, part), rows) for name, part in wanted]
        n = min(map(len, four))
        if n:
            found[place, arm] = late_or_wrong(*(each[:n] for each in four))
    tests = {(key, LATE): split.late for key, split in found.items()}
    tests |= {(key, WRONG): split.wrong for key, split in found.items()}
    adjusted = holm(tests)
    return {key: replace(each, late=adjusted[key, LATE], wrong=adjusted[key, WRONG]) for key, each in found.items()}


def break_evens(plan: Plan, rows: Rows) -> dict[tuple[Place, str], BreakEven]:
    """For each arm in each group of places that differ only in the load; the keys are places without the load."""
    if plan.break_even is None:
        return {}
    option, threshold = plan.break_even
    groups: dict[Place, list[Place]] = {}
    for place in plan.places:
        groups.setdefault(tuple(item for item in place if item[0] != option), []).append(place)
    found = {}
    for (rest, places), arm in product(groups.items(), plan.arms):
        episodes = [(float(dict(place)[option]), each) for place in places for each in used(plan, rows, place, arm)]
        loads, successes = [load for load, _ in episodes], [success for _, success in episodes]
        if len(set(loads)) > 1:
            found[rest, arm] = break_even(loads, successes, threshold)
    return found
