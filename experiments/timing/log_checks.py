"""What cannot be, or is doubtful, about measured latencies: wrong units, launches alone, warm-up, two modes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlatency.experiments.timing.log_choice import Timings
from vlatency.sim.errors import UsageError

LEAST_MS, MOST_MS = 1.0, 60_000.0
"""No whole call of a policy is shorter; one that is longer outlasts every episode."""
WARM_UP = 1.5
"""Calls at the beginning are warm-up if each takes more than this many times the median of the others."""
QUEUE = 0.5
"""Calls at the beginning were launched into an empty queue if each takes less than this share of that median."""
FEW, MODES, APART = 10, 1.5, 4.0
"""Calls below which the tail is not known; ratio of the medians of two modes; their distance in standard deviations."""


@dataclass(frozen=True)
class Judged:
    """Timings that can be.

    Attributes:
        samples_ms: without warm-up, in the order of the log.
        warm_up_ms: the calls at the beginning that were left out.
        remarks: what is doubtful, one sentence each.
    """

    samples_ms: tuple[float, ...]
    warm_up_ms: tuple[float, ...]
    remarks: tuple[str, ...]


def judge(timings: Timings, floor_ms: float = 0.0) -> Judged:
    """Refuse what cannot be, and say what is doubtful.

    Args:
        timings: of whole calls.
        floor_ms: what the device needs at least for this model.

    Raises:
        UsageError: the figures contradict each other, or what a device can do.
    """
    remarks = list(timings.remarks)
    if not timings.samples_ms:
        _check_statistics(timings.statistics)
        middle = timings.statistics.get("p50", timings.statistics.get("mean", 0.0))
        _check_size(timings.what, middle, floor_ms)
        remarks.append("the log has no samples, so how calls follow each other is not known")
        return Judged((), (), tuple(remarks))
    warm_up = _warm_up(timings.samples_ms)
    rest = timings.samples_ms[warm_up:]
    if warm_up:
        times = ", ".join(f"{ms:.4g}" for ms in timings.samples_ms[:warm_up])
        remarks.append(f"the first {_calls(warm_up)} ({times} ms) are left out as warm-up")
    _check_size(timings.what, float(np.median(rest)), floor_ms)
    return Judged(rest, timings.samples_ms[:warm_up], (*remarks, *_doubts(rest)))


def _calls(count: int) -> str:
    return f"{count} calls" if count > 1 else "one call"


def _check_statistics(found: dict[str, float]) -> None:
    """UsageError unless they can be of the same calls."""
    order = [name for name in ("min", "p50", "p95", "p99", "max") if name in found]
    for low, high in itertools.pairwise(order):
        if found[low] > found[high]:
            raise UsageError(
                f"{high} is {found[high]:.4g} ms and below {low}, {found[low]:.4g} ms: one of them is wrong"
            )
    if "mean" in found and not found.get("min", 0) <= found["mean"] <= found.get("max", math.inf):
        raise UsageError(f"the mean, {found['mean']:.4g} ms, is not between the shortest and the longest call")


def _check_size(what: str, middle_ms: float, floor_ms: float) -> None:
    """UsageError if a typical call takes less or more than a whole call can."""
    if middle_ms < LEAST_MS:
        unit = "s" if middle_ms * 1e3 >= LEAST_MS else "a larger unit"
        raise UsageError(
            f"{what}: a call takes {middle_ms:.3g} ms, which no policy reaches; are these seconds? Say --unit {unit}"
        )
    if middle_ms > MOST_MS:
        raise UsageError(
            f"{what}: a call takes {middle_ms:.4g} ms, over a minute; are these microseconds? Say --unit us"
        )
    if middle_ms < floor_ms:
        raise UsageError(
            f"{what}: a call takes {middle_ms:.3g} ms, but the device needs {floor_ms:.3g} ms only to read "
            "the weights once at 4 bits: a launch was timed without synchronisation, or it is another model"
        )


def _warm_up(samples: Sequence[float]) -> int:
    """How many calls at the beginning are warm-up: at most a tenth of all, or three."""
    most = min(max(3, len(samples) // 10), len(samples) - 3)
    for count in range(most, 0, -1):
        if min(samples[:count]) > WARM_UP * float(np.median(samples[count:])):
            # A slow call that comes again later is no warm-up.
            again = sum(ms >= min(samples[:count]) for ms in samples[count:])
            return count if again <= 0.02 * len(samples) else 0
    return 0


def _doubts(samples: Sequence[float]) -> list[str]:
    said = []
    ordered = sorted(samples)
    steps = {round(ms, 6) for ms in samples}
    if len(samples) < FEW:
        said.append(
            f"{_calls(len(samples)) if len(samples) > 1 else 'one call'}: too few to say how long the slow ones take"
        )
    if len(steps) == 1 and len(samples) > 1:
        said.append("all calls take exactly the same time: this is a constant, not a measurement of each")
    elif len(samples) >= FEW and len(steps) <= max(3, len(samples) // 20):
        said.append(f"only {len(steps)} different values: the clock or the format rounds them")
    if len(samples) >= FEW and len(steps) > 1 and list(samples) in (ordered, ordered[::-1]):
        said.append("the calls are sorted, so how they followed each other is lost")
    early = _filling(samples)
    if early:
        said.append(
            f"the first {_calls(early)} take less than half of the others, as launches do until a queue is full: "
            "synchronise"
        )
    if modes := two_modes(samples):
        (low, share), (high, _) = modes
        said.append(
            f"two modes, {low:.4g} ms ({share:.0%}) and {high:.4g} ms: two kinds of calls, such as whole ones and ones "
            "that reuse features?"
        )
    return said


def _filling(samples: Sequence[float]) -> int:
    for count in range(min(len(samples) // 3, 50), 2, -1):
        if max(samples[:count]) < QUEUE * float(np.median(samples[count:])):
            return count
    return 0


def two_modes(samples: Sequence[float]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The medians and shares of two modes; None if the calls have one.

    The logarithms are split where the variance within both parts is smallest (Otsu 1979). Two modes are at least a
    tenth of the calls each, one is `MODES` times as long as the other, and they are `APART` of their standard
    deviations from each other (Ashman et al. 1994). Fewer than twice `FEW` calls do not tell two modes from one.
    """
    if len(samples) < 2 * FEW or min(samples) <= 0:
        return None
    logs = np.sort(np.log(samples))
    least = max(3, math.ceil(len(logs) / 10))
    cuts = range(least, len(logs) - least + 1)
    if not cuts:
        return None
    cut = min(cuts, key=lambda place: place * np.var(logs[:place]) + (len(logs) - place) * np.var(logs[place:]))
    low, high = logs[:cut], logs[cut:]
    distance = float(np.median(high) - np.median(low))
    spread = math.sqrt((float(np.var(low)) + float(np.var(high))) / 2)
    if distance < math.log(MODES) or distance < APART * spread or float(high[0] - low[-1]) < spread:
        return None
    share = cut / len(logs)
    return (math.exp(np.median(low)), share), (math.exp(np.median(high)), 1 - share)
