"""What a policy server really took, as a profile."""

from pathlib import Path
from typing import Any

import pytest

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.experiments.timing.served_profile import MOST, SERVED, served_profile, write_served

ROWS: list[dict[str, Any]] = [
    {"calls_ms": [500.0, 40.0, 42.0], "server_ms": [480.0, 35.0, None]},
    {"calls_ms": [300.0, 41.0, 43.0], "server_ms": [290.0, 36.0, 37.0]},
    {"calls_ms": []},
    {},
]


def test_the_first_call_of_an_episode_is_apart() -> None:
    profile = served_profile(ROWS, "openpi://h:1", {"metadata": {"device": "a GPU"}})
    assert profile is not None
    assert profile.samples_ms == (40.0, 41.0, 42.0, 43.0)
    assert profile.cold_start_ms == 400.0 - 41.5
    assert profile.server_ms is not None
    assert profile.server_ms.samples_ms == (35.0, 36.0, 37.0)
    assert profile.device == "a GPU"


def test_what_is_written_can_be_charged(tmp_path: Path) -> None:
    write_served(tmp_path, ROWS, "openpi://h:1", {"metadata": {"name": "pi0", "reads": ["a"]}})
    latency = parse_latency(str(tmp_path / SERVED), Optimization())
    assert latency.vl_ms == pytest.approx(41.5)
    assert latency.head_ms == 0


def test_episodes_of_one_call_have_no_other_figures() -> None:
    profile = served_profile([{"calls_ms": [7.0]}], "openpi://h:1", {})
    assert profile is not None
    assert (profile.samples_ms, profile.cold_start_ms) == ((7.0,), 0.0)


def test_many_calls_keep_their_distribution() -> None:
    profile = served_profile([{"calls_ms": [0.0, *map(float, range(10 * MOST))]}], "openpi://h:1", {})
    assert profile is not None
    assert profile.samples_ms is not None
    assert len(profile.samples_ms) == MOST
    assert (profile.samples_ms[0], profile.samples_ms[-1]) == (0.0, 10 * MOST - 1)
    assert profile.distribution.p50_ms == pytest.approx(5 * MOST, rel=0.01)


def test_without_calls_there_is_no_profile(tmp_path: Path) -> None:
    assert served_profile([{}], "openpi://h:1", {}) is None
    write_served(tmp_path, [{}], "openpi://h:1", {})
    assert not list(tmp_path.iterdir())
