"""A policy server written from the description of openpi's protocol, with asyncio and none of our code.

It can misbehave. It answers an observation with `right_actions` of its state.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgpack
import numpy as np
from websockets.asyncio.server import ServerConnection, serve

Handler = Callable[[ServerConnection], Awaitable[None]]
METADATA = {"name": "from the description", "key_map": "metaworld", "reads": ["observation/state", "prompt"]}
ROWS, WIDTH = 5, 4
QUIET = logging.getLogger(__name__)
QUIET.disabled = True  # connections that break are what it is for


def right_actions(state: np.ndarray) -> np.ndarray:
    """(5, 4) what it answers to a state (4,)."""
    return np.arange(ROWS)[:, None] + np.asarray(state, dtype=np.float64)[None]


def to_bytes(value: Any) -> bytes:
    """msgpack, with arrays as maps of their bytes, dtype and shape."""
    return bytes(msgpack.packb(_marked(value)))


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return value


def from_bytes(message: bytes) -> Any:
    """The other way round."""
    return _unmarked(msgpack.unpackb(message))


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict) and b"__ndarray__" in value:
        return np.frombuffer(value[b"data"], value[b"dtype"]).reshape(value[b"shape"])
    return {key: _unmarked(each) for key, each in value.items()} if isinstance(value, dict) else value


def right_answer(observation: dict[str, Any]) -> dict[str, Any]:
    """A whole answer."""
    return {"actions": right_actions(observation["observation/state"]), "server_timing": {"infer_ms": 12.5}}


async def well_behaved(socket: ServerConnection) -> None:
    """Metadata, then an answer to each observation."""
    await socket.send(to_bytes(METADATA))
    async for message in socket:
        assert isinstance(message, bytes)
        await socket.send(to_bytes(right_answer(from_bytes(message))))


@contextlib.contextmanager
def serving(handler: Handler = well_behaved) -> Iterator[int]:
    """A server in a thread; gives its port."""
    loop = asyncio.new_event_loop()
    ready, port = threading.Event(), 0

    async def main() -> None:
        nonlocal port
        async with serve(
            handler, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.5, logger=QUIET
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            await stop.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
