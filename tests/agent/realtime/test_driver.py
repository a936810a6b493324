"""Laws of the driver: an episode does not depend on which others share its forward passes."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.builders.world import FakePlant, FakePolicy, Jitter, begin
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.requests import Request
from vlatency.agent.realtime.timing import Mode
from vlatency.agent.realtime.trace import EpisodeTrace

LENGTHS = (1.0, 0.3, 2.0, 0.0, 1.4)


def run_batched(mode: Mode, batch: int | None) -> tuple[list[tuple[str, EpisodeTrace]], int]:
    plants = [FakePlant(seconds, start=seconds) for seconds in LENGTHS]
    policy = FakePolicy()
    episodes = (begin(plant, mode, Jitter(seed)) for seed, plant in enumerate(plants))
    traces = run_episodes(episodes, policy, batch)
    return [(plant.trajectory_hash, trace) for plant, trace in zip(plants, traces, strict=True)], policy.widest


@pytest.mark.parametrize("mode", ["pause", "sync", "async"])
def test_the_batch_size_does_not_change_any_episode(mode: Mode) -> None:
    alone, width = run_batched(mode, 1)
    assert width == 1
    for batch in (2, 3, None):
        together, width = run_batched(mode, batch)
        assert width > 1
        assert together == alone


def test_an_episode_is_taken_only_when_a_place_is_free() -> None:
    alive = 0

    def counted(seed: int) -> Generator[Request, Any, int]:
        nonlocal alive
        alive += 1
        assert alive <= 2
        yield from begin(FakePlant(0.5), "async", Jitter(seed))
        alive -= 1
        return seed

    assert run_episodes((counted(seed) for seed in range(5)), FakePolicy(), batch=2) == [0, 1, 2, 3, 4]


def test_an_error_closes_the_other_episodes_and_is_raised() -> None:
    closed = []

    def patient() -> Generator[Request, Any, None]:
        try:
            yield from begin(FakePlant(), "pause", Jitter(0))
        finally:
            closed.append(True)

    def broken() -> Generator[Request, Any, None]:
        raise OSError("no such plant")
        yield

    with pytest.raises(OSError, match="no such plant"):
        run_episodes([patient(), broken()], FakePolicy())
    assert closed == [True]

    class Failing(FakePolicy):
        def act(self, requests: list[Any]) -> list[Any]:
            raise ArithmeticError("no chunk")

    with pytest.raises(ArithmeticError, match="no chunk"):
        run_episodes([patient(), patient()], Failing())
    assert closed == [True] * 3


def test_a_policy_that_forgets_an_answer_is_an_error() -> None:
    class Forgetful(FakePolicy):
        def encode(self, requests: list[Any]) -> list[object]:
            return []

    with pytest.raises(ValueError, match="shorter"):
        run_episodes([begin(FakePlant(), "pause", Jitter(0))], Forgetful())
