"""In other environments, a policy behind a server acts as the same one in this process. Runs in .venv-suites."""

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlatency.agent.policies.openpi import start_server
from vlatency.agent.policies.source import find_source
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.driver import OneStagePolicy, run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.execution import Switch
from vlatency.agent.realtime.requests import Infer
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.envs.adapter import GymPlant
from vlatency.envs.suites import open_world

pytestmark = [
    pytest.mark.suites,
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("metaworld"), reason="make suites installs the environments"),
]
STEPS = 40


def chunk_of(state: np.ndarray, size: int) -> np.ndarray:
    """(6, size) some actions that depend on all of the state."""
    mix = float(np.sum(np.sin(state.astype(np.float64))))
    return 0.4 * np.sin(mix + np.arange(6 * size).reshape(6, size))


class Here:
    """In this process."""

    def __init__(self, size: int) -> None:
        self.size = size

    def infer(self, requests: list[Infer]) -> list[np.ndarray]:
        return [chunk_of(request.readings.state, self.size) for request in requests]


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[GymPlant]:
    plant = open_world(request.param)
    yield plant
    plant.close()


def play(plant: GymPlant, policy: OneStagePolicy, mode: Mode, ms: float) -> tuple[str, Any]:
    plant.reset(1)
    plant._limit_ns = STEPS * plant.step_ns
    latency = FixedLatency(ms, 0.0)
    timing = Timing(mode, 1e9 / plant.step_ns, latency, execution=Switch(), actions=plant.mapping.actions, stages=1)
    (trace,) = run_episodes([episode(plant, (), timing, np.random.default_rng(0))], policy)
    return plant.trajectory_hash, trace


@pytest.mark.parametrize(
    "world",
    ["metaworld:push-v3", "robotics:FetchPush-v4", "pusht", "aloha:AlohaTransferCube-v0", "robosuite:Lift"],
    indirect=True,
)
def test_a_run_over_the_wire_equals_the_run_in_process_bit_for_bit(world: GymPlant, tmp_path: Path) -> None:
    size = world.mapping.actions.size
    keys = tmp_path / "keys.yaml"
    keys.write_text("about: all numbers\nstate: {numbers: {}}\n")
    server = start_server(lambda: lambda seen: {"actions": chunk_of(seen["numbers"], size)}, {}, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        source = find_source(f"openpi://127.0.0.1:{server.socket.getsockname()[1]}", str(keys))
        runs: dict[tuple[str, float], tuple[str, Any]] = {}
        settings: list[tuple[Mode, float]] = [("pause", 0), ("async", 0), ("async", 100), ("sync", 100)]
        for mode, ms in settings:
            for start in (nullcontext(Here(size)), source.start(task="", instruction="", width=size)):
                with start as policy:
                    run = play(world, policy, mode, ms)
                assert runs.setdefault((mode, ms), run) == run
    finally:
        server.shutdown()
        thread.join()
    assert runs["pause", 0][0] == runs["async", 0][0]
    assert runs["pause", 0][0] != runs["async", 100][0]
