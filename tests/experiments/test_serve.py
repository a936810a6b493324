"""serve.py, from the command line."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.builders.processes import heed_ctrl_c
from vlatency.agent.policies.source import find_source
from vlatency.experiments.shared.files import ROOT

pytestmark = pytest.mark.slow
COMMAND = (sys.executable, str(ROOT / "experiments" / "serve.py"))


@contextmanager
def running(*options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """serve.py once it listens; gives its address."""
    command = [*COMMAND, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            yield next(word.rstrip(";") for word in line.split() if word.startswith("openpi://")), process
        finally:
            process.kill()


def test_it_says_where_it_is_and_what_it_is_and_stops_without_a_fuss() -> None:
    with running("--views", "2") as (address, process):
        source = find_source(address)
        assert source.kind == "stand-in"
        assert source.cameras == ("top", "wrist")
        about = source.identity()["metadata"]
        assert (about["name"], about["head"]) == ("vlatency tiny", "regression")
        assert about["optimization"]["cameras"] == ["top", "wrist"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.parametrize("options", [["--policy", "none"], ["--port", "70000"], ["--views", "9"], ["--device", "cuda"]])
def test_what_cannot_be_served_is_one_line(options: list[str]) -> None:
    import torch

    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    found = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.count("\n"), found.stdout) == (2, 1, "")


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert port in found.stderr
