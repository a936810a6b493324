"""openpi's websocket protocol: the bytes of its messages, and a server.

On connecting, the server sends one map, its metadata. Then each binary message is a map, an observation, and is
answered by a map with `actions` (rows, width) and `server_timing`; a text message is an error, after which the server
closes. Maps are msgpack, and an array is the map {b"__ndarray__", b"data", b"dtype", b"shape"}. There is no pickle.

This file needs numpy, msgpack and websockets alone, so that `lerobot_serve.py` can load it where there is no vlatency.
"""

from __future__ import annotations

import http
import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

KINDS = "biuf"
"""Kinds of dtype that may travel: booleans, integers and floats. Objects and records would need pickle."""
INTERNAL_ERROR = 1011
QUIET = logging.getLogger("vlatency.openpi")
QUIET.addHandler(logging.NullHandler())  # who knocks and says nothing is no news
QUIET.propagate = False

Answer = Callable[[dict[str, Any]], Mapping[str, Any]]
"""From an observation to a map with `actions`."""


def pack(values: Mapping[str, Any]) -> bytes:
    """A message. TypeError if it holds what msgpack and arrays of numbers cannot say."""
    packed: bytes = msgpack.packb(values, default=_array_to_map)
    return packed


def unpack(message: bytes) -> dict[str, Any]:
    """What `pack` made a message of. ValueError if it is none; nothing of it is ever executed."""
    try:
        values = msgpack.unpackb(message, object_hook=_map_to_array)
    except Exception as error:  # msgpack's own, and those of text that is not UTF-8 or of sizes that no array has
        raise ValueError(f"no msgpack ({type(error).__name__}: {error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"a {type(values).__name__} instead of a map")
    return values


def _array_to_map(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a {type(value).__name__} cannot travel")
    if value.dtype.kind not in KINDS:
        raise TypeError(f"arrays of {value.dtype} do not travel")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}


def _map_to_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        dtype, shape, data = _dtype(value[b"dtype"]), value[b"shape"], value[b"data"]
        if not (isinstance(data, bytes) and all(type(side) is int and side >= 0 for side in shape)):
            raise ValueError("an array without bytes, or of no shape")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"{len(data)} bytes are no {dtype} array {tuple(shape)}")
        return np.frombuffer(data, dtype).reshape(shape)
    if b"__npgeneric__" in value:
        return _dtype(value[b"dtype"]).type(value[b"data"])
    return value


def _dtype(text: Any) -> np.dtype[Any]:
    dtype = np.dtype(text) if isinstance(text, str) else np.dtype(object)
    if dtype.kind not in KINDS:
        raise ValueError(f"arrays of {text!r} are refused")
    return dtype


def start_server(connect: Callable[[], Answer], metadata: Mapping[str, Any], host: str, port: int) -> Server:
    """A server that is bound, and serves once its `serve_forever` is called; GET /healthz says that it does.

    Args:
        connect: called for each connection; gives what answers it, and may keep state of its own.
        metadata: sent on connecting.
        host: address to bind; 127.0.0.1 is reached from this machine alone.
        port: 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    first, one_at_a_time = pack(metadata), threading.Lock()

    def handle(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            try:
                socket.send(first)
                with one_at_a_time:
                    answer = connect()
                before_ms: float | None = None
                while True:
                    message = socket.recv()
                    received = time.perf_counter()
                    if isinstance(message, str):
                        raise ValueError("an observation is a binary message of msgpack, not text")
                    observation = unpack(message)
                    with one_at_a_time:
                        started = time.perf_counter()
                        values = dict(answer(observation))
                        timing = {"infer_ms": 1e3 * (time.perf_counter() - started)}
                    values["server_timing"] = timing | ({} if before_ms is None else {"prev_total_ms": before_ms})
                    socket.send(pack(values))
                    before_ms = 1e3 * (time.perf_counter() - received)
            except ConnectionClosed:
                raise
            except Exception:
                traceback.print_exc()
                socket.send(traceback.format_exc())
                socket.close(INTERNAL_ERROR, "the error stands in the text message before")

    def healthy(socket: ServerConnection, request: Request) -> Response | None:
        return socket.respond(http.HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None

    # An inference may take longer than a keep-alive waits, and images are more than the default size.
    limits: dict[str, Any] = {"compression": None, "max_size": None, "ping_interval": None}
    return serve(handle, host, port, process_request=healthy, logger=QUIET, **limits)
