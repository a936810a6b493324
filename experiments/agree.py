"""Agreement with real threads: the same agent in simulated time and on the wall clock, on the same seeds.

Both arms draw the same latencies for the same jobs. What may differ is what real threads add: the moment at which a
sleeper wakes, the time in which views are drawn, a host busy with something else (`checks/wall_clock.py`). So the
ages of the features at the control ticks must have the same distribution, and as many picks must succeed.
"""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from vlatency.experiments.shared import command

if TYPE_CHECKING:
    from vlatency.agent.realtime.cost.latency import LatencyModel, LatencyStream
    from vlatency.agent.realtime.trace import EpisodeTrace
    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.envs.pick import PickEnv
    from vlatency.experiments.analysis.paired import Paired
    from vlatency.experiments.checks.wall_clock import Late
    from vlatency.experiments.evaluation.setting import Setting
    from vlatency.experiments.run import Args as RunArgs

LIMIT = 0.1
"""Kolmogorov-Smirnov distance from which on two distributions of ages count as different."""
FEW = 50
"""A distance between samples with fewer different ages than this says more about jitter than about the clock."""
BUSY = 0.2
"""Share of late control ticks from which on the host was too busy. Drawing makes about one in fifteen late."""
DISAGREE = 1
"""Exit status."""


@dataclass(frozen=True)
class Args:
    """Run the same agent in simulated time and on the wall clock with real threads (async mode), and compare.

    Exit status 1 if they disagree. The wall clock needs the machine for itself: other load makes threads late.
    """

    task: str = "static"
    """Pick task, as in run.py."""
    views: int = 3
    """Use the first N of the cameras top, wrist, front, left, right."""
    res: str = "224"
    """What the encoder gets of each 640x360 view: 224 for 224x224, or WIDTHxHEIGHT."""
    latency: str = "fixed:400,30"
    """What encoder and head sleep out: fixed:VL_MS,HEAD_MS, or a profile. More than this machine needs to compute."""
    perf_factor: float = 1.0
    """Multiply every latency."""
    spread: float = 1.3
    """Encodes with a constant latency are spread log-normally around it; their p95 is so many times the median. With 1
    they stay constant, but then all ages lie on few values, and a thread that wakes 1 ms late moves the distance."""
    episodes: int = 10
    """Episodes of each arm, on the same seeds."""
    seed: int = 10_000
    """Seed of the first episode, below 1000000, where the training seeds begin."""
    policy: str = "tiny"
    """A policy in assets/policies, or the folder of another one."""


@dataclass(frozen=True)
class Arm:
    """What the episodes of one arm were, seed by seed."""

    name: str
    outcomes: list[bool] = field(default_factory=list)
    traces: list["EpisodeTrace"] = field(default_factory=list)
    late: list["Late"] = field(default_factory=list)

    def add(self, success: bool, trace: "EpisodeTrace", late: "Late") -> None:
        """One more episode."""
        self.outcomes.append(success)
        self.traces.append(trace)
        self.late.append(late)

    @property
    def ages_ms(self) -> list[float]:
        """Of the features at the control ticks that had any, over all episodes."""
        ticks = [tick for trace in self.traces for tick in trace.ticks]
        return [tick.feature_age_ns / 1e6 for tick in ticks if tick.feature_age_ns is not None]

    def jobs(self, name: str) -> int:
        """How many encodes, or runs of the head, there were."""
        return sum(span.name == name for trace in self.traces for span in trace.spans)

    @property
    def ticks(self) -> int:
        """How many control ticks there were."""
        return sum(len(trace.ticks) for trace in self.traces)


def main(args: Args) -> None:
    """Run both arms, print the table and the verdict; exit status 1 if they disagree."""
    from vlatency.experiments.analysis.paired import paired
    from vlatency.experiments.evaluation.episodes import Job, probe, stage
    from vlatency.experiments.parallel.engine import SINGLE_THREADED
    from vlatency.experiments.reporting.run_header import header
    from vlatency.experiments.run import describe, resolve

    asked = _as_run(args)
    setting, folder = resolve(asked)
    command.check_range("the latency of an encode in ms", setting.vl_ms, 1, 5000)
    command.check_range("spread", args.spread, 1, 3)
    os.environ.update(SINGLE_THREADED)
    facts = probe(Job(setting, str(folder), "async", setting.seed))
    (env, *_), policy = stage(setting, str(folder))
    print("\n".join(header(describe(setting, folder, facts))))
    latency = spread(setting.latency_model, args.spread)
    print(f"spread p95 of the encodes is {args.spread:g} times the median, where their latency is constant")
    limit_s = args.episodes * env.task.time_limit_s
    print(f"the wall clock takes as long as the episodes last: at most {limit_s:.0f} s", flush=True)

    simulated, wall = _run(args, setting, latency, env, policy)
    if not (simulated.ages_ms and wall.ages_ms):
        raise command.RunError("no features were there before the episodes ended; choose a shorter --latency")
    distance = ks_distance(simulated.ages_ms, wall.ages_ms)
    result = paired(wall.outcomes, simulated.outcomes)
    _print_table(simulated, wall)
    print("\n".join(conclusions(simulated, wall, distance, result)))
    if not agree(distance, result):
        sys.exit(DISAGREE)


