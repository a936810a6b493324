"""Measure the scripted expert: whether a task can be done at all, and up to which speed.

python experiments/expert.py --task conveyor --speeds 0.05 0.1 0.15 0.2
"""

from dataclasses import dataclass
from statistics import median
from typing import Literal

from vlatency.experiments.analysis.paired import wilson
from vlatency.experiments.evaluation.configuration import TaskName
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.reporting.wording import limits
from vlatency.experiments.shared.command import check_range, run
from vlatency.experiments.shared.provenance import cores


@dataclass(frozen=True)
class Args:
    """Measure how often the scripted expert, which knows the full state, succeeds in a world that waits for it."""

    task: TaskName | Literal["all"] = "all"
    """Pick task, or all."""
    episodes: int = 100
    """Episodes of each task and speed."""
    speeds: tuple[float, ...] = ()
    """Speeds of the belt or of the turntable's rim [m/s]; by default each episode draws its own."""
    control_hz: float = 10.0
    """Set-points per second of simulated time [Hz]."""
    seed: int = 20_000
    """Seed of the first episode."""
    workers: int = cores()
    """Number of worker processes."""


def main(args: Args) -> None:
    """Print the success rate of each task and speed, and the seeds that failed."""
    # Imported here so that --help answers at once.
    from vlatency.envs.tasks import TASKS, check_speed
    from vlatency.experiments.checks.expert_success import Attempt, time_to_success

    for name, least in (("episodes", 1), ("workers", 1), ("seed", 0)):
        check_range(name, getattr(args, name), least)
    tasks = list(TASKS.values()) if args.task == "all" else [TASKS[args.task]]
    cells = [(task, speed) for task in tasks for speed in args.speeds or (None,)]
    for task, speed in cells:
        check_speed(task, speed)
    seeds = range(args.seed, args.seed + args.episodes)
    print(f"the expert, {args.control_hz:g} Hz, seeds {seeds[0]} to {seeds[-1]}\n")
    print("task        speed m/s  k/n      95 % CI    median s  seeds that failed")
    with Workers(args.workers) as workers:
        for task, speed in cells:
            attempts = [Attempt(task.name, speed, args.control_hz, seed) for seed in seeds]
            times = list(workers.map(time_to_success, attempts))
            picked = [time for time in times if time is not None]
            failed = [str(seed) for seed, time in zip(seeds, times, strict=True) if time is None]
            shown = f"{speed:g}" if speed is not None else "drawn" if task.moves else "-"
            typical = f"{median(picked):.1f}" if picked else "-"
            print(
                f"{task.name:<11} {shown:<10} {f'{len(picked)}/{len(times)}':<8} "
                f"{limits(wilson(len(picked), len(times))):<10} {typical:>8}  {' '.join(failed[:12])}",
                flush=True,
            )


if __name__ == "__main__":
    run(main, Args)
