"""A profile's file is read once, however often it is asked for, and again once it has changed."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlatency import assets
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost import profile
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.experiments.sweeps.plan_file import read_plan

SHIPPED = assets.FOLDER / "latency" / "insertion_vla.json"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each latency profile was read, by its file's name."""
    counted: Counter[str] = Counter()
    read_bytes = Path.read_bytes

    def counting(path: Path) -> bytes:
        if path.suffix == ".json":
            counted[path.name] += 1
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    profile._read.cache_clear()
    yield counted
    profile._read.cache_clear()


def test_a_profile_is_read_once_whatever_it_is_called(tmp_path: Path, reads: Counter[str]) -> None:
    (tmp_path / "link.json").symlink_to(SHIPPED)
    for text in ("insertion_vla", str(SHIPPED), str(tmp_path / "link.json")) * 20:
        parse_latency(text, Optimization())
    assert reads == {"insertion_vla.json": 1}


def test_a_sweep_reads_each_profile_once(reads: Counter[str]) -> None:
    plan = read_plan("note")
    assert len(plan.settings) > 1
    for setting in plan.settings:
        assert setting.timing.latency.sha256
    assert reads["insertion_vla.json"] == 1
    assert set(reads.values()) == {1}


def test_a_profile_that_changed_is_read_again(tmp_path: Path, reads: Counter[str]) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(SHIPPED.read_bytes())
    before = parse_latency(str(path), Optimization())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"contention": 1.5}))
    os.utime(path, ns=(0, 1))
    after = parse_latency(str(path), Optimization())
    assert (before.contention, after.contention) == (2.0, 1.5)
    assert reads["mine.json"] == 2
