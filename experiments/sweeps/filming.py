"""Which episodes are worth seeing, and running them once more under film."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.run_folder import VIDEOS
from vlatency.experiments.shared.progress import bars
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.plan import Place, Plan

MODE_ORDER = ("async", "sync", "pause")
"""Async comes first, because there the timeline has most to show."""


def choose_episodes(rows: Sequence[Row], count: int) -> list[Row]:
    """The rows of the episodes of a run to film: success, failure, success, ..., the modes in turn, low seeds first."""
    rows = sorted(rows, key=lambda row: row["seed"])
    queues = []
    for success in (True, False):
        kinds = [[row for row in rows if row["mode"] == mode and row["success"] is success] for mode in MODE_ORDER]
        queues.append([row for turn in zip_longest(*kinds) for row in turn if row])
    return [row for turn in zip_longest(*queues) for row in turn if row][:count]


def choose_scenes(plan: Plan, cells: Cells, place: Place, count: int) -> list[int]:
    """Seeds that every arm of a sweep has met at a place: first those on which the arms differ most in how they end."""
    outcomes = []
    for arm in plan.arms:
        cell = plan.cell(place, arm)
        assert cell
        outcomes.append({row["seed"]: bool(row["success"]) for row in cells.rows(cell.setting, plan.episodes)})
    shared = set.intersection(*map(set, outcomes))

    def alike(seed: int) -> int:
        successes = sum(mine[seed] for mine in outcomes)
        return max(successes, len(outcomes) - successes)

    return sorted(shared, key=lambda seed: (alike(seed), seed))[:count]


def scenes_to_film(plan: Plan, cells: Cells, count: int) -> dict[Job, Row]:
    """The jobs that film `count` scenes of each place in every arm, and the rows of the episodes that they repeat."""
    found = {}
    for place in plan.places:
        for seed in choose_scenes(plan, cells, place, count):
            for arm in plan.arms:
                cell = plan.cell(place, arm)
                assert cell
                (row,) = (row for row in cells.rows(cell.setting, plan.episodes) if row["seed"] == seed)
                found[Job(cell.setting, cell.policy, seed, video=film_path(cells.path(cell.setting), row))] = row
    return found


def film_path(folder: Path, row: Row) -> str:
    """Where the film of an episode lies in its run folder."""
    return str(folder / VIDEOS / f"{row['mode']}-{row['seed']}-{'success' if row['success'] else 'failure'}.mp4")


def film(wanted: Mapping[Job, Row], run_jobs: Callable[[Sequence[Job]], Iterator[Row]]) -> None:
    """Run jobs that have no whole film yet once more, from their seeds, and warn of those that did not repeat.

    Args:
        wanted: jobs that name a film, and the rows of the episodes that they repeat.
        run_jobs: gives the rows of jobs, in their order.
    """
    from vlatency.experiments.recording.video import is_whole

    jobs = [job for job in wanted if job.video and not is_whole(Path(job.video))]
    if not jobs:
        return
    changed = []
    with bars() as progress:
        progress.add("film", len(jobs))
        for again, job in zip(run_jobs(jobs), jobs, strict=True):
            progress.advance("film")
            if again["trajectory_hash"] != wanted[job]["trajectory_hash"]:
                changed.append(f"{again['mode']}, seed {again['seed']}")
    for episode in changed:
        print(f"warning: {episode} did not repeat when filmed", file=sys.stderr)
