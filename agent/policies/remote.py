"""Policies behind openpi's websocket protocol: a connection an episode."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from vlatency.agent.policies.chunk import checked_chunk
from vlatency.agent.policies.connection import Address, Connection
from vlatency.agent.policies.keymap import FOLDER, KeyMap
from vlatency.agent.policies.protocol import CallTime, PolicyKind
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

KINDS: tuple[PolicyKind, ...] = get_args(PolicyKind)
PLAN, FROZEN = "plan", "frozen"
"""Keys under which a server that says `takes_plan` gets `Infer.plan` and `Infer.frozen`; openpi itself has none."""


@dataclass(frozen=True)
class RemoteSource:
    """A server that speaks openpi's protocol, as a source of policies.

    Attributes:
        address: where it is.
        key_map: which keys it reads; empty: the map that it names.
    """

    address: Address
    key_map: str = ""
    _timings: list[CallTime] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str, key_map: str = "") -> RemoteSource:
        """The source behind openpi://HOST:PORT. UsageError for another text, or if there is no such key map."""
        if key_map:
            KeyMap.find(key_map)
        return cls(Address.parse(text), key_map)

    @property
    def name(self) -> str:
        """As the command line spells it."""
        return self.address.name

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the server says of itself on connecting. ServerGone if it is not there."""
        with Connection(self.address) as connection:
            return connection.metadata

    @property
    def kind(self) -> PolicyKind:
        """What the server says that it is, if it says so."""
        said = self.metadata.get("kind")
        return next((kind for kind in KINDS if kind == said), "third-party")

    @property
    def takes_plan(self) -> bool:
        """Whether the server says that it continues a plan."""
        return self.metadata.get("takes_plan") is True

    @property
    def cameras(self) -> tuple[str, ...]:
        """The views that the server reads."""
        return self.keys.cameras

    @cached_property
    def keys(self) -> KeyMap:
        """Which keys the server reads. UsageError if neither the user nor the server says so."""
        named = self.metadata.get("key_map")
        ships = sorted(path.stem for path in FOLDER.glob("*.yaml"))
        # A server may name a key map that ships here, and no file of this machine.
        name = self.key_map or (named if named in ships else "")
        if not name:
            raise UsageError(
                f"{self.name} does not say which keys it reads; choose the key map: {', '.join(ships)} or FILE.yaml"
            )
        read = self.metadata.get("reads")
        if not isinstance(read, list) or not all(isinstance(key, str) for key in read):
            return KeyMap.find(name)
        return KeyMap.find(name).only(read, self.name)

    def identity(self) -> dict[str, Any]:
        """The server's metadata and the key map, as JSON."""
        return {"metadata": _plain(self.metadata), "key_map": self.keys.sha256}

    @contextmanager
    def start(self, *, task: str, instruction: str, width: int) -> Iterator[Remote]:
        """A connection for one episode."""
        keys = self.keys
        with Connection(self.address) as connection:
            if _plain(connection.metadata) != _plain(self.metadata):
                raise RunError(f"{self.name} is no longer the server that it was when the run began; start again")
            yield Remote(connection, keys, self.takes_plan, width, self._timings)

    def timings(self) -> list[CallTime]:
        """All calls so far; the list itself, which grows."""
        return self._timings


class Remote:
    """A server in one episode."""

    def __init__(
        self, connection: Connection, keys: KeyMap, takes_plan: bool, width: int, timings: list[CallTime]
    ) -> None:
        self._connection, self._keys, self._takes_plan, self._width = connection, keys, takes_plan, width
        self._timings, self._calls = timings, 0

    def infer(self, requests: list[Infer]) -> list[NDArray[np.float64]]:
        """A chunk for each request.

        Raises:
            ServerGone: no answer.
            RunError: an answer that is no chunk.
        """
        return [self._infer(request) for request in requests]

    def _infer(self, request: Infer) -> NDArray[np.float64]:
        observation = self._keys.observation(request)
        if self._takes_plan and request.plan is not None:
            observation |= {PLAN: request.plan, FROZEN: request.frozen}
        started = time.perf_counter()
        answer = self._connection.ask(observation)
        ms = 1e3 * (time.perf_counter() - started)
        self._timings.append(CallTime(ms, _server_ms(answer), first=not self._calls))
        self._calls += 1
        name = self._connection.address.name
        if "actions" not in answer:
            has = ", ".join(map(str, answer)) or "nothing"
            raise RunError(f"{name} answers without actions, but with {has}; it needs a map with actions")
        return checked_chunk(answer["actions"], self._width, name)


def _server_ms(answer: dict[str, Any]) -> float | None:
    timing = answer.get("server_timing")
    ms = timing.get("infer_ms") if isinstance(timing, dict) else None
    return float(ms) if isinstance(ms, int | float) and math.isfinite(ms) and ms >= 0 else None


def _plain(value: Any) -> Any:
    """What a server says, as JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else repr(value)
