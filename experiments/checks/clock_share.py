"""What the clock and the driver cost of an episode's host time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from vlatency.agent.realtime.driver import run_episodes
from vlatency.experiments.checks.target import Target
from vlatency.experiments.evaluation.episodes import Job, in_simulated_time, worlds_and_policy
from vlatency.experiments.evaluation.worlds import lay_out


class Timed:
    """Any object, with the time that some of its methods take added up in `seconds`."""

    def __init__(self, thing: Any, *methods: str) -> None:
        self.seconds = 0.0
        self._thing = thing
        for name in methods:
            setattr(self, name, self._timed(getattr(thing, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*args)
            finally:
                self.seconds += time.perf_counter() - started

        return timed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def measure_clock(jobs: Sequence[Job]) -> Target:
    """The share of host time spent neither in the world nor in the policy: on events, queue, driver and record."""
    (env, *_), vla = worlds_and_policy(jobs[0].setting, jobs[0].policy)
    whole_s = own_s = 0.0
    ticks = 0
    for job in jobs:
        lay_out(job.setting, job.seed, env)
        plant, policy = Timed(env, "advance_to", "capture", "command", "sensors"), Timed(vla, "encode", "act")
        started = time.perf_counter()
        (trace,) = run_episodes([in_simulated_time(job, plant)], policy)
        seconds = time.perf_counter() - started
        whole_s, own_s = whole_s + seconds, own_s + seconds - plant.seconds - policy.seconds
        ticks += len(trace.ticks)
    detail = f"{1e6 * own_s / ticks:.0f} us of {1e3 * whole_s / ticks:.1f} ms per control tick"
    return Target("clock and driver, % of an episode's time", 100 * own_s / whole_s, most=1, detail=detail)
