"""Our client, against a server that was written from the protocol's description."""

import asyncio
import math
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from tests.builders.policy_server import (
    METADATA,
    WIDTH,
    from_bytes,
    right_actions,
    right_answer,
    serving,
    to_bytes,
    well_behaved,
)
from vlatency.agent.policies.connection import Address, Connection, ServerGone
from vlatency.agent.policies.source import find_source
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

STATE = np.array([0.1, -0.2, 0.3, 1.0], dtype=np.float32)


def request(state: np.ndarray = STATE, **fields: Any) -> Infer:
    return Infer(images={}, instruction="push", readings=SimpleNamespace(observation=None, state=state), **fields)


def ask(port: int, key_map: str = "", timeout: str = "") -> np.ndarray:
    """One answer, from the beginning of an episode."""
    source = find_source(f"openpi://127.0.0.1:{port}{timeout}", key_map)
    with source.start(task="push-v3", instruction="push", width=WIDTH) as policy:
        (chunk,) = policy.infer([request()])
    return np.asarray(chunk)


def answering(answer: Callable[[dict[str, Any]], Any]) -> Callable[[ServerConnection], Awaitable[None]]:
    """A server that answers with what `answer` makes of the observation: a map, bytes, or text."""

    async def handler(sock: ServerConnection) -> None:
        await sock.send(to_bytes(METADATA))
        async for message in sock:
            assert isinstance(message, bytes)
            said = answer(from_bytes(message))
            await sock.send(said if isinstance(said, bytes | str) else to_bytes(said))

    return handler


def array(dtype: str, shape: list[int]) -> bytes:
    """An answer whose actions are 8 bytes that call themselves this."""
    return to_bytes({"actions": {b"__ndarray__": True, b"data": b"\x00" * 8, b"dtype": dtype, b"shape": shape}})


def test_a_server_from_the_description_drives_our_client() -> None:
    with serving() as port:
        np.testing.assert_array_equal(ask(port), right_actions(STATE))


def test_the_observation_holds_what_the_key_map_says_and_nothing_else() -> None:
    seen: list[dict[str, Any]] = []

    def answer(observation: dict[str, Any]) -> dict[str, Any]:
        seen.append(observation)
        return right_answer(observation)

    with serving(answering(answer)) as port:
        ask(port)
    assert seen[0].keys() == {"observation/state", "prompt"}
    assert seen[0]["prompt"] == "push"
    np.testing.assert_array_equal(seen[0]["observation/state"], STATE)


def test_a_plan_goes_to_servers_that_take_one() -> None:
    seen: list[dict[str, Any]] = []

    async def handler(sock: ServerConnection) -> None:
        await sock.send(to_bytes(METADATA | {"takes_plan": True}))
        async for message in sock:
            assert isinstance(message, bytes)
            seen.append(from_bytes(message))
            await sock.send(to_bytes(right_answer(seen[-1])))

    plan = np.ones((3, WIDTH))
    with serving(handler) as port:
        source = find_source(f"openpi://127.0.0.1:{port}")
        assert source.takes_plan
        with source.start(task="", instruction="", width=WIDTH) as policy:
            policy.infer([request(plan=plan, frozen=2)])
    np.testing.assert_array_equal(seen[0]["plan"], plan)
    assert seen[0]["frozen"] == 2


def test_every_call_is_timed_and_the_first_of_an_episode_marked() -> None:
    with serving() as port:
        source = find_source(f"openpi://127.0.0.1:{port}")
        for _ in range(2):
            with source.start(task="", instruction="", width=WIDTH) as policy:
                policy.infer([request(), request()])
    assert [call.first for call in source.timings()] == [True, False, True, False]
    assert {call.server_ms for call in source.timings()} == {12.5}
    assert all(call.ms > 0 for call in source.timings())


def test_a_result_depends_on_the_metadata_and_the_key_map() -> None:
    with serving() as port:
        first = find_source(f"openpi://127.0.0.1:{port}").identity()
        second = find_source(f"openpi://127.0.0.1:{port}", "metaworld").identity()
    assert first == second
    assert first["metadata"] == METADATA


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        (np.full((5, WIDTH), np.nan), "nan"),
        (np.full((5, WIDTH), math.inf), "inf"),
        (np.zeros((5, 7)), "(5, 7)"),
        (np.zeros((1, 5, WIDTH)), "(1, 5, 4)"),
        (np.zeros((0, WIDTH)), "no rows"),
        ("forward", "forward"),
        (None, "NoneType"),
        ([[1, 2], [3]], "list"),
        (3.5, "()"),
    ],
)
def test_an_answer_that_is_no_chunk_is_one_line(actions: Any, told: str) -> None:
    with serving(answering(lambda observation: {"actions": actions})) as port, pytest.raises(RunError) as error:
        ask(port)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"action": np.zeros((5, WIDTH))}, "action"),
        ("Traceback:\n  File x\nValueError: no such robot", "no such robot"),
        ("", "empty"),
        (b"", "msgpack"),
        (b"\xc1", "msgpack"),
        (to_bytes({"actions": np.zeros((5, WIDTH))})[:-3], "msgpack"),
        (b"\x01", "int"),
        (array(dtype="|O", shape=[1]), "|O"),
        (
            to_bytes({"actions": {b"__ndarray__": True, b"data": b"\x00" * 8, b"dtype": "<f8", b"shape": [1 << 40]}}),
            "8",
        ),
        (array(dtype="V8", shape=[1]), "V8"),
        (array(dtype="<f8", shape=[-1]), "shape"),
        (array(dtype="<U2", shape=[1]), "<U2"),
        (array(dtype="<f8,<f8", shape=[1]), "<f8,<f8"),
        (to_bytes({"actions": {b"__ndarray__": True}}), "msgpack"),
    ],
)
def test_an_answer_that_is_no_map_with_actions_is_one_line(answer: Any, told: str) -> None:
    with serving(answering(lambda observation: answer)) as port, pytest.raises(RunError) as error:
        ask(port)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_single_action_is_a_chunk_of_one_row_and_integers_are_numbers() -> None:
    with serving(answering(lambda observation: {"actions": np.arange(WIDTH)})) as port:
        np.testing.assert_array_equal(ask(port), [[0.0, 1.0, 2.0, 3.0]])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_server_that_is_not_there_is_one_line_with_what_would_work() -> None:
    with pytest.raises(ServerGone, match=r"serve\.py"):
        ask(free_port())


