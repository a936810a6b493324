"""Measure the scripted expert: whether a task can be done at all, and up to which speed.

python experiments/expert.py --task all --episodes 100
python experiments/expert.py --task conveyor --speeds 0.05 0.1 0.15 0.2
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from vlatency.experiments.shared.command import run

if TYPE_CHECKING:
    from vlatency.envs.pick import PickEnv


@dataclass(frozen=True)
class Args:
    """How often the scripted expert, which knows where everything is, succeeds in a world that waits for nobody."""

    task: str = "all"
    """Pick task, or all."""
    episodes: int = 100
    """Episodes of each task and speed."""
    speeds: tuple[float, ...] = ()
    """Speeds of the belt or of the turntable's rim [m/s]; none draws one for each episode."""
    control_hz: float = 10.0
    """Set-points a second of simulated time [Hz]."""
    seed: int = 20_000
    """Seed of the first episode."""
    workers: int = os.cpu_count() or 1
    """Processes."""


@dataclass(frozen=True)
class Job:
    """One episode."""

    task: str
    speed: float | None
    control_hz: float
    seed: int


def main(args: Args) -> None:
    """Print k/n with its interval for each task and speed, and the seeds that failed."""
    from vlatency.envs.tasks import TASKS, check_speed, find_task
    from vlatency.experiments.analysis.paired import wilson
    from vlatency.experiments.parallel.processes import Workers
    from vlatency.experiments.shared.command import check_range

    check_range("episodes", args.episodes, 1)
    check_range("workers", args.workers, 1)
    names = list(TASKS) if args.task == "all" else [find_task(args.task).name]
    speeds: tuple[float | None, ...] = args.speeds or (None,)
    for name in names:
        for speed in speeds:
            check_speed(TASKS[name], speed)
    seeds = range(args.seed, args.seed + args.episodes)
    print(f"the expert, {args.control_hz:g} Hz, seeds {seeds[0]} to {seeds[-1]}\n")
    print("task        speed m/s  k/n       rate  95 % CI       median s  seeds that failed")
    with Workers(args.workers) as workers:
        for name in names:
            for speed in speeds:
                times = list(workers.map(attempt, [Job(name, speed, args.control_hz, seed) for seed in seeds]))
                picked = sorted(time for time in times if time is not None)
                failed = [str(seed) for seed, time in zip(seeds, times, strict=True) if time is None]
                rate = wilson(len(picked), len(times))
                shown = "drawn" if speed is None and TASKS[name].moves else "-" if speed is None else f"{speed:g}"
                median = f"{picked[len(picked) // 2]:.1f}" if picked else "-"
                print(
                    f"{name:<11} {shown:<10} {f'{len(picked)}/{len(times)}':<8} {rate.estimate:>5.0%}"
                    f"  [{rate.low:>4.0%}, {rate.high:>4.0%}]  {median:>8}  {' '.join(failed[:12])}",
                    flush=True,
                )


@lru_cache(maxsize=1)
def _env(task: str, speed: float | None, control_hz: float) -> "PickEnv":
    from vlatency.envs.pick import PickEnv

    return PickEnv(task, cameras=("top",), control_hz=control_hz, speed=speed)


def attempt(job: Job) -> float | None:
    """Simulated time in which the expert succeeds [s]; None where it does not."""
    import gymnasium.utils.seeding

    from vlatency.envs.expert import expert, scene_of
    from vlatency.sim.clock import NS_PER_S, hz_to_period_ns, ns_to_s

    env = _env(job.task, job.speed, job.control_hz)
    # Without `reset`, which would render an observation that nobody looks at.
    env.begin(gymnasium.utils.seeding.np_random(job.seed)[0], {})
    ticks = 0
    while not env.done:
        env.command(expert(scene_of(env))[0])
        ticks += 1
        env.advance_to(min(ticks * hz_to_period_ns(job.control_hz), round(env.task.time_limit_s * NS_PER_S)))
    return None if env.success_ns is None else ns_to_s(env.success_ns)


if __name__ == "__main__":
    run(main, Args)
