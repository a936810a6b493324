"""What the rows of a sweep permit to say: verdicts, letters, late or wrong, break-even."""

import itertools
from collections.abc import Mapping, Sequence

from vlatency.experiments.analysis.break_even import BreakEven, break_even
from vlatency.experiments.analysis.compact_letters import compact_letters
from vlatency.experiments.analysis.interim_looks import look_by_look, sizes
from vlatency.experiments.analysis.late_or_wrong import Split, late_or_wrong
from vlatency.experiments.analysis.paired import LEVEL, Paired, holm, paired
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.sweeps.plan import AS_IS, LATE, WRONG, Cell, Place, Plan

Rows = Mapping[Setting, Sequence[Row]]
"""By seed, as `experiments.sweeps.cell_store.Cells.rows` gives them."""


def outcomes(cell: Cell | None, rows: Rows) -> list[bool]:
    """Success on the seeds from the first one on, up to the first that is missing."""
    found = {row["seed"]: bool(row["success"]) for row in rows.get(cell.setting, ())} if cell else {}
    first = cell.setting.seed if cell else 0
    return [found[seed] for seed in itertools.takewhile(found.__contains__, itertools.count(first))]


def compare(plan: Plan, rows: Rows, place: Place, arm: str) -> Paired | None:
    """An arm against the reference, by the sweep's looks and before Holm; None while one of them has no seed."""
    mine, theirs = (outcomes(plan.cell(place, name), rows) for name in (arm, plan.arms[0]))
    if not mine or not theirs:
        return None
    return look_by_look(mine, theirs, sizes(plan.episodes, plan.looks), _look_level(plan))


def decided(plan: Plan, rows: Rows, place: Place, arm: str) -> bool:
    """Whether a look has told this arm from the reference, so that more of its seeds are not needed."""
    result = compare(plan, rows, place, arm) if plan.looks > 1 else None
    return result is not None and result.p_value < _look_level(plan)


def _look_level(plan: Plan) -> float:
    """Bonferroni's, so that whatever a look decides, Holm's table agrees with in the end."""
    return (1 - LEVEL) / max(1, plan.comparisons)


def verdicts(plan: Plan, rows: Rows) -> dict[tuple[Place, str], Paired]:
    """Every arm against the reference of its place, with Holm over the whole sweep."""
    found = {}
    for place, arm in itertools.product(plan.places, plan.arms[1:]):
        result = compare(plan, rows, place, arm)
        if result is not None:
            found[place, arm] = result
    return holm(found)


def used(plan: Plan, rows: Rows, place: Place, arm: str) -> list[bool]:
    """The outcomes that count for the table: those up to the look that decided."""
    mine = outcomes(plan.cell(place, arm), rows)
    if plan.looks == 1:
        return mine
    compared = plan.arms[1:] if arm == plan.arms[0] else (arm,)
    counts = [result.n for other in compared if (result := compare(plan, rows, place, other))]
    return mine[: max(counts, default=len(mine))]


def letters(plan: Plan, rows: Rows, place: Place) -> dict[str, str]:
    """Compact letters of three or more arms, with Holm over the pairs of this place; none for fewer, or with looks."""
    mine = {arm: outcomes(plan.cell(place, arm), rows) for arm in plan.arms}
    if len(mine) < 3 or plan.looks > 1 or not all(mine.values()):
        return {}
    pairs = {}
    for one, two in itertools.combinations(mine, 2):
        n = min(len(mine[one]), len(mine[two]))
        pairs[one, two] = paired(mine[one][:n], mine[two][:n])
    return compact_letters(plan.arms, [pair for pair, result in holm(pairs).items() if result.significant])


def splits(plan: Plan, rows: Rows) -> dict[tuple[Place, str], Split]:
    """Late or wrong, of each arm whose parts are measured, on the seeds that all four cells have.

    The tests of late and of wrong are adjusted by Holm over the whole sweep.
    """
    found: dict[tuple[Place, str], Split] = {}
    for place, arm in itertools.product(plan.places, plan.arms[1:]):
        wanted = ((plan.arms[0], AS_IS), (arm, LATE), (arm, WRONG), (arm, AS_IS))
        four = [outcomes(plan.cell(place, name, part), rows) for name, part in wanted]
        n = min(map(len, four))
        if n:
            found[place, arm] = late_or_wrong(*(each[:n] for each in four))
    tests = {(key, LATE): split.late for key, split in found.items()}
    tests |= {(key, WRONG): split.wrong for key, split in found.items()}
    adjusted = holm(tests)
    return {
        key: Split(split.total, adjusted[key, LATE], adjusted[key, WRONG], split.interaction)
        for key, split in found.items()
    }


def break_evens(plan: Plan, rows: Rows) -> dict[tuple[Place, str], BreakEven]:
    """Of each arm in each group of places that differ in the load alone; the keys are places without it."""
    if plan.break_even is None:
        return {}
    option, threshold = plan.break_even
    groups: dict[Place, list[Place]] = {}
    for place in plan.places:
        groups.setdefault(tuple(item for item in place if item[0] != option), []).append(place)
    found = {}
    for (rest, places), arm in itertools.product(groups.items(), plan.arms):
        loads: list[float] = []
        successes: list[bool] = []
        for place in places:
            mine = used(plan, rows, place, arm)
            loads += [float(dict(place)[option])] * len(mine)
            successes += mine
        if len(set(loads)) > 1:
            found[rest, arm] = break_even(loads, successes, threshold)
    return found
