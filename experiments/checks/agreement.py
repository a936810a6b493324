"""Whether simulated time agrees with real threads: the same agent, on the same seeds, with the same latencies.

What may differ is what real threads add: the moment at which a sleeping thread wakes, the time in which views are
drawn, a host that is busy with something else. So the ages of the features at the control ticks must have the same
distribution, and the same share of picks must succeed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from vlatency.agent.realtime.cost.distribution import Lognormal, Steady
from vlatency.agent.realtime.cost.latency import ProfileLatency
from vlatency.agent.realtime.driver import OneStagePolicy, Policy, run_episodes
from vlatency.agent.realtime.timing import Latency
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.analysis.paired import Paired, paired, wilson
from vlatency.experiments.checks.wall_clock import Host, Late, WallLoop, WholeLoop
from vlatency.experiments.evaluation.episodes import LATENCY_STREAM, Job, in_simulated_time, started, worlds_and_policy
from vlatency.experiments.evaluation.worlds import World, lay_out, opened_worlds
from vlatency.experiments.reporting.wording import comparison, limits
from vlatency.experiments.shared.command import RunError
from vlatency.experiments.shared.provenance import cores
from vlatency.experiments.shared.table import text_table
from vlatency.sim.clock import ns_to_ms

MAX_DISTANCE = 0.1
"""Two distributions of ages differ from this Kolmogorov-Smirnov distance on."""
FEW_AGES = 50
"""With fewer distinct ages than this, their distance says more about jitter than about the clock."""
BUSY = 0.2
"""The host was too busy if more than this share of control ticks came late. Drawing delays about one in fifteen."""


@dataclass(frozen=True)
class Arm:
    """The episodes of one arm, seed by seed."""

    name: str
    outcomes: list[bool] = field(default_factory=list)
    traces: list[EpisodeTrace] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)

    @property
    def ages_ms(self) -> list[float]:
        """Feature ages at all control ticks at which there were features [ms]."""
        ticks = [tick for trace in self.traces for tick in trace.ticks]
        return [ns_to_ms(tick.feature_age_ns) for tick in ticks if tick.feature_age_ns is not None]

    def ticks(self) -> tuple[int, int]:
        """Number of late control ticks, and of all."""
        return sum(late.ticks for late in self.late), sum(len(trace.ticks) for trace in self.traces)

    def row(self) -> list[str]:
        """The arm's row in the table."""
        k, n = sum(self.outcomes), len(self.outcomes)
        spans = [span.name for trace in self.traces for span in trace.spans]
        p50, p95 = np.percentile(self.ages_ms, [50, 95])
        late_ticks, ticks = self.ticks()
        return [
            self.name,
            f"{k}/{n}",
            limits(wilson(k, n)),
            f"{p50:.1f}",
            f"{p95:.1f}",
            f"{len(self.ages_ms)}",
            f"{sum(late.encodes for late in self.late)}/{spans.count('encode')}",
            f"{sum(late.heads for late in self.late)}/{spans.count('head')}",
            f"{late_ticks}/{ticks}",
        ]


Run = Callable[[Job, World, Policy | OneStagePolicy], tuple[EpisodeTrace, Late]]
"""Runs an episode whose scene is laid out."""
HEADS = ("", "success", "95 % CI", "age ms\np50", "\np95", "\nages", "late\nencodes", "\nheads", "\nticks")


def run_arm(name: str, jobs: Sequence[Job], run: Run, advance: Callable[[], None]) -> Arm:
    """The episodes of one arm, each by `run`; `advance` is called after each."""
    arm = Arm(name)
    for job in jobs:
        with _world_and_policy(job) as (world, policy):
            lay_out(job.setting, job.seed, world)
            trace, late = run(job, world, policy)
        arm.outcomes.append(world.success)
        arm.traces.append(trace)
        arm.late.append(late)
        advance()
    return arm


