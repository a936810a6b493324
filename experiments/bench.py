"""Compare speed with its targets. Each figure is a ratio of two measurements in one run, so that the machine cancels.

python experiments/bench.py --episodes 20
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vlatency.experiments.evaluation.configuration import Configuration
from vlatency.experiments.evaluation.episodes import Job, run_episode
from vlatency.experiments.evaluation.facts import probe
from vlatency.experiments.evaluation.options import ClockOptions
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.shared.command import RunError, check_range, run
from vlatency.experiments.shared.provenance import cores

SEED = 10_000
"""Of the first episode."""
LATENCIES = (ClockOptions.latency, "fixed:20,11")
"""The default, and one at which there are five looks for each that is read."""
PEER_EPISODES = 4
"""Episodes of the peers' loop. They are timed per control step, of which few episodes have many."""


@dataclass(frozen=True)
class Args:
    """Measure the cost of drawing and of the clock, and the gains of lazy looks and of a second worker, in minutes.

    Beside another load the ratios of one process hold, but not those of two workers.
    """

    rounds: int = 40
    """How often our drawing and MuJoCo's are timed, in turns."""
    episodes: int = 20
    """Episodes that time the clock and the workers: task static, async, three views at 224x224."""


def main(args: Args) -> None:
    """Print each figure as soon as it is measured. RunError if a target is missed."""
    # Imported here so that --help answers at once.
    from vlatency.experiments.checks.clock_share import measure_clock
    from vlatency.experiments.checks.laziness import measure_laziness
    from vlatency.experiments.checks.peer_loop import against_peers
    from vlatency.experiments.checks.raw_drawing import measure_drawing
    from vlatency.experiments.checks.target import Target

    check_range("rounds", args.rounds, 1)
    check_range("episodes", args.episodes, 2)
    jobs, fast = (_jobs(ClockOptions(mode=("async",), latency=latency), args.episodes) for latency in LATENCIES)
    load = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    print(f"{cores()} cores{load}", flush=True)
    targets = []

    def report(target: Target) -> None:
        print(target, flush=True)
        targets.append(target)

    with Workers(1) as one, Workers(2) as two, Workers(1) as peer:
        report(one.call(measure_drawing, args.rounds))
        report(one.call(measure_clock, jobs))
        report(one.call(measure_laziness, ("default latency", None, jobs)))
        report(one.call(measure_laziness, ("encodes of 20 ms", 0.35, fast[: args.episodes // 2])))
        alone_h, both_h = _episodes_per_hour(one, jobs, 1), _episodes_per_hour(two, jobs, 2)
        detail = f"{both_h:.0f} against {alone_h:.0f} episodes per hour"
        report(Target("two workers against one", both_h / alone_h, least=1.8, detail=detail))
        for target in peer.call(against_peers, (both_h, jobs[:PEER_EPISODES])):
            report(target)
    if missed := [target.what for target in targets if not target.met]:
        raise RunError(f"{len(missed)} of {len(targets)} targets missed: {', '.join(missed)}")


def _jobs(clock: ClockOptions, count: int) -> list[Job]:
    (setting,), policy = Configuration(clock=clock).settings(SEED, count)
    return [Job(setting, policy, seed) for seed in range(SEED, SEED + count)]


def _episodes_per_hour(workers: Workers, jobs: Sequence[Job], count: int) -> float:
    # Every worker first opens its world and its policy. A probe takes seconds, so that no worker gets two.
    list(workers.map(probe, jobs[:count]))
    started = time.perf_counter()
    done = len(list(workers.map(run_episode, jobs)))
    return 3600 * done / (time.perf_counter() - started)


if __name__ == "__main__":
    run(main, Args)
