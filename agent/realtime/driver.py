"""Joins episodes and policy: advances many episodes together, so that their requests share forward passes.

Only simulated time counts, so an episode depends neither on when its requests are answered nor on which other episodes
run beside it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np

from vlatency.agent.realtime.requests import Act, Encode, Infer, Request

T = TypeVar("T")
_METHODS: dict[type, str] = {Encode: "encode", Act: "act", Infer: "infer"}


class Policy(Protocol):
    """Two stages, an encoder and a head. Each answers a batch of requests in their order.

    An answer must not depend on the other requests of the batch.
    """

    def encode(self, requests: list[Encode]) -> Sequence[object]:
        """Features for each request. The driver does not look into them."""

    def act(self, requests: list[Act]) -> Sequence[np.ndarray]:
        """A chunk for each request: (rows, size) actions."""


class OneStagePolicy(Protocol):
    """One stage: what was seen and felt goes in, and a chunk comes out. Otherwise as `Policy`."""

    def infer(self, requests: list[Infer]) -> Sequence[np.ndarray]:
        """A chunk for each request: (rows, size) actions, the first for the instant of the exposure."""


def run_episodes(
    episodes: Iterable[Generator[Request, Any, T]], policy: Policy | OneStagePolicy, batch: int | None = None
) -> list[T]:
    """Run episodes to their end.

    An error in an episode or in the policy closes all episodes and is raised.

    Args:
        episodes: generators that yield requests, such as one that resets an environment, delegates to
            `episode.episode` and writes a row. The next one is taken when a place in the batch is free.
        policy: answers the requests.
        batch: how many episodes run at the same time; None: all.

    Returns:
        What the episodes return, in their order.

    Raises:
        ValueError: `batch` is below 1, or the policy gave too few or too many answers.
    """
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    waiting = enumerate(episodes)
    running: dict[int, Generator[Request, Any, T]] = {}
    answers: dict[int, object] = {}
    results: dict[int, T] = {}
    try:
        while True:
            free = None if batch is None else batch - len(running)
            running.update(islice(waiting, free))
            if not running:
                return [results[number] for number in sorted(results)]
            requests: dict[type, dict[int, Any]] = {}
            for number, generator in list(running.items()):
                try:
                    request = generator.send(answers.pop(number, None))
                except StopIteration as end:
                    results[number] = end.value
                    del running[number]
                else:
                    requests.setdefault(type(request), {})[number] = request
            for kind, asked in requests.items():
                answer = getattr(policy, _METHODS[kind])
                answers.update(zip(asked, answer(list(asked.values())), strict=True))
    finally:
        for generator in running.values():
            generator.close()
