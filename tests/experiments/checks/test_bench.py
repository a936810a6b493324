"""What the bench compares is comparable, and its verdicts follow its targets."""

import time

import pytest

from tests.builders.short_episodes import Rule, job, open_world
from vlatency.agent.realtime.driver import run_episodes
from vlatency.experiments.checks.clock_share import Timed
from vlatency.experiments.checks.peer_loop import DefaultRenderer, play
from vlatency.experiments.checks.target import Target
from vlatency.experiments.evaluation.episodes import in_simulated_time
from vlatency.experiments.evaluation.worlds import lay_out


def test_a_target_is_a_bound_on_one_side() -> None:
    assert Target("a", 1.8, least=1.8).met and not Target("a", 1.79, least=1.8).met
    assert Target("a", 1.0, most=1).met and not Target("a", 1.01, most=1).met
    assert "MISSED" in str(Target("a", 1.7, least=1.8)) and "met" in str(Target("a", 2, least=1.8))
    assert Target("a", 9.0).met and "met" not in str(Target("a", 9.0))


def test_only_the_named_methods_are_timed() -> None:
    class Thing:
        size = 3

        def slow(self, seconds: float) -> float:
            time.sleep(seconds)
            return seconds

        idle = slow

    timed = Timed(Thing(), "slow")
    assert (timed.slow(0.02), timed.size) == (0.02, 3)
    spent = timed.seconds
    assert spent >= 0.02 and timed.idle(0.02) == 0.02 and timed.seconds == spent


@pytest.mark.gl
def test_the_peers_loop_is_the_paused_world() -> None:
    env, rule = open_world(), Rule()
    lay_out(job("pause").setting, job("pause").seed, env)
    (trace,) = run_episodes([in_simulated_time(job("pause"), env)], rule)
    paused = env.trajectory_hash
    assert play(env, rule, job("pause").seed) == len(trace.ticks) == 8
    assert env.trajectory_hash == paused
    plain = env.capture(("top",))["top"]
    env.close()
    env.arm.renderer = DefaultRenderer(env.arm.world.model)
    shaded = env.capture(("top",))["top"]
    assert (plain.astype(int) - shaded).max() > 50  # there are shadows
    env.close()
