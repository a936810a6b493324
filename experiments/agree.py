"""Check that simulated time agrees with real threads on the wall clock.

python experiments/agree.py --episodes 10
"""

import os
import sys
from dataclasses import dataclass, replace
from functools import partial

from vlatency.experiments.evaluation.configuration import OURS, Configuration, TaskName, find_mapping
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.facts import probe
from vlatency.experiments.evaluation.options import ClockOptions, EncodeOptions, Size
from vlatency.experiments.evaluation.run_config import describe
from vlatency.experiments.parallel.engine import SINGLE_THREADED
from vlatency.experiments.reporting.header import header
from vlatency.experiments.shared.command import check_range, run
from vlatency.experiments.shared.progress import bars

DISAGREE = 1
"""Exit status."""


@dataclass(frozen=True)
class Args:
    """Run the same agent in simulated time and with real threads (async mode), and compare feature ages and success.

    The exit status is 1 if they disagree. The wall clock needs an idle machine: other load makes threads late.
    """

    env: str = OURS
    """vlatency: our pick tasks, see --task; or another environment, as run.py takes it."""
    env_config: str = ""
    """The YAML file of that environment."""
    task: TaskName = "static"
    """Pick task."""
    views: int = 3
    """Use the first N of the cameras top, wrist, front, left, right."""
    res: Size = (224, 224)
    """Size to which each 640x360 view is resized [px]: 224 for 224x224, or WIDTHxHEIGHT."""
    latency: str = "fixed:400,30"
    """How long encoder and head take: fixed:VL_MS,HEAD_MS or a profile. It must exceed what this machine needs."""
    perf_factor: float = 1.0
    """Multiply every latency."""
    spread: float = 1.3
    """Spread constant encode latencies log-normally, with a p95 of this many times the median; 1 keeps them constant.
    Constant latencies put all ages on few values, so that a thread that wakes 1 ms late changes their distance."""
    episodes: int = 10
    """Episodes of each arm, on the same seeds."""
    seed: int = 10_000
    """Seed of the first episode; evaluation seeds are below 1000000."""
    policy: str = "tiny"
    """A policy in assets/policies, the folder of another one, or a policy of others, as run.py takes it."""


def main(args: Args) -> None:
    """Run both arms and print the comparison. The exit status is 1 if they disagree."""
    # Imported here so that --help answers at once.
    from vlatency.envs.tasks import find_task
    from vlatency.experiments.checks.agreement import compare, in_simulation, on_the_wall_clock, run_arm, spread

    (setting,), policy = Configuration(
        env=args.env,
        env_config=args.env_config,
        task=args.task,
        policy=args.policy,
        encode=EncodeOptions(views=args.views, res=args.res),
        clock=ClockOptions(mode=("async",), latency=args.latency, perf_factor=args.perf_factor),
    ).settings(args.seed, args.episodes)
    check_range("the latency of an encode in ms", setting.timing.latency.vl_ms, 1, 5000)
    check_range("spread", args.spread, 1, 3)
    os.environ.update(SINGLE_THREADED)
    facts = probe(Job(setting, policy, args.seed))
    print("\n".join(header(describe([setting], policy, facts))))
    print(f"spread p95 of constant encode latencies is {args.spread:g} times the median")
    ours = args.env == OURS
    task = find_task(args.task) if ours else find_mapping(args.env, args.env_config)
    limit_s = args.episodes * task.time_limit_s
    print(f"the wall clock takes as long as the episodes last: at most {limit_s:.0f} s", flush=True)
    timing = replace(setting.timing, latency=spread(setting.timing.latency, args.spread))
    setting = replace(setting, timing=timing)
    jobs = [Job(setting, policy, seed) for seed in range(args.seed, args.seed + args.episodes)]
    with bars() as progress:
        progress.add("simulated", len(jobs))
        progress.add("wall clock", len(jobs))
        simulated = run_arm("simulated", jobs, in_simulation, partial(progress.advance, "simulated"))
        wall = run_arm("wall clock", jobs, on_the_wall_clock, partial(progress.advance, "wall clock"))
    agreed, lines = compare(simulated, wall)
    print("\n".join(lines))
    if not agreed:
        sys.exit(DISAGREE)


if __name__ == "__main__":
    run(main, Args)
