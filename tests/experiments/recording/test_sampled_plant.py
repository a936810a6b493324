"""A plant that is looked at."""

import numpy as np

from tests.builders.world import FakePlant, FakePolicy, Jitter, Streamed
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.timing import Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.recording.sampled_plant import SampledPlant
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.plant import Plant

PERIOD_NS = ms_to_ns(100)


def run(plant: Plant) -> None:
    timing = Timing("async", latency=Streamed(source=Jitter(3)), actions=SETPOINTS)
    run_episodes([episode(plant, ("top",), timing, np.random.default_rng(0))], FakePolicy())


def test_a_plant_that_is_looked_at_takes_the_same_trajectory() -> None:
    plain, watched = FakePlant(), FakePlant()
    run(plain)
    run(SampledPlant(watched, PERIOD_NS, lambda plant: None))
    assert watched.trajectory_hash == plain.trajectory_hash


def test_looks_come_in_equal_intervals_and_before_the_command_of_their_instant() -> None:
    plant = FakePlant()
    looks: list[int] = []
    commands: list[int] = []
    watched = SampledPlant(
        plant, PERIOD_NS, lambda plant: looks.append(plant.now_ns), lambda t_ns, action: commands.append(t_ns)
    )
    run(watched)
    assert looks == list(range(0, plant.now_ns + 1, PERIOD_NS))
    assert commands == [t_ns for t_ns, what in plant.log if what == "command"]


def test_a_world_whose_steps_are_longer_than_the_interval_is_looked_at_where_it_stands() -> None:
    class LongSteps(FakePlant):
        """Each of its steps takes 250 ms."""

        def advance_to(self, t_ns: int) -> None:
            super().advance_to(-(-t_ns // ms_to_ns(250)) * ms_to_ns(250))

    plant = LongSteps()
    looks: list[int] = []
    watched = SampledPlant(plant, PERIOD_NS, lambda plant: looks.append(plant.now_ns))
    watched.advance_to(ms_to_ns(300))
    assert plant.now_ns == ms_to_ns(500)
    assert looks == [ms_to_ns(t_ms) for t_ms in (0, 250, 250, 500)]
