"""Joins episodes and policy: advances many episodes together, so that their requests share forward passes.

Only simulated time counts, so an episode depends neither on when its requests are answered nor on which other episodes
run beside it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np

from vlatency.agent.realtime.requests import Act, Encode, Request

T = TypeVar("T")


class Policy(Protocol):
    """Answers a batch of requests in their order. An answer must not depend on the other requests of the batch."""

    def encode(self, requests: list[Encode]) -> Sequence[object]:
        """Features for each request. The driver does not look into them."""

    def act(self, requests: list[Act]) -> Sequence[np.ndarray]:
        """A chunk for each request: (8, 5) absolute set-points, 100 ms apart."""


def run_episodes(episodes: Iterable[Generator[Request, Any, T]], policy: Policy, batch: int | None = None) -> list[T]:
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
            encodes: dict[int, Encode] = {}
            acts: dict[int, Act] = {}
            for number, generator in list(running.items()):
                try:
                    request = generator.send(answers.pop(number, None))
                except StopIteration as end:
                    results[number] = end.value
                    del running[number]
                else:
                    if isinstance(request, Encode):
                        encodes[number] = request
                    else:
                        acts[number] = request
            if encodes:
                answers.update(zip(encodes, policy.encode(list(encodes.values())), strict=True))
            if acts:
                answers.update(zip(acts, policy.act(list(acts.values())), strict=True))
    finally:
        for generator in running.values():
            generator.close()
