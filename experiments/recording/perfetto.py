"""An episode as Chrome-trace JSON, which https://ui.perfetto.dev and chrome://tracing open without a plug-in.

Format: "Trace Event Format" (Google, 2016): complete events X, instants i, counters C, names M; times in microseconds.
"""

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.sim.clock import ns_to_ms

LANES = ("cameras", "VL server", "head", "commands", "physics")
"""One thread each, in this order from the top."""
FEATURE_AGE, UNIT = "feature age", "ms"
"""Perfetto shows them together as the name of the counter."""
_PID = 1

Event = dict[str, Any]


def chrome_trace(trace: EpisodeTrace, about: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of one episode.

    An encode and a run of the head are slices, cut at the end of the episode; a command is a slice for as long as its
    set-point is in force; exposures and control ticks are instants.

    Args:
        about: facts to keep beside the events, such as mode and seed.
    """
    return {
        "traceEvents": [*_names(about), *_exposures(trace), *_jobs(trace), *_commands(trace), *_physics(trace)],
        "displayTimeUnit": "ms",
        "otherData": {key: str(value) for key, value in about.items()},
    }


def write_chrome_trace(path: Path, trace: EpisodeTrace, about: dict[str, Any]) -> None:
    """Write `path`; it appears when it is whole. OSError when it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(chrome_trace(trace, about), separators=(",", ":"), allow_nan=False) + "\n")
    part.replace(path)


def _names(about: dict[str, Any]) -> Iterator[Event]:
    title = "vlatency " + ", ".join(f"{key} {value}" for key, value in about.items())
    yield {"ph": "M", "name": "process_name", "pid": _PID, "args": {"name": title}}
    for lane in LANES:
        tid = tid_of(lane)
        yield {"ph": "M", "name": "thread_name", "pid": _PID, "tid": tid, "args": {"name": lane}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": _PID, "tid": tid, "args": {"sort_index": tid}}


def _event(ph: str, lane: str, name: str, t_ns: int, **more: Any) -> Event:
    return {"ph": ph, "name": name, "pid": _PID, "tid": tid_of(lane), "ts": _us(t_ns), **more}


def tid_of(lane: str) -> int:
    """The thread of a lane. They count from 1: what thread 0 does, Perfetto puts on another one."""
    return LANES.index(lane) + 1


def _us(ns: int) -> float:
    return ns / 1e3


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
        yield _event("X", lanes[span.name], span.name, span.start_ns, dur=_us(end_ns - span.start_ns), args=args)
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
        held_us = _us(end_ns - command.applied_ns)
        name = "new chunk" if command.fresh else "same chunk"
        yield _event("X", "commands", name, command.applied_ns, dur=held_us, args=args)


def _physics(trace: EpisodeTrace) -> Iterator[Event]:
    yield _event("X", "physics", "episode", 0, dur=_us(trace.end_ns), args={"mode": trace.mode})
    for tick in trace.ticks:
        name = "missed tick" if tick.missed else "overrun tick" if tick.overrun else "tick"
        yield _event("i", "physics", name, tick.t_ns, s="t")
        if tick.feature_age_ns is not None:
            yield _age(tick.t_ns, tick.feature_age_ns)


def _age(t_ns: int, age_ns: int) -> Event:
    """A sample of the counter; between two samples a viewer draws it flat."""
    return {"ph": "C", "name": FEATURE_AGE, "pid": _PID, "ts": _us(t_ns), "args": {UNIT: ns_to_ms(age_ns)}}
