"""Record demonstrations in simulation: from the scripted expert, or from a policy that the expert labels (DAgger).

python experiments/collect.py --out runs/demos --tasks static conveyor --episodes 400
"""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from vlatency.experiments.evaluation.configuration import TaskName
from vlatency.experiments.evaluation.options import Size
from vlatency.experiments.evaluation.setting import FIRST_TRAINING_SEED
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.shared.command import check_range, run
from vlatency.experiments.shared.progress import bars
from vlatency.experiments.shared.provenance import cores
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Record demonstrations. If a run was interrupted, the same command continues it."""

    out: Path = Path("runs/demos")
    """Folder for the shards."""
    episodes: int = 3200
    """Total number of episodes."""
    per_shard: int = 20
    """Episodes per shard."""
    tasks: tuple[TaskName, ...] = ("static",)
    """Tasks to draw scenes from, one shard each in turn. List a task twice to get twice as many of its episodes."""
    res: Size = (224, 224)
    """Stored image size, which is also what --policy sees: 224 for 224x224, or WIDTHxHEIGHT."""
    speed: float | None = None
    """Speed of the belt or of the turntable's rim [m/s]; by default each episode draws its own."""
    every: int = 3
    """Store images at every N-th control tick (10 Hz). Sensor readings are stored at each."""
    policy: Path | None = None
    """Policy that acts instead of the expert, so that a later training can correct its mistakes."""
    seed: int = FIRST_TRAINING_SEED
    """Seed of the scenes. Seeds below 1000000 are reserved for evaluation and refused."""
    workers: int = cores()
    """Number of worker processes."""


def main(args: Args) -> None:
    """Check the arguments and record the shards that are missing."""
    # Imported here so that --help answers at once.
    from vlatency.envs.tasks import TASKS, check_speed
    from vlatency.experiments.training.recorder import ShardJob, record_shard
    from vlatency.experiments.training.shards import shard_path

    for name in ("episodes", "per_shard", "every", "workers"):
        check_range(name.replace("_", "-"), getattr(args, name), 1)
    if args.seed < FIRST_TRAINING_SEED:
        first = FIRST_TRAINING_SEED
        raise UsageError(f"seed must be at least {first}, not {args.seed}: the seeds below are kept for evaluation")
    if not args.tasks:
        raise UsageError("--tasks needs at least one task")
    for task in args.tasks:
        check_speed(TASKS[task], args.speed)
    if args.policy is not None and not (args.policy / "config.json").is_file():
        raise UsageError(f"{args.policy} is not a policy folder: it has no config.json")
    shards = -(-args.episodes // args.per_shard)
    jobs = [
        ShardJob(
            path=shard_path(args.out, number),
            task=args.tasks[number % len(args.tasks)],
            episodes=args.per_shard,
            seed=(args.seed, number),
            size=args.res,
            every=args.every,
            speed=args.speed,
            policy=args.policy,
        )
        for number in range(shards)
    ]
    missing = [job for job in jobs if not job.path.exists()]
    done = shards - len(missing)
    print(f"demonstrations of {', '.join(dict.fromkeys(args.tasks))}: {done} of {shards} shards are in {args.out}")
    with Workers(args.workers) as workers, bars() as progress:
        progress.add("shards", shards, done)
        for _ in workers.map(record_shard, missing):
            progress.advance("shards")
    print(f"{args.out}/  {shards} shards    next: python experiments/train.py --data {quote(str(args.out))}")


if __name__ == "__main__":
    run(main, Args)
