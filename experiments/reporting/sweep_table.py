"""A sweep's results as a person reads them."""

from vlatency.experiments.analysis.paired import Paired, wilson
from vlatency.experiments.reporting.mode_table import divide, milliseconds, outcome, percent
from vlatency.experiments.sweeps.plan import Cell, Place, Plan, show
from vlatency.experiments.sweeps.verdicts import Rows, break_evens, letters, loop_ms, outcomes, splits, used, verdicts


def text(plan: Plan, rows: Rows) -> list[str]:
    """A table a place, then what it says."""
    against = verdicts(plan, rows)
    width = max(len("arm"), *map(len, plan.arms))
    lines: list[str] = []
    for place in plan.places:
        marks = letters(plan, rows, place)
        head = f"  {'arm':<{width}}      k/n     rate  95 % CI      VL ms  loop ms   loop Hz  keeps up"
        lines += ["", show(place), head + "  letters" * bool(marks)]
        for arm in plan.arms:
            cell = plan.cell(place, arm)
            assert cell is not None
            line = f"  {arm:<{width}}{_success(used(plan, rows, place, arm))}{_pace(cell)}"
            lines.append(f"{line}  {marks[arm]}".rstrip() if marks else line.rstrip())
        for arm in plan.arms[1:]:
            if (place, arm) in against:
                lines.append(f"  {arm} against {plan.arms[0]}: {outcome(against[place, arm])}")
    lines += _foot(plan, rows, against)
    return lines[1:]


def _success(mine: list[bool]) -> str:
    if not mine:
        return f"{'not measured':>29}"
    k, n = sum(mine), len(mine)
    interval = wilson(k, n)
    limits = f"[{percent(interval.low)}, {percent(interval.high)}]"
    return f"{f'{k}/{n}':>9}{percent(interval.estimate) + '%':>9}  {limits:<11}"


def _pace(cell: Cell) -> str:
    loop = loop_ms(cell.setting)
    if loop is None:
        return f"{'0':>7}{'-':>9}{'-':>10}  world waits"
    rate = f"{1000 / loop:.1f}" if loop > 0 else "-"
    keeps = "yes" if loop * cell.setting.control_hz <= 1000 else "no"
    return f"{milliseconds(cell.setting.vl_ms):>7}{milliseconds(loop):>9}{rate:>10}  {keeps:<8}"


def _foot(plan: Plan, rows: Rows, against: dict[tuple[Place, str], Paired]) -> list[str]:
    lines: list[str] = []
    divided = splits(plan, rows)
    if divided:
        lines += [
            "",
            f"late or wrong, against {plan.arms[0]} on the same seeds" + ", as if looked at once" * (plan.looks > 1),
        ]
        lines += [f"  {arm}, {show(place)}: {divide(split)}" for (place, arm), split in divided.items()]
    if plan.break_even:
        option, threshold = plan.break_even
        lines += ["", f"break-even: the {option} from which on success is below {percent(threshold)} % [95 % interval]"]
        lines += [
            f"  {arm}{f', {show(rest)}' if rest else ''}: {fit.describe()}"
            for (rest, arm), fit in break_evens(plan, rows).items()
        ]
    if against:
        lines += ["", f"p-values are exact McNemar on shared seeds, adjusted by Holm over {len(against)} comparisons;"]
        lines.append("intervals of differences are Newcombe's, each at 95 % by itself")
    if any(letters(plan, rows, place) for place in plan.places):
        lines.append("arms that share a letter cannot be told apart (Holm over the pairs of the place)")
    if plan.looks > 1:
        lines.append(f"each comparison was looked at up to {plan.looks} times; p-values allow for it, intervals do not")
    if any(not outcomes(cell, rows) for cell in plan.cells):
        lines.append("not all cells are measured yet")
    return lines
