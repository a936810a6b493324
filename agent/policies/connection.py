"""The client's end of openpi's protocol: one connection, whose every fault is one line."""

from __future__ import annotations

import math
import socket
import struct
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from vlatency.agent.policies.protocol import OPENPI
from vlatency.sim.errors import RunError, UsageError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PORT, TIMEOUT_S, CONNECT_S = 8000, 60.0, 10.0


class ServerGone(RunError):
    """The server is not there, closed the connection, or does not answer. A fresh connection may help, once."""


@dataclass(frozen=True)
class Address:
    """Where a server is, and how long it is waited for.

    Attributes:
        name: as the command line spells it.
        host: name or IP address.
        port: TCP port.
        timeout_s: how long it may take for an answer [s].
    """

    name: str
    host: str
    port: int
    timeout_s: float

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that openpi://HOST:PORT or openpi://HOST:PORT?timeout=SECONDS spells. UsageError for another."""
        form = f"{OPENPI}HOST:PORT, such as {OPENPI}127.0.0.1:{PORT}"
        try:
            parts = urlsplit(text)
            host, port, options = parts.hostname, parts.port, dict(parse_qsl(parts.query, strict_parsing=True))
            timeout_s = float(options.pop("timeout", TIMEOUT_S))
        except ValueError:
            raise UsageError(f"bad policy '{text}'; use {form}, or with ?timeout=SECONDS") from None
        if not host or options or parts.path or parts.username or not 0 < timeout_s <= 3600:
            raise UsageError(f"bad policy '{text}'; use {form}, or with ?timeout=SECONDS of at most 3600")
        return cls(text, host, PORT if port is None else port, timeout_s)


class Connection:
    """A connection to a server. On entering, its metadata is there.

    Raises:
        ServerGone: there is no server of this protocol, or it does not answer in time.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.metadata: dict[str, Any] = {}
        self._open = ExitStack()

    def __enter__(self) -> Connection:
        # Loaded where it is needed: most commands have no server.
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        host, port, limit_s = self.address.host, self.address.port, self.address.timeout_s
        try:
            opening = connect(
                f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}",
                open_timeout=min(CONNECT_S, limit_s),
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
                f"no policy server at {host}:{port} ({reason}); start it, for example: "
                f"python experiments/serve.py --policy tiny --port {port}"
            ) from error
        # A process that hangs does not read either. The server may also be gone again by now.
        with suppress(OSError):
            limit = struct.pack("ll", math.ceil(limit_s), 0)
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

        name, limit_s = self.address.name, self.address.timeout_s
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
