"""How late may it be? The largest latency (delay, speed) at which a task still succeeds often enough, with an interval.

python experiments/budget.py --task conveyor --speed 0.05 --min-success 0.9
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from vlatency.experiments.analysis.threshold import Design, Limit
from vlatency.experiments.evaluation.configuration import Configuration
from vlatency.experiments.evaluation.episodes import Job, run_episode
from vlatency.experiments.evaluation.facts import probe
from vlatency.experiments.evaluation.options import ClockOptions, EngineOptions
from vlatency.experiments.evaluation.setting import Setting, name_of
from vlatency.experiments.parallel.engine import Engine
from vlatency.experiments.shared import command, provenance
from vlatency.experiments.shared.files import check_writable, locked
from vlatency.experiments.sweeps.limit_search import (
    AXES,
    AxisName,
    Record,
    declaration,
    interval,
    levels_between,
    one_setting,
    search,
    tornado,
    tried,
)

RUNS = Path("runs")


@dataclass(frozen=True)
class Args:
    """Search the limit of one axis: the largest value at which success is still high enough.

    What is tried next depends on what was seen, by a rule that is declared before the first episode, so that the
    interval holds whenever the search ends. Success is assumed not to rise along the axis. With the same options, a
    search goes on where it stopped.
    """

    configuration: Configuration = Configuration(clock=ClockOptions(mode=("async",)))
    axis: AxisName = "vl-latency"
    """What is varied: the latency of the encode or of the head [ms], the delay of cameras or actuators [ms], or the
    speed of belt or rim [m/s]. The rest stays as --latency and the other options say."""
    all_axes: bool = False
    """Search every axis in milliseconds, one after the other, and say which millisecond hurts most."""
    min_success: float = 0.9
    """The success rate that is high enough, above 0 and below 1."""
    low: float | None = None
    """Lowest value that is tried; default is the axis' own."""
    high: float | None = None
    """Highest value that is tried."""
    width: float | None = None
    """The search ends when the interval is no wider; default is a sixteenth of the range."""
    most: int = 600
    """The search ends after so many episodes, whatever the width. A finished one goes on with more."""
    batch: int = 10
    """Episodes that are run at one value before the next is chosen."""
    seed: int = 100_000
    """Seed of the first episode; no scene is used twice."""
    out: Path | None = None
    """Folder of this search; default is runs/ with a name made from these options."""
    parallel: EngineOptions = EngineOptions()


def main(args: Args) -> None:
    """Search one axis, or all in milliseconds, and print the intervals and what they rest on."""
    names = [name for name, axis in AXES.items() if axis.unit == "ms"] if args.all_axes else [args.axis]
    tasks = [
        replace(args, axis=name, out=args.out and (args.out / name if args.all_axes else args.out)) for name in names
    ]
    with ExitStack() as stack:
        workers = stack.enter_context(args.parallel.open(gpu=args.configuration.device == "cuda"))
        limits = {task.axis: _search(task, workers) for task in tasks}
    if args.all_axes:
        print("\n".join(["", *tornado(limits)]))
    print(f"again  {provenance.command_line(sys.argv)}")


def _search(args: Args, workers: Engine) -> Limit:
    """Declare the search of one axis, run it, and print it."""
    axis, design = AXES[args.axis], _design(args)
    seeds = args.seed, args.most + args.batch
    base = one_setting(args.configuration, *seeds)[0].timing.latency

    def at(value: float) -> tuple[Setting, str]:
        return one_setting(axis.apply(args.configuration, value, base), *seeds)

    at(design.levels[-1])  # what is wrong there is said before the first episode
    setting, policy = at(design.levels[0])
    folder = args.out or RUNS / f"budget-{args.axis}-{name_of([setting])}-{args.min_success:g}"
    check_writable(folder)
    facts = workers.call(probe, Job(setting, policy, args.seed))
    with locked(folder):
        record = Record(folder, declaration(design, args.axis, setting, policy, facts.software))
        print(f"{args.axis} from {design.levels[0]:g} to {design.levels[-1]:g} {axis.unit}; {folder}/", flush=True)
        found = search(
            design,
            record,
            args.seed,
            at,
            lambda jobs: list(workers.map(run_episode, jobs)),
            lambda state, value: print(f"  {value:g} {axis.unit}: {interval(state.limit, axis.unit)}", flush=True),
        )
    print("\n".join(["", *tried(found, axis.unit), ""]))
    print(f"limit  {interval(found.limit, axis.unit)}, for a success of at least {args.min_success:.0%}", flush=True)
    return found.limit


def _design(args: Args) -> Design:
    """What the options declare. UsageError if it cannot be."""
    axis = AXES[args.axis]
    low, high = axis.low if args.low is None else args.low, axis.high if args.high is None else args.high
    levels = levels_between(low, high)
    width = (high - low) / 16 if args.width is None else args.width
    command.check_range("min-success", args.min_success, 0.01, 0.99)
    command.check_range("batch", args.batch, 1)
    command.check_range("most", args.most, args.batch)
    command.check_range("width", width, levels[1] - levels[0], high - low)
    return Design(levels, args.min_success, width, args.batch, args.most)


if __name__ == "__main__":
    command.run(main, Args)
