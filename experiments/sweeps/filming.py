"""Which scenes of a sweep are worth seeing in every configuration, and their films in the folders of the cells."""

from collections.abc import Callable, Iterator, Sequence

from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.run_folder import VIDEOS, Row
from vlatency.experiments.sweeps.cell_store import Cells
from vlatency.experiments.sweeps.plan import Place, Plan


def scenes(plan: Plan, cells: Cells, place: Place, count: int) -> list[int]:
    """Seeds that every arm has met there: first those on which most arms end differently from the others."""
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


def film(plan: Plan, cells: Cells, run_jobs: Callable[[Sequence[Job]], Iterator[Row]], count: int) -> list[str]:
    """Run `count` scenes of each place once more, in every arm, under film; what was filmed before is not again.

    Returns a line for each episode that did not repeat.
    """
    from vlatency.experiments.shared.progress import bars

    jobs: dict[str, Job] = {}
    rows: dict[str, Row] = {}
    for place in plan.places:
        for seed in scenes(plan, cells, place, count):
            for arm in plan.arms:
                cell = plan.cell(place, arm)
                assert cell
                (row,) = (row for row in cells.rows(cell.setting, plan.episodes) if row["seed"] == seed)
                name = f"{row['mode']}-{seed}-{'success' if row['success'] else 'failure'}.mp4"
                path = cells.path(cell.setting) / VIDEOS / name
                if not path.exists():
                    jobs[str(path)] = Job(cell.setting, cell.policy, row["mode"], seed, video=str(path))
                    rows[str(path)] = row
    changed = []
    with bars() as progress:
        progress.add("film", len(jobs))
        for again, row in zip(run_jobs(list(jobs.values())), rows.values(), strict=True):
            progress.advance("film")
            if again.get("trajectory_hash") != row.get("trajectory_hash"):
                changed.append(f"{row['mode']}, seed {row['seed']} did not repeat when filmed")
    return changed
