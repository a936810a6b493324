"""A policy of two stages as one of one stage: encode and act in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlatency.agent.realtime.driver import Policy
from vlatency.agent.realtime.requests import Act, Encode, Infer


class InOnePiece:
    """A two-stage policy behind the interface of a one-stage one, in one episode.

    The head acts on the sensors at the exposure, and the last look is kept for the next one.

    Args:
        policy: has `encode` and `act`.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._before: object | None = None

    def infer(self, requests: list[Infer]) -> Sequence[np.ndarray]:
        """A chunk for each request, one after the other."""
        return [self._infer(request) for request in requests]

    def _infer(self, request: Infer) -> np.ndarray:
        look = Encode(request.images, request.instruction, request.readings, request.t_ns, self._before)
        (self._before,) = self._policy.encode([look])
        (chunk,) = self._policy.act([Act(self._before, request.readings, 0, request.plan, request.frozen)])
        return chunk
