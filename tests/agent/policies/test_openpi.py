"""The bytes of openpi's protocol, and our server, driven by a client that is not ours."""

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.builders.policy_server import from_bytes, to_bytes
from vlatency.agent.policies.openpi import Answer, pack, start_server, unpack

GOLDEN = bytes.fromhex(
    "86b16f62736572766174696f6e2f696d61676584c40b5f5f6e6461727261795f5fc3c40464617461c40c000102030405060708090a0bc40564"
    "74797065a37c7531c405736861706593020203b16f62736572766174696f6e2f737461746584c40b5f5f6e6461727261795f5fc3c404646174"
    "61c410000000000000e03f000000000000f0bfc4056474797065a33c6638c40573686170659102a670726f6d7074a47069636ba4666c616783"
    "c40d5f5f6e7067656e657269635f5fc3c40464617461c3c4056474797065a37c6231a16e83c40d5f5f6e7067656e657269635f5fc3c4046461"
    "7461cb3fd0000000000000c4056474797065a33c6634a17407"
)
"""What openpi-client 0.1.2 makes of `MESSAGE`."""
MESSAGE: dict[str, Any] = {
    "observation/image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "observation/state": np.array([0.5, -1.0]),
    "prompt": "pick",
    "flag": np.bool_(True),
    "n": np.float32(0.25),
    "t": 7,
}


def test_a_message_is_byte_for_byte_that_of_the_openpi_client() -> None:
    assert pack(MESSAGE) == GOLDEN


def test_the_openpi_client_s_bytes_are_read_as_what_they_were_made_of() -> None:
    read = unpack(GOLDEN)
    assert read.keys() == MESSAGE.keys()
    for key, value in MESSAGE.items():
        np.testing.assert_array_equal(read[key], value, strict=isinstance(value, np.ndarray))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", ">i4", "<i8", "float16", "float32", ">f8"])
@pytest.mark.parametrize("shape", [(), (0, 7), (3,), (2, 3, 4)])
def test_an_array_of_numbers_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    back = unpack(pack({"a": array}))["a"]
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("value", [np.array([object()]), np.zeros(1, "f8,f8"), np.array(["a"]), 1j, {1, 2}])
def test_what_would_need_pickle_is_not_sent(value: Any) -> None:
    with pytest.raises(TypeError):
        pack({"a": value})


@pytest.mark.parametrize("cut", range(len(GOLDEN)))
def test_the_beginning_of_a_message_is_no_message(cut: int) -> None:
    with pytest.raises(ValueError, match="msgpack"):
        unpack(GOLDEN[:cut])


@contextmanager
def serving(answer: Answer) -> Iterator[int]:
    server = start_server(lambda: answer, {"name": "ours"}, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()


def double(observation: dict[str, Any]) -> dict[str, Any]:
    return {"actions": 2 * observation["a"]}


def test_a_client_from_the_description_gets_metadata_actions_and_timings() -> None:
    with serving(double) as port, connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as socket:
        assert from_bytes(socket.recv(decode=False)) == {"name": "ours"}
        for _ in range(2):
            socket.send(to_bytes({"a": np.arange(3.0)}))
            answer = from_bytes(socket.recv(decode=False))
    np.testing.assert_array_equal(answer["actions"], [0, 2, 4])
    assert answer["server_timing"].keys() == {"infer_ms", "prev_total_ms"}


@pytest.mark.parametrize("wrong", [b"\xc1", "text", to_bytes({"b": 1}), b"\x01"])
def test_a_wrong_observation_costs_its_connection_and_no_other(wrong: bytes | str) -> None:
    with serving(double) as port:
        with connect(f"ws://127.0.0.1:{port}") as socket:
            socket.recv()
            socket.send(wrong)
            said = socket.recv()
            with pytest.raises(ConnectionClosedError, match="1011"):
                socket.recv()
        with connect(f"ws://127.0.0.1:{port}") as socket:
            socket.recv()
            socket.send(to_bytes({"a": np.ones(1)}))
            assert from_bytes(socket.recv(decode=False))["actions"] == 2
    assert isinstance(said, str)
    assert "Error" in said


def test_it_says_that_it_is_healthy() -> None:
    with serving(double) as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
        assert (reply.status, reply.read()) == (200, b"OK\n")
