"""How the scripted expert does in an episode of a world that waits for it."""

from dataclasses import dataclass
from functools import lru_cache

from gymnasium.utils.seeding import np_random

from vlatency.envs.expert import expert, scene_of
from vlatency.envs.pick import PickEnv
from vlatency.sim.clock import hz_to_period_ns, ns_to_s, s_to_ns


@dataclass(frozen=True)
class Attempt:
    """One episode: task, speed [m/s] if it is not drawn, control rate [Hz] and seed."""

    task: str
    speed: float | None
    control_hz: float
    seed: int


def time_to_success(attempt: Attempt) -> float | None:
    """Simulated time in which the expert succeeds [s]; None if it does not."""
    env = _env(attempt.task, attempt.speed, attempt.control_hz)
    # `reset` would also render an observation, which nobody needs.
    env.begin(np_random(attempt.seed)[0], {})
    ticks = 0
    while not env.done:
        env.command(expert(scene_of(env))[0])
        ticks += 1
        env.advance_to(min(ticks * hz_to_period_ns(attempt.control_hz), s_to_ns(env.task.time_limit_s)))
    return None if env.success_ns is None else ns_to_s(env.success_ns)


@lru_cache(maxsize=1)
def _env(task: str, speed: float | None, control_hz: float) -> PickEnv:
    return PickEnv(task, cameras=("top",), control_hz=control_hz, speed=speed)
