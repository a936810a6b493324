"""Faults on the wire to a policy server: each gives the right answer, or one line."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection

from tests.builders.policy_server import METADATA, WIDTH, from_bytes, right_actions, right_answer, serving, to_bytes
from vlatency.agent.policies.source import find_source
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

TIMEOUT_S = 0.3
CALLS = 3
"""In an episode; one of them meets the fault."""
Fault = Callable[[ServerConnection, bytes, random.Random], Awaitable[None]]
"""Sends something else than the message that it is given."""


async def cut(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """A part of the message is missing."""
    first, last = sorted(rng.sample(range(len(message) + 1), 2))
    await socket.send(message[:first] + message[last:])


async def garbage(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """Other bytes."""
    await socket.send(rng.randbytes(rng.randrange(200)))


async def text(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """An error of the server, as openpi's sends it."""
    await socket.send("Traceback (most recent call last):\n  ...\nValueError: out of memory"[rng.randrange(60) :])
    await socket.close(1011)


async def late(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """The right message, up to four times as late as is waited for."""
    await asyncio.sleep(rng.uniform(0, 4 * TIMEOUT_S))
    await socket.send(message)


async def close(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """Closed as it should be, with any code."""
    await socket.close(rng.choice([1000, 1001, 1011, 1012, 4000]), "bye"[rng.randrange(3) :])


async def abort(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """The connection breaks at any byte of the frame."""
    header = bytes([0x82, 126]) + len(message).to_bytes(2, "big")
    frame = header + message
    socket.transport.write(frame[: rng.randrange(len(frame))])
    await asyncio.sleep(rng.choice([0, 0.01]))
    socket.transport.abort()


async def frames(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """Bytes that are no frames."""
    socket.transport.write(rng.randbytes(1 + rng.randrange(50)))
    await asyncio.sleep(rng.uniform(0, 2 * TIMEOUT_S))


async def fragments(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
    """The right message, in pieces and pauses."""
    places = sorted(rng.sample(range(1, len(message)), 3))
    pieces = [message[a:b] for a, b in zip([0, *places], [*places, len(message)], strict=True)]

    async def slowly() -> Any:
        for piece in pieces:
            await asyncio.sleep(rng.uniform(0, TIMEOUT_S / 8))
            yield piece

    await socket.send(slowly())


def _answer(change: Callable[[dict[str, Any], random.Random], Any]) -> Fault:
    """The right answer, changed."""

    async def fault(socket: ServerConnection, message: bytes, rng: random.Random) -> None:
        await socket.send(to_bytes(change(from_bytes(message), rng)))

    return fault


def _spoilt(answer: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    actions = np.array(answer.get("actions", np.zeros((1, WIDTH))))
    actions.flat[rng.randrange(actions.size)] = rng.choice([np.nan, np.inf, -np.inf])
    return {"actions": actions}


def _other_shape(answer: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    shape = rng.choice([(0, WIDTH), (5, 0), (5, WIDTH + 1), (WIDTH - 1,), (1, 5, WIDTH), (), (WIDTH, 5)])
    return {"actions": np.zeros(shape, rng.choice(["f4", "f8", "i4"]))}


def _other_type(answer: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    odd = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": rng.choice(["O", "V8", "c8", "U2", 3]), b"shape": [1]}
    return {"actions": rng.choice([odd, None, "left", {"x": 1}, [[1, 2], [3]], [["1"] * WIDTH], True])}


def _without(answer: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "actions"} | {"action": 1}


FAULTS: dict[str, Fault] = {
    "cuts": cut,
    "garbage": garbage,
    "text": text,
    "late": late,
    "closed": close,
    "aborted": abort,
    "no frames": frames,
    "fragments": fragments,
    "NaN": _answer(_spoilt),
    "shapes": _answer(_other_shape),
    "types": _answer(_other_type),
    "no actions": _answer(_without),
}


def wire(folder: Path, count: int, seed: int) -> str:
    """Meet each kind of fault in turn, at the metadata or at one of the answers; AssertionError for another outcome."""
    rng, counts = random.Random(seed), Counter[str]()
    for number in range(count):
        name = list(FAULTS)[number % len(FAULTS)]
        counts.update([name, _outcome(FAULTS[name], rng.randrange(-1, CALLS), random.Random(rng.random()))])
    kinds = ", ".join(f"{counts[name]} {name}" for name in FAULTS if counts[name])
    clean = counts["one line"] + counts["right"]
    return f"{clean} of {count} faults ({kinds}): {counts['one line']} in one line, {counts['right']} answered rightly"


def _outcome(fault: Fault, place: int, rng: random.Random) -> str:
    """What an episode comes to that meets a fault at its call number `place`; -1: at the metadata."""

    async def handler(socket: ServerConnection) -> None:
        metadata = to_bytes(METADATA)
        await (fault(socket, metadata, rng) if place < 0 else socket.send(metadata))
        calls = 0
        async for message in socket:
            assert isinstance(message, bytes)
            answer = to_bytes(right_answer(from_bytes(message)))
            await (fault(socket, answer, rng) if calls == place else socket.send(answer))
            calls += 1

    states = np.random.default_rng(0).normal(size=(CALLS, 39)).astype(np.float32)
    chunks: list[np.ndarray] = []
    with serving(handler) as port:
        try:
            source = find_source(f"openpi://127.0.0.1:{port}?timeout={TIMEOUT_S}", "metaworld")
            with source.start(task="", instruction="push", width=WIDTH) as policy:
                for state in states:
                    chunks += policy.infer([Infer({}, "push", SimpleNamespace(state=state))])
        except (UsageError, RunError) as error:
            return "one line" if len(str(error).splitlines()) == 1 else f"not one line: {error}"
    for chunk, state in zip(chunks, states, strict=True):
        np.testing.assert_array_equal(chunk, right_actions(state[:4]))
    return "right"