def _as_run(args: Args) -> "RunArgs":
    """The options of run.py that say the same."""
    from vlatency.experiments.run import Args as RunArgs

    same = ("task", "views", "res", "latency", "perf_factor", "episodes", "seed", "policy")
    return RunArgs(mode="async", **{name: getattr(args, name) for name in same})


def spread(model: "LatencyModel", ratio: float) -> "LatencyModel":
    """The same latencies; constant encodes become log-normal around their value, with p95 = `ratio` x median."""
    from vlatency.agent.realtime.cost.distribution import Lognormal, Steady
    from vlatency.agent.realtime.cost.latency import ProfileLatency

    def around(ms: float) -> Lognormal:
        z95, z99 = (NormalDist().inv_cdf(q) for q in (0.95, 0.99))
        return Lognormal(ms, ms * ratio, ms * ratio ** (z99 / z95))

    if not isinstance(model, ProfileLatency):
        return ProfileLatency("", "", "", around(model.vl_ms), Steady(model.head_ms), model.contention)
    return replace(model, encode=around(model.encode.ms)) if isinstance(model.encode, Steady) else model


def _run(
    args: Args, setting: "Setting", latency: "LatencyModel", env: "PickEnv", policy: "VLAPolicy"
) -> tuple[Arm, Arm]:
    """The simulated arm, and the one on the wall clock."""
    import numpy as np

    from vlatency.agent.realtime.driver import run_episodes
    from vlatency.agent.realtime.episode import episode
    from vlatency.agent.realtime.reuse import Latest
    from vlatency.experiments.checks.wall_clock import Late, WallClock, WallLoop
    from vlatency.experiments.evaluation.episodes import LATENCY_STREAM
    from vlatency.experiments.shared.progress import bars

    simulated, wall = Arm("simulated"), Arm("wall clock")
    cameras, hz = setting.optimization.cameras, setting.control_hz
    seeds = range(args.seed, args.seed + args.episodes)

    def begin(seed: int) -> "LatencyStream":
        env.reset(seed=seed)
        return latency.stream(np.random.default_rng((seed, LATENCY_STREAM)))

    with bars() as progress:
        progress.add(simulated.name, len(seeds))
        progress.add(wall.name, len(seeds))
        for seed in seeds:
            steps = episode(env, cameras, "async", Latest(), begin(seed), hz)
            (trace,) = run_episodes([steps], policy)
            simulated.add(env.success, trace, Late())
            progress.advance(simulated.name)
        for seed in seeds:
            stream = begin(seed)
            with ThreadPoolExecutor(1, "encoder") as encoder:
                trace, late = WallLoop(env, cameras, stream, hz, policy, WallClock(), encoder).run()
            wall.add(env.success, trace, late)
            progress.advance(wall.name)
    return simulated, wall


def ks_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Largest difference between the empirical distribution functions of two samples (Kolmogorov-Smirnov)."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(first, second, method="asymp").statistic)


def agree(distance: float, result: "Paired") -> bool:
    """The ages are closer than `LIMIT`, and the outcomes do not differ significantly."""
    return distance < LIMIT and not result.significant


def conclusions(simulated: Arm, wall: Arm, distance: float, result: "Paired") -> list[str]:
    """The sentences under the table."""
    from vlatency.experiments.reporting.mode_table import against
    from vlatency.experiments.shared.provenance import cores

    lines = [f"feature ages: Kolmogorov-Smirnov distance {distance:.3f}, limit {LIMIT:g}"]
    if (values := len(set(simulated.ages_ms))) < FEW:
        lines.append(
            f"these ages have {values} values only: a thread that wakes 1 ms late moves the distance (--spread)"
        )
    lines += [
        against(wall.name, simulated.name, result),
        f"worst tick {max(late.worst_tick_ns for late in wall.late) / 1e6:.0f} ms late; "
        f"load average {os.getloadavg()[0]:.1f} on {cores()} cores",
    ]
    late = sum(late.ticks for late in wall.late)
    if late > BUSY * wall.ticks:
        lines.append(f"the host could not keep up: {late} of {wall.ticks} ticks were late; repeat this on an idle one")
    return [*lines, f"simulated time and real threads {'agree' if agree(distance, result) else 'DISAGREE'}"]


def _print_table(*arms: Arm) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from vlatency.experiments.analysis.paired import wilson

    table = Table("", box=None, pad_edge=False)
    for head in ("\nsuccess", "\n95 % CI", "age ms\np50", "\np95", "\nages", "late\nencodes", "\nheads", "\nticks"):
        table.add_column(head, justify="right")
    for arm in arms:
        k, n = sum(arm.outcomes), len(arm.outcomes)
        interval = wilson(k, n)
        p50, p95 = np.percentile(arm.ages_ms, [50, 95])
        table.add_row(
            arm.name,
            f"{k}/{n}",
            f"\\[{100 * interval.low:.0f}, {100 * interval.high:.0f}]",
            f"{p50:.1f}",
            f"{p95:.1f}",
            f"{len(arm.ages_ms)}",
            f"{sum(late.encodes for late in arm.late)}/{arm.jobs('encode')}",
            f"{sum(late.heads for late in arm.late)}/{arm.jobs('head')}",
            f"{sum(late.ticks for late in arm.late)}/{arm.ticks}",
        )
    Console().print(table)


if __name__ == "__main__":
    command.run(main, Args)
