"""Measuring a plan: what is missing, how long it takes, and the episodes themselves."""

from collections.abc import Callable, Iterator, Sequence

from vlatency.experiments.analysis.interim_looks import sizes
from vlatency.experiments.analysis.paired import LEVEL, detectable
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.scenes import Scenes
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.shared.progress import bars
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.plan import AS_IS, Cell, Plan
from vlatency.experiments.sweeps.verdicts import decided


def forecast(plan: Plan, cells: Cells, workers: int) -> list[str]:
    """What is said before the first episode: how much, how long, and which differences it will be able to tell."""
    count = plan.episodes
    todo = {setting: len(missing(setting, cells.rows(setting, count), count)) for setting in plan.settings}
    total, left = count * len(todo), sum(todo.values())
    arms, places = len(plan.arms), len(plan.places)
    parts = len(todo) - len({cell.setting for cell in plan.cells if cell.part == AS_IS})
    apart = f", and {parts} that tell late from wrong" if parts else ""
    lines = [
        f"sweep {plan.name}: {plan.about}" if plan.about else f"sweep {plan.name}",
        f"cells  {len(todo)} ({arms} arm{'s' * (arms != 1)} in {places} place{'s' * (places != 1)}{apart}), "
        f"{total} episodes: {total - left} measured, {left} to go",
        f"time   {_time(cells, todo, workers)}",
        *_detectable(plan),
    ]
    lines += [f"not    {arm}: {reason}" for arm, reason in plan.left_out]
    if plan.looks > 1:
        lines.append(f"looks  {plan.looks}, declared now: a comparison that one of them decides is measured no further")
    others = sum(cells.elsewhere(setting) for setting in todo)
    if others:
        lines.append(f"note   {others} rows of these cells come from other software and are not used")
    return lines


def _detectable(plan: Plan) -> list[str]:
    """Which differences the sweep finds with a power of 80 %."""
    found = {}
    shares = {0.5: ", if two arms differ on half of the seeds", 0.2: ", if they differ on a fifth of them"}
    for share, who in shares.items():
        points = _points(detectable(plan.episodes, share))
        if plan.comparisons > 1:
            strict = _points(detectable(plan.episodes, share, (1 - LEVEL) / plan.comparisons))
            points += f"; at worst, corrected for {plan.comparisons} comparisons, {strict}"
        found[points] = who
    if len(found) == 1:  # so few seeds that arms which differ so much differ on more of them
        found = dict.fromkeys(found, "")
    return [f"tells  at n = {plan.episodes}{who}: {points}" for points, who in found.items()]


def _time(cells: Cells, todo: dict[Setting, int], workers: int) -> str:
    if not any(todo.values()):
        return "none: everything is measured"
    known = [(cells.seconds(setting), count) for setting, count in todo.items() if count]
    total = sum(each * count for each, count in known if each is not None) / workers
    if not total:
        return "not known before the first episodes: none was ever measured here"
    return f"about {_duration(total)} with {workers} at a time, by the wall time of episodes measured before"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _points(difference: float | None) -> str:
    return "nothing" if difference is None else f"{100 * difference:.0f} points"


def missing(setting: Setting, rows: Sequence[Row], episodes: int) -> list[int]:
    """Seeds among the first `episodes` that have no row yet."""
    done = {row["seed"] for row in rows}
    return [seed for seed in range(setting.seed, setting.seed + episodes) if seed not in done]


def measure(
    plan: Plan,
    read: Callable[[Setting], list[Row]],
    append: Callable[[Cell, Row], None],
    run_jobs: Callable[[Sequence[Job]], Iterator[Row]],
    bar: Callable[[Cell], str] = lambda cell: "sweep",
) -> None:
    """Run the episodes that have no row yet, and append their rows: look by look, cell by cell, seed by seed.

    Args:
        plan: the sweep or run.
        read: gives the rows of a setting that there are.
        append: keeps a new row, on disk before it returns.
        run_jobs: gives the rows of jobs, in their order.
        bar: names the progress bar that a cell's episodes advance.

    Raises:
        UsageError: scenes and seeds do not go together, see `evaluation.scenes`.
    """
    scenes = Scenes()
    for setting in plan.settings:
        for row in read(setting):
            scenes.check(setting, row)
    with bars() as progress:
        for look, size in enumerate(sizes(plan.episodes, plan.looks), 1):
            prefix = f"look {look} " * (plan.looks > 1)
            todo = {cell: missing(cell.setting, read(cell.setting), size) for cell in _undecided(plan, read)}
            for name in dict.fromkeys(map(bar, todo)):
                left = [len(seeds) for cell, seeds in todo.items() if bar(cell) == name]
                progress.add(f"{prefix}{name}", size * len(left), size * len(left) - sum(left))
            jobs = {Job(cell.setting, cell.policy, seed): cell for cell, seeds in todo.items() for seed in seeds}
            for row, cell in zip(run_jobs(list(jobs)), jobs.values(), strict=True):
                scenes.check(cell.setting, row)
                append(cell, row)
                progress.advance(f"{prefix}{bar(cell)}")


def _undecided(plan: Plan, read: Callable[[Setting], list[Row]]) -> list[Cell]:
    """One cell of each setting that no look has decided; the reference is needed as long as another arm is."""
    rows = {setting: read(setting) for setting in plan.settings}
    wanted: dict[Setting, Cell] = {}
    for place in plan.places:
        done = {arm for arm in plan.arms[1:] if decided(plan, rows, place, arm)}
        if done and len(done) == len(plan.arms) - 1:
            done.add(plan.arms[0])
        for cell in plan.cells:
            if cell.place == place and cell.arm not in done:
                wanted.setdefault(cell.setting, cell)
    return list(wanted.values())