def test_a_host_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(ServerGone, match="nowhere"):
        find_source("openpi://nowhere.invalid:1").identity()


async def _close(sock: ServerConnection) -> None:
    await sock.close()


async def _close_after_metadata(sock: ServerConnection) -> None:
    await sock.send(to_bytes(METADATA))


async def _abort_in_an_answer(sock: ServerConnection) -> None:
    await sock.send(to_bytes(METADATA))
    await sock.recv()
    sock.transport.write(b"\x82\x7e\x01\x00" + b"only the beginning of 256 bytes")
    await asyncio.sleep(0.05)
    sock.transport.abort()


@pytest.mark.parametrize("handler", [_close, _close_after_metadata, _abort_in_an_answer])
def test_a_server_that_goes_away_is_said_to_be_gone(handler: Any) -> None:
    with serving(handler) as port, pytest.raises(ServerGone):
        ask(port)


def test_a_server_that_does_not_answer_in_time_is_said_to_be_gone_and_how_to_wait_longer() -> None:
    async def handler(sock: ServerConnection) -> None:
        await sock.send(to_bytes(METADATA))
        await asyncio.sleep(30)

    started = time.monotonic()
    with pytest.raises(ServerGone, match="timeout=5"), serving(handler) as port:
        ask(port, timeout="?timeout=0.5")
    assert time.monotonic() - started < 10


def test_what_listens_but_is_no_websocket_is_one_line() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(4096)
            sock.sendall(b"220 smtp.example ready\r\n")

    threading.Thread(target=talk, daemon=True).start()
    with listener, pytest.raises(ServerGone):
        ask(listener.getsockname()[1])


def test_a_process_that_does_not_read_does_not_hold_us_for_ever() -> None:
    async def handler(sock: ServerConnection) -> None:
        await sock.send(to_bytes(METADATA))
        sock.transport.pause_reading()
        try:
            await asyncio.sleep(30)
        finally:
            sock.transport.abort()

    with serving(handler) as port, Connection(Address.parse(f"openpi://127.0.0.1:{port}?timeout=1")) as connection:
        started = time.monotonic()
        with pytest.raises(ServerGone):
            connection.ask({"large": np.zeros(2_000_000)})
        assert time.monotonic() - started < 10


def test_the_next_episode_gets_a_fresh_connection() -> None:
    calls = 0

    async def handler(sock: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # the first one asked for the metadata
            await _close_after_metadata(sock)
        else:
            await well_behaved(sock)

    with serving(handler) as port:
        source = find_source(f"openpi://127.0.0.1:{port}")
        with pytest.raises(ServerGone), source.start(task="", instruction="", width=WIDTH) as policy:
            policy.infer([request()])
        with source.start(task="", instruction="", width=WIDTH) as policy:
            (chunk,) = policy.infer([request()])
    np.testing.assert_array_equal(chunk, right_actions(STATE))


def test_a_server_that_becomes_another_one_in_a_run_is_noticed() -> None:
    connections = 0

    async def handler(sock: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await sock.send(to_bytes(METADATA | {"checkpoint": min(connections, 2)}))
        await sock.wait_closed()

    with serving(handler) as port:
        source = find_source(f"openpi://127.0.0.1:{port}")
        assert source.identity()["metadata"]["checkpoint"] == 1
        with pytest.raises(RunError, match="no longer"):
            source.start(task="", instruction="", width=WIDTH).__enter__()


@pytest.mark.parametrize(
    "text",
    [
        "openpi://",
        "openpi://:8000",
        "openpi://host:port",
        "openpi://host:70000",
        "openpi://host:1/path",
        "openpi://host:1?timeout=0",
        "openpi://host:1?timeout=nan",
        "openpi://host:1?wait=1",
        "openpi://me:secret@host:1",
    ],
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="openpi://HOST:PORT"):
        find_source(text)


def test_a_server_that_names_no_key_map_needs_one_from_the_user(tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("about: x\nstate: {a: {}}\n")

    async def handler(sock: ServerConnection) -> None:
        await sock.send(to_bytes({"key_map": str(file)}))
        async for message in sock:
            assert isinstance(message, bytes)
            await sock.send(to_bytes({"actions": np.zeros((1, len(from_bytes(message)["a"])))}))

    with serving(handler) as port:
        with pytest.raises(UsageError, match="libero"):  # a server cannot choose a file of this machine
            ask(port)
        np.testing.assert_array_equal(ask(port, key_map=str(file)), np.zeros((1, 4)))


def test_a_server_that_reads_what_the_key_map_does_not_send_is_refused_before_the_episode() -> None:
    async def handler(sock: ServerConnection) -> None:
        await sock.send(to_bytes({"key_map": "metaworld", "reads": ["observation/touch"]}))
        await asyncio.sleep(1)

    with serving(handler) as port, pytest.raises(UsageError, match="observation/touch"):
        ask(port)
