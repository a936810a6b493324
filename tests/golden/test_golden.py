"""Rearranging the code moves no trajectory: the same episodes, bit for bit, as before the first move."""

import hashlib
import json

import pytest

from tests.builders.world import Sloping, drawn, play
from tests.golden import record
from tests.golden.cases import CASES, SEEDS

CLOCK = record.FILE.with_name("clock.json")


def clock_hash(seed: int) -> str:
    """All that happens in an episode of the fake world, under options drawn by `seed`: the same on every machine."""
    plant, trace = play(**drawn(seed), policy=Sloping())
    events = [(span.name, span.start_ns, span.end_ns, span.capture_ns, span.views) for span in trace.spans]
    commands = [
        (each.applied_ns, each.capture_ns, each.vl_ns, each.head_ns, each.read_ns, each.fresh)
        for each in trace.commands
    ]
    content = [plant.trajectory_hash, plant.log, events, commands, trace.missed, trace.overruns, trace.dropped]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def test_the_clock_is_the_one_it_was() -> None:
    known = json.loads(CLOCK.read_text())
    assert {seed: clock_hash(int(seed)) for seed in known} == known


@pytest.mark.slow
@pytest.mark.gl
@pytest.mark.parametrize("case", CASES)
def test_an_episode_is_the_one_it_was(case: str) -> None:
    """One seed of each case; `python -m tests.golden.record --check` compares all."""
    here = record.machine()
    recorded = record.known(here)
    if recorded is None:
        pytest.skip(f"no trajectories of such a machine are recorded ({', '.join(here['cpu'][:1])} {here['renderer']})")
    place = list(CASES).index(case) % len(SEEDS)
    assert record.rows(case, [SEEDS[place]]) == [recorded[case][place]]
