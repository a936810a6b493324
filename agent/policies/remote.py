"""Policies behind openpi's websocket protocol: a connection an episode, and every fault in one line."""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from numpy.typing import NDArray

from vlatency.agent.policies.chunk import checked_chunk
from vlatency.agent.policies.keymap import FOLDER, KeyMap
from vlatency.agent.policies.protocol import OPENPI, CallTime, PolicyKind
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PORT, TIMEOUT_S, CONNECT_S = 8000, 60.0, 10.0
KINDS: tuple[PolicyKind, ...] = get_args(PolicyKind)
PLAN, FROZEN = "plan", "frozen"
"""Keys under which a server that says `takes_plan` gets `Infer.plan` and `Infer.frozen`; openpi itself has none."""


class ServerGone(RunError):
    """The server is not there, closed the connection, or does not answer. A fresh connection may help, once."""


@dataclass(frozen=True)
class RemoteSource:
    """A server that speaks openpi's protocol, as a source of policies.

    Attributes:
        name: as the command line spells it.
        host: where the server is.
        port: where the server is.
        timeout_s: how long it may take for an answer [s].
        key_map: which keys it reads; empty: the map that it names.
    """

    name: str
    host: str
    port: int
    timeout_s: float = TIMEOUT_S
    key_map: str = ""
    _timings: list[CallTime] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str, key_map: str = "") -> RemoteSource:
        """The source behind openpi://HOST:PORT or openpi://HOST:PORT?timeout=SECONDS. UsageError for another text."""
        form = f"{OPENPI}HOST:PORT, such as {OPENPI}127.0.0.1:{PORT}"
        try:
            parts = urlsplit(text)
            host, port, options = parts.hostname, parts.port, dict(parse_qsl(parts.query, strict_parsing=True))
            timeout_s = float(options.pop("timeout", TIMEOUT_S))
        except ValueError:
            raise UsageError(f"bad policy '{text}'; use {form}, or with ?timeout=SECONDS") from None
        if not host or options or parts.path or parts.username or not 0 < timeout_s <= 3600:
            raise UsageError(f"bad policy '{text}'; use {form}, or with ?timeout=SECONDS of at most 3600")
        if key_map:
            KeyMap.find(key_map)
        return cls(text, host, PORT if port is None else port, timeout_s, key_map)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the server says of itself on connecting. ServerGone if it is not there."""
        with Connection(self) as connection:
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
        with Connection(self) as connection:
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
        name = self._connection.source.name
        if "actions" not in answer:
            has = ", ".join(map(str, answer)) or "nothing"
            raise RunError(f"{name} answers without actions, but with {has}; it needs a map with actions")
        return checked_chunk(answer["actions"], self._width, name)


class Connection:
    """A connection to a server; on entering, its metadata is there.

    Raises:
        ServerGone: there is no server of this protocol, or it does not answer in time.
    """

    def __init__(self, source: RemoteSource) -> None:
        self.source = source
        self.metadata: dict[str, Any] = {}
        self._open = ExitStack()

    def __enter__(self) -> Connection:
        # Loaded where it is needed: most commands have no server.
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        source = self.source
        place = f"{source.host}:{source.port}"
        try:
            opening = connect(
                f"ws://[{source.host}]:{source.port}" if ":" in source.host else f"ws://{place}",
                open_timeout=min(CONNECT_S, source.timeout_s),
                close_timeout=1,
                # A server that computes does not answer pings; how long it may take is our own limit.
                ping_interval=None,
                compression=None,
                max_size=None,
                proxy=None,
            )
            self._socket: ClientConnection = self._open.enter_context(opening)
        except (OSError, EOFError, WebSocketException) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise ServerGone(
                f"no policy server at {place} ({reason}); start it, for example: "
                f"python experiments/serve.py --policy tiny --port {source.port}"
            ) from error
        # A process that hangs does not read either. The server may also be gone again by now.
        with suppress(OSError):
            limit = struct.pack("ll", math.ceil(source.timeout_s), 0)
            self._socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            self.metadata = self._receive()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def ask(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The server's answer to an observation. ServerGone if there is none, RunError if it is an error or garbled."""
        from websockets.exceptions import ConnectionClosed

        from vlatency.agent.policies.openpi import pack

        with suppress(ConnectionClosed):  # what it said before it closed is more telling
            self._socket.send(pack(observation))
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        from vlatency.agent.policies.openpi import unpack

        name, limit_s = self.source.name, self.source.timeout_s
        try:
            message = self._socket.recv(limit_s)
        except TimeoutError:
            raise ServerGone(
                f"{name} has not answered for {limit_s:g} s; look at the server, or give it longer: "
                f"{name.partition('?')[0]}?timeout={10 * limit_s:g}"
            ) from None
        except ConnectionClosed as closed:
            raise ServerGone(
                f"{name} closed the connection without an answer ({closed}); see what it printed"
            ) from None
        if isinstance(message, str):
            lines = message.strip().splitlines() or ["an empty text message"]
            raise RunError(f"{name} reports an error: {lines[-1][:300]}; what it printed says more")
        try:
            return unpack(message)
        except ValueError as error:
            raise RunError(f"{name} does not speak openpi's protocol: {error}") from None


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