@contextmanager
def _world_and_policy(job: Job) -> Iterator[tuple[World, Policy | OneStagePolicy]]:
    if not job.setting.guest:
        (world, *_), policy = worlds_and_policy(job.setting, job.policy)
        yield world, policy
        return
    (world, *_) = opened_worlds(job.setting)
    with started(job, "") as guest:
        yield world, guest


def in_simulation(job: Job, world: World, policy: Policy | OneStagePolicy) -> tuple[EpisodeTrace, Late]:
    """Run an episode in simulated time, in which nothing is ever late."""
    (trace,) = run_episodes([in_simulated_time(job, world)], policy)
    return trace, Late()


def on_the_wall_clock(job: Job, world: World, policy: Any) -> tuple[EpisodeTrace, Late]:
    """Run an episode with real threads. It takes as long as the simulated time that it covers."""
    setting, timing = job.setting, job.setting.timing
    latency = timing.latency.stream(np.random.default_rng((job.seed, LATENCY_STREAM)))
    with Host() as host:
        if setting.guest:
            return WholeLoop(world, setting.cameras, latency, timing, policy, host).run()
        return WallLoop(world, setting.cameras, latency, timing.control_hz, policy, host).run()


def spread(model: Latency, ratio: float) -> Latency:
    """Replace constant encode latencies by log-normal ones of the same median, with a p95 of `ratio` times the median.

    Constant latencies put all ages on few values, and then a thread that wakes 1 ms late changes their distance.
    """

    def around(ms: float) -> Lognormal:
        z95, z99 = (NormalDist().inv_cdf(q) for q in (0.95, 0.99))
        return Lognormal(ms, ms * ratio, ms * ratio ** (z99 / z95))

    if not isinstance(model, ProfileLatency):
        return ProfileLatency(model.name, "", "", around(model.vl_ms), Steady(model.head_ms), model.contention)
    return replace(model, encode=around(model.encode.ms)) if isinstance(model.encode, Steady) else model


def ks_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Largest difference between the empirical distribution functions of two samples (Kolmogorov-Smirnov)."""
    return float(ks_2samp(first, second, method="asymp").statistic)


def agree(distance: float, outcomes: Paired) -> bool:
    """Whether the ages are closer than `MAX_DISTANCE` and the outcomes do not differ significantly."""
    return distance < MAX_DISTANCE and not outcomes.significant


def compare(simulated: Arm, wall: Arm) -> tuple[bool, list[str]]:
    """Whether two arms agree, and the lines that say so.

    Raises:
        RunError: an arm has no ages, because its episodes ended before there were features.
    """
    if not (simulated.ages_ms and wall.ages_ms):
        raise RunError("the episodes ended before there were any features; choose a shorter --latency")
    distance = ks_distance(simulated.ages_ms, wall.ages_ms)
    outcomes = paired(wall.outcomes, simulated.outcomes)
    agreed = agree(distance, outcomes)
    lines = text_table(HEADS, [simulated.row(), wall.row()])
    lines.append(f"feature ages: Kolmogorov-Smirnov distance {distance:.3f}, must be below {MAX_DISTANCE:g}")
    if (values := len(set(simulated.ages_ms))) < FEW_AGES:
        lines.append(f"the ages have only {values} values, so a thread that wakes 1 ms late changes the distance")
    worst_ms = ns_to_ms(max(late.worst_tick_ns for late in wall.late))
    lines += [
        f"{wall.name} against {simulated.name}: {comparison(outcomes)}",
        f"latest tick {worst_ms:.0f} ms late; load average {os.getloadavg()[0]:.1f} on {cores()} cores",
    ]
    late, ticks = wall.ticks()
    if late > BUSY * ticks:
        lines.append(f"the host was too busy: {late} of {ticks} ticks were late; repeat on an idle host")
    return agreed, [*lines, f"simulated time and real threads {'agree' if agreed else 'DISAGREE'}"]
