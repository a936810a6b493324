"""run.py with a policy server that goes away: an episode is begun once more, and no finished row is lost."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from tests.builders.policy_server import from_bytes, serving, to_bytes
from vlatency.experiments.shared.files import ROOT

pytestmark = pytest.mark.slow
KEYS = "about: the hand and nothing else\nstate: {hand: {stop: 4}}\n"
METADATA = {"name": "stands still"}
LATER = 60
"""Number of an observation after the first episode."""


def still(message: Any) -> bytes:
    """Answers with the pose of the hand, fingers open."""
    return to_bytes({"actions": np.tile([*from_bytes(message)["hand"], 0.0], (8, 1))})


class Server:
    """Stands still. Its connection breaks at the observations whose numbers are in `breaks`."""

    def __init__(self, breaks: Container[int] = ()) -> None:
        self.breaks, self.observations = breaks, 0

    async def __call__(self, socket: ServerConnection) -> None:
        await socket.send(to_bytes(METADATA))
        async for message in socket:
            self.observations += 1
            if self.observations in self.breaks:
                socket.transport.abort()
                return
            await asyncio.sleep(0.002)
            await socket.send(still(message))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(KEYS)
    return path


def run(
    port: int, keys: Path, out: Path, *options: str, latency: str = "fixed:300"
) -> "subprocess.CompletedProcess[str]":
    words = ["--policy", f"openpi://127.0.0.1:{port}?timeout=5", "--key-map", str(keys), "--latency", latency]
    words += ["--mode", "async", "--episodes", "3", "--videos", "0", "--workers", "1", "--out", str(out), *options]
    command = [sys.executable, str(ROOT / "experiments" / "run.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows(out: Path) -> dict[int, str]:
    """The hash of each episode, by its seed."""
    found = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
    assert len({row["seed"] for row in found}) == len(found)
    return {row["seed"]: row["trajectory_hash"] for row in found}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "keys.yaml").write_text(KEYS)
    with serving(Server()) as port:
        done = run(port, folder / "keys.yaml", folder / "run")
    assert done.returncode == 0, done.stderr
    yield rows(folder / "run")


def test_an_episode_whose_server_goes_away_is_begun_once_more(
    undisturbed: dict[int, str], keys: Path, tmp_path: Path
) -> None:
    with serving(Server(breaks={LATER})) as port:
        done = run(port, keys, tmp_path / "run")
    assert (done.returncode, rows(tmp_path / "run")) == (0, undisturbed), done.stderr


def test_a_server_that_stays_away_is_one_line_and_the_run_continues_later(
    undisturbed: dict[int, str], keys: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with serving(Server(breaks=range(LATER, 10_000))) as port:
        done = run(port, keys, out)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    kept = rows(out)
    assert 0 < len(kept) < 3
    assert kept.items() <= undisturbed.items()
    with serving(Server()) as port:
        done = run(port, keys, out, "--resume")
    assert (done.returncode, rows(out)) == (0, undisturbed), done.stderr


def test_a_server_that_is_not_there_leaves_no_folder(keys: Path, tmp_path: Path) -> None:
    with serving(Server()) as port:
        pass
    done = run(port, keys, tmp_path / "run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "serve.py" in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_the_answers_took_is_written_beside_the_run_and_can_be_charged(keys: Path, tmp_path: Path) -> None:
    out, few = tmp_path / "run", ("--reuse", "10", "--episodes", "1")
    with serving(Server()) as port:
        done = run(port, keys, out, *few, latency="measured")
        assert done.returncode == 0, done.stderr
        assert "measured" in done.stdout
        served = json.loads((out / "served.json").read_text())
        assert served["server"] == METADATA
        assert min(served["samples_ms"]) >= 2
        done = run(port, keys, tmp_path / "again", *few, latency=str(out / "served.json"))
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "again").keys() == rows(out).keys()
