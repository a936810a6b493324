"""How late may it be? The largest latency (delay, speed) at which a task still succeeds often enough, with an interval.

python experiments/budget.py --task conveyor --speed 0.05 --min-success 0.9
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vlatency.experiments.analysis.threshold import Design
from vlatency.experiments.evaluation.configuration import Configuration
from vlatency.experiments.evaluation.episodes import Job, run_episode
from vlatency.experiments.evaluation.facts import probe
from vlatency.experiments.evaluation.options import ClockOptions, EngineOptions
from vlatency.experiments.evaluation.setting import Setting, name_of
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
    tried,
)
from vlatency.sim.errors import UsageError

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
    speed of belt or rim [m/s]."""
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
    other_ms: float = 11.0
    """vl-latency: latency of sensors and head [ms]; head-latency: that of the encode."""
    seed: int = 100_000
    """Seed of the first episode; no scene is used twice."""
    out: Path | None = None
    """Folder of this search; default is runs/ with a name made from these options."""
    parallel: EngineOptions = EngineOptions()


def main(args: Args) -> None:
    """Declare the search, run it, print the interval and what it rests on."""
    axis = AXES[args.axis]
    design = _design(args)
    if axis.charges and args.configuration.clock.latency != ClockOptions.latency:
        raise UsageError(f"{args.axis} is what is varied; leave --latency out")

    def at(value: float) -> tuple[Setting, str]:
        configuration = axis.apply(args.configuration, value, args.other_ms)
        return one_setting(configuration, args.seed, args.most + args.batch)

    at(design.levels[-1])  # what is wrong there is said before the first episode
    setting, policy = at(design.levels[0])
    folder = args.out or RUNS / f"budget-{args.axis}-{name_of([setting])}-{args.min_success:g}"
    check_writable(folder)
    with ExitStack() as stack:
        workers = stack.enter_context(args.parallel.open(gpu=args.configuration.device == "cuda"))
        facts = workers.call(probe, Job(setting, policy, args.seed))
        stack.enter_context(locked(folder))
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
    print(f"limit  {interval(found.limit, axis.unit)}, for a success of at least {args.min_success:.0%}")
    print(f"again  {provenance.command_line(sys.argv)}")


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
