"""An episode as Chrome-trace JSON, which https://ui.perfetto.dev and chrome://tracing can open.

Format: "Trace Event Format" (Google, 2016). Complete events are X, instants i, counters C, names M; times are in
microseconds.
"""

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.shared.files import write_text
from vlatency.sim.clock import ns_to_ms

LANES = ("cameras", "VL server", "head", "commands", "physics")
"""One thread each, from top to bottom."""
FEATURE_AGE, UNIT = "feature age", "ms"
"""Perfetto joins them to the counter's name."""
_PID = 1
NS_PER_US = 1000

Event = dict[str, Any]


def chrome_trace(trace: EpisodeTrace, about: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of one episode.

    Encodes and head runs are slices, cut off at the end of the episode. A command is a slice that lasts as long as its
    set-point is in force. Exposures and control ticks are instants.

    Args:
        trace: the episode.
        about: facts to store with the events, such as mode and seed.
    """
    return {
        "traceEvents": [*_names(about), *_exposures(trace), *_jobs(trace), *_commands(trace), *_physics(trace)],
        "displayTimeUnit": "ms",
        "otherData": {key: str(value) for key, value in about.items()},
    }


def write_chrome_trace(path: Path, trace: EpisodeTrace, about: dict[str, Any]) -> None:
    """Write the JSON object of one episode to `path`, atomically. OSError if it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(chrome_trace(trace, about), separators=(",", ":"), allow_nan=False) + "\n")


def _names(about: dict[str, Any]) -> Iterator[Event]:
    title = "vlatency " + ", ".join(f"{key} {value}" for key, value in about.items())
    yield {"ph": "M", "name": "process_name", "pid": _PID, "args": {"name": title}}
    for lane in LANES:
        tid = tid_of(lane)
        yield {"ph": "M", "name": "thread_name", "pid": _PID, "tid": tid, "args": {"name": lane}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": _PID, "tid": tid, "args": {"sort_index": tid}}


def _event(ph: str, lane: str, name: str, t_ns: int, **more: Any) -> Event:
    return {"ph": ph, "name": name, "pid": _PID, "tid": tid_of(lane), "ts": t_ns / NS_PER_US, **more}


def _slice(lane: str, name: str, start_ns: int, end_ns: int, args: dict[str, Any]) -> Event:
    return _event("X", lane, name, start_ns, dur=(end_ns - start_ns) / NS_PER_US, args=args)


def tid_of(lane: str) -> int:
    """Thread number of a lane, from 1: Perfetto moves the events of thread 0 to another thread."""
    return LANES.index(lane) + 1


def _exposures(trace: EpisodeTrace) -> Iterator[Event]:
    for span in trace.spans:
        if span.name == "encode":
            yield _event("i", "cameras", "exposure", span.capture_ns, s="t")


def _jobs(trace: EpisodeTrace) -> Iterator[Event]:
    lanes = {"encode": "VL server", "head": "head"}
    for span in trace.spans:
        end_ns = min(span.end_ns, trace.end_ns)
        args: dict[str, Any] = {
            "image_age_at_start_ms": ns_to_ms(span.start_ns - span.capture_ns),
            "cut_off": end_ns < span.end_ns,
        }
        if span.name == "encode":
            args["views"] = ", ".join(span.views)
        yield _event(
            "X", lanes[span.name], span.name, span.start_ns, dur=(end_ns - span.start_ns) / NS_PER_US, args=args
        )
        if span.name == "encode" and span.end_ns <= trace.end_ns:
            yield _age(span.end_ns, span.end_ns - span.capture_ns)


def _commands(trace: EpisodeTrace) -> Iterator[Event]:
    for command, following in zip_longest(trace.commands, trace.commands[1:]):
        end_ns = following.applied_ns if following else trace.end_ns
        args = {
            "image_age_ms": ns_to_ms(command.applied_ns - command.capture_ns),
            "encode_ms": ns_to_ms(command.vl_ns),
            "head_ms": ns_to_ms(command.head_ns),
        }
        name = "new chunk" if command.fresh else "same chunk"
        yield _slice("commands", name, command.applied_ns, end_ns, args)


def _physics(trace: EpisodeTrace) -> Iterator[Event]:
    yield _slice("physics", "episode", 0, trace.end_ns, {"mode": trace.mode})
    for tick in trace.ticks:
        name = "missed tick" if tick.missed else "overrun tick" if tick.overrun else "tick"
        yield _event("i", "physics", name, tick.t_ns, s="t")
        if tick.feature_age_ns is not None:
            yield _age(tick.t_ns, tick.feature_age_ns)


def _age(t_ns: int, age_ns: int) -> Event:
    """A sample of the counter. Viewers draw it flat until the next sample."""
    return {"ph": "C", "name": FEATURE_AGE, "pid": _PID, "ts": t_ns / NS_PER_US, "args": {UNIT: ns_to_ms(age_ns)}}
