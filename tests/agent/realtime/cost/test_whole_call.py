"""A profile of whole calls is charged as it was measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import ProfileLatency
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.cost.whole_call import load_whole_call
from vlatency.sim.errors import UsageError

CALL: dict[str, Any] = {
    "covers": "whole call",
    "device": "a GPU",
    "source": "openpi://h:1",
    "samples_ms": [40.0, 50.0],
    "cold_start_ms": 900.0,
    "server": {"name": "pi0", "rows": 50},
}


def write(folder: Path, **changes: Any) -> str:
    path = folder / "served.json"
    path.write_text(json.dumps({key: value for key, value in (CALL | changes).items() if value is not None}))
    return str(path)


def test_a_call_takes_one_of_the_samples_the_first_the_cold_start_more_and_the_head_nothing(tmp_path: Path) -> None:
    latency = parse_latency(write(tmp_path), Optimization())
    assert isinstance(latency, ProfileLatency)
    stream = latency.stream(np.random.default_rng(0))
    took = [stream.encode_ns(3, 3) for _ in range(100)]
    assert took[0] in (940_000_000, 950_000_000)
    assert set(took[1:]) == {40_000_000, 50_000_000}
    assert stream.head_ns() == 0
    assert (latency.basis, latency.device) == ("measured", "a GPU")


def test_a_policy_without_cameras_is_charged_as_well(tmp_path: Path) -> None:
    assert parse_latency(write(tmp_path), Optimization()).stream(np.random.default_rng(0)).encode_ns(0, 0) > 0


def test_another_profile_is_none(tmp_path: Path) -> None:
    assert load_whole_call(Path(write(tmp_path, covers=None))) is None


@pytest.mark.parametrize(
    "changes",
    [{"samples_ms": []}, {"samples_ms": [-1.0]}, {"covers": "head"}, {"device": ""}, {"colour": 1}, {"source": None}],
)
def test_a_value_that_cannot_be_is_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        parse_latency(write(tmp_path, **changes), Optimization())
    assert "\n" not in str(error.value)
