"""How many control ticks a configuration serves: what a tick waits for, and which ticks the clock recorded as late."""

from collections.abc import Iterable

import numpy as np

from vlatency.agent.realtime.servers import Shared
from vlatency.agent.realtime.timing import Timing
from vlatency.experiments.evaluation.feature_ages import HISTOGRAM
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.reporting.charges import WEIGHTS, Curve, add, charges

MOST_LATE = 0.01
"""A configuration keeps up if at most this share of its control ticks gets its command late or not at all."""
HIGH = 1 - MOST_LATE
"""Quantile of encode and head at which the pace of a device is stated."""


def loop_ms(timing: Timing, vl_ms: float, head_ms: float) -> float | None:
    """From a control tick to the effect of its command [ms]: encode and head in sync, the head in async; None in pause.

    A policy of one stage has no head that could run alone: its loop is the whole inference in async as well.

    In async an encode may be running. Where both share a GPU, that slows the head down, at most until the encode ends.

    Args:
        timing: mode, servers, camera and actuation delays.
        vl_ms: latency of an encode [ms].
        head_ms: latency of a run of the head that has its GPU to itself [ms].
    """
    if timing.mode == "pause":
        return None
    if timing.mode == "sync" or timing.stages == 1:
        return timing.robot.camera_delay_ms + vl_ms + head_ms + timing.robot.actuation_ms
    if isinstance(timing.servers, Shared):
        head_ms = min(timing.servers.contention * head_ms, head_ms + vl_ms)
    return head_ms + timing.robot.actuation_ms


def rate_hz(loop_ms: float | None) -> float | None:
    """Control ticks per second [Hz], if each takes so long [ms]; None where nothing limits them."""
    return 1000 / loop_ms if loop_ms else None


def loops(timing: Timing) -> Curve:
    """`loop_ms` of all encodes and head runs, in sync or async. On one GPU a head meets the longest encode."""
    charged = charges(timing.latency)
    whole = timing.mode == "sync" or timing.stages == 1
    vl_ms = charged.encode if whole else np.full(len(WEIGHTS), charged.encode[-1])
    head_ms = charged.head
    if whole:
        vl_ms, head_ms = add(vl_ms, head_ms), np.zeros(len(WEIGHTS))
    return np.array([loop_ms(timing, *both) for both in zip(vl_ms.tolist(), head_ms.tolist(), strict=True)])


def high_ms(timing: Timing) -> float:
    """The loop that all but 1 % keep to [ms]."""
    return float(loops(timing)[np.searchsorted(np.cumsum(WEIGHTS), HIGH - 1e-9)])


def expected_late(timing: Timing) -> float:
    """The share of control ticks that such loops make late or leave without a command, in sync or async."""
    lost = np.maximum(np.ceil(loops(timing) * timing.control_hz / 1000 - 1e-9) - 1, 0)
    return float(WEIGHTS @ lost / (WEIGHTS @ (1 + lost)))


def late_ticks(rows: Iterable[Row]) -> int:
    """Control ticks that got their command late or not at all, as the clock recorded them.

    Those before the first features do not count, nor does the last one of an episode, after which none may follow.
    """
    late = 0
    for row in rows:
        ticks = row.get("ticks", 0)
        before = ticks - sum(row[HISTOGRAM]) if HISTOGRAM in row else 0
        late += min(ticks, max(0, row.get("missed", 0) - before - 1) + row.get("overruns", 0))
    return late
