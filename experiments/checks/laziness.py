"""What an episode costs when looks that nobody reads are neither drawn nor encoded, against all of them."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlatency.agent.realtime.driver import Policy, run_episodes
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.experiments.checks.target import Target
from vlatency.experiments.evaluation.episodes import Job, in_simulated_time, worlds_and_policy
from vlatency.experiments.evaluation.worlds import lay_out


class Eager:
    """The same policy, which puts nothing off."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def encode(self, requests: list[Encode]) -> Sequence[object]:
        """Features that are there already."""
        return self._policy.encode([replace(request, deferrable=False) for request in requests])

    def act(self, requests: list[Act]) -> Sequence[np.ndarray]:
        """The policy's own action."""
        return self._policy.act(requests)


def measure_laziness(measured: tuple[str, float | None, Sequence[Job]]) -> Target:
    """CPU time of episodes over that of the same ones with every look drawn and encoded, in turns.

    Args:
        measured: what the episodes are, the target, and the episodes.

    Raises:
        AssertionError: an episode is another one without laziness.
    """
    what, most, jobs = measured
    (env, *_), policy = worlds_and_policy(jobs[0].setting, jobs[0].policy)
    lazy_s: list[float] = []
    eager_s: list[float] = []
    for job in (jobs[0], *jobs):  # the first one loads and compiles what is needed once
        hashes = set()
        for arm, seconds in ((policy, lazy_s), (Eager(policy), eager_s)):
            started = time.process_time()
            lay_out(job.setting, job.seed, env)
            run_episodes([in_simulated_time(job, env)], arm)
            seconds.append(time.process_time() - started)
            hashes.add(env.trajectory_hash)
        assert len(hashes) == 1, f"seed {job.seed} is another episode without laziness"
    lazy_ms, eager_ms = (1e3 * float(np.mean(seconds[1:])) for seconds in (lazy_s, eager_s))
    detail = f"{lazy_ms:.0f} against {eager_ms:.0f} ms of CPU time per episode"
    return Target(f"lazy against eager looks, {what}", lazy_ms / eager_ms, most=most, detail=detail)
