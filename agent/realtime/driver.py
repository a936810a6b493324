"""Joins episodes and policy: advances many episodes together, so that their requests share forward passes.

Only simulated time counts, so it does not matter to an episode when, or beside which others, the policy answers it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np

from vlatency.agent.realtime.requests import Act, Encode, Request

T = TypeVar("T")


class Policy(Protocol):
    """What answers the requests, in their order; an answer must not depend on the requests beside it."""

    def encode(self, requests: list[Encode]) -> Sequence[object]:
        """Features, opaque to the driver."""

    def act(self, requests: list[Act]) -> Sequence[np.ndarray]:
        """Chunks of absolute set-points, each (8, 5) at 10 Hz."""


def run_episodes(episodes: Iterable[Generator[Request, Any, T]], policy: Policy, batch: int | None = None) -> list[T]:
    """Run episodes to their end, `batch` at a time (None: all at once), and return what they return, in their order.

    Any generator that yields requests will do, such as one that resets an environment, delegates to
    `episode.episode` and writes a row; an iterable that makes them one by one is asked when a place is free.
    An error in one episode, or in the policy, closes them all and is raised.
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
