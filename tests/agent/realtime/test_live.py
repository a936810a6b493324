"""A latency that is measured as the episode runs charges each answer what it took, and no other."""

import numpy as np
import pytest

from tests.builders.world import FakePlant
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.cost.live import LiveLatency
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.requests import Infer
from vlatency.agent.realtime.timing import Latency, Mode, Timing
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.sim.clock import ms_to_ns


class Answering:
    """A policy whose n-th answer takes the n-th of some times."""

    def __init__(self, seed: int = 0) -> None:
        self.times_ms = np.random.default_rng(seed).uniform(1, 300, 1000)
        self.took_ms: list[float] = []

    def infer(self, requests: list[Infer]) -> list[np.ndarray]:
        self.took_ms.append(float(self.times_ms[len(self.took_ms)]))
        return [np.full((8, 5), 0.01 * len(self.took_ms))]

    def last_ms(self) -> float:
        return self.took_ms[-1]


def play(policy: Answering, latency: Latency, mode: Mode = "async") -> tuple[str, EpisodeTrace]:
    plant = FakePlant(seconds=4.0)
    timing = Timing(mode, latency=latency, stages=1, actions=SETPOINTS)
    (trace,) = run_episodes([episode(plant, ("top",), timing, np.random.default_rng(0))], policy)
    return plant.trajectory_hash, trace


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_each_answer_is_charged_what_it_took(mode: Mode) -> None:
    policy = Answering()
    _, trace = play(policy, LiveLatency(policy.last_ms), mode)
    took = [span.end_ns - span.start_ns for span in trace.spans if span.name == "encode"]
    assert len(took) > 5
    assert took == [ms_to_ns(ms) for ms in policy.took_ms[: len(took)]]


def test_the_same_times_give_the_same_run_bit_for_bit() -> None:
    policy = Answering()
    first = play(policy, LiveLatency(policy.last_ms))
    recorded = iter(policy.took_ms)
    again = play(Answering(seed=9), LiveLatency(lambda: next(recorded)))
    assert again == first


def test_answers_that_all_take_the_same_are_a_fixed_latency() -> None:
    assert play(Answering(), LiveLatency(lambda: 120.0)) == play(Answering(), FixedLatency(120.0, 0.0))


def test_outside_an_episode_nobody_measures() -> None:
    with pytest.raises(TypeError):
        LiveLatency().stream(np.random.default_rng(0))
