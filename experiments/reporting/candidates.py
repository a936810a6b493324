"""The configurations on a device: how fast it runs them, what is known of their success, and which are beaten."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import ROOFLINE, Charged, parse_latency
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.interpolation import Interpolated, interpolate
from vlatency.experiments.reporting.result import Result, loop_ms, rate_hz, with_latency
from vlatency.experiments.reporting.wording import features, latency_source, rate
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Candidate:
    """A configuration on the device.

    Attributes:
        name: what the model is fed and when.
        results: the cells where it was measured on this task, at any latency.
        charged: latencies of the device.
        rate_hz: control ticks per second that it serves, at the 95th percentile of an encode [Hz].
        at_best: the latencies are those of a roofline, which no real device beats: success is at most what it says.
        source: of the latency.
        interpolated: success at those latencies; None if only shorter ones were measured.
    """

    name: str
    results: tuple[Result, ...]
    charged: Charged
    rate_hz: float
    at_best: bool
    source: str
    interpolated: Interpolated | None

    def describe(self) -> str:
        """Name and success."""
        assert self.interpolated
        least = "at least " * (self.interpolated.how == "at least")
        return f"{self.name} ({least}{rate(self.interpolated.success)}, n = {self.interpolated.n})"


def make_candidates(results: Sequence[Result], device: str) -> list[Candidate]:
    """One candidate per configuration, with the latency of the device and what the cells say of that.

    Args:
        results: of one task and speed, in any mode but pause.
        device: as `find_device` gives it.
    """
    groups: dict[Setting, list[Result]] = {}
    for result in results:
        groups.setdefault(result.configuration, []).append(result)
    candidates = []
    for configuration, group in groups.items():
        latency = parse_latency(device, configuration.optimization)
        timing, charged = with_latency(configuration.timing, latency), latency.charged
        candidates.append(
            Candidate(
                name=features(configuration),
                results=tuple(group),
                charged=charged,
                rate_hz=rate_hz(loop_ms(timing, charged.vl_p95_ms)) or math.inf,
                at_best=device.startswith(ROOFLINE),
                source=latency_source(latency.describe()),
                interpolated=interpolate(group, charged),
            )
        )
    return candidates


def rank(candidates: Sequence[Candidate], control_hz: float) -> list[Candidate]:
    """Those that keep up first; among them by success, then by rate, then by latency."""

    def merit(candidate: Candidate) -> tuple[bool, float, float, float]:
        success = candidate.interpolated.success.estimate if candidate.interpolated else -1.0
        return candidate.rate_hz >= control_hz, success, candidate.rate_hz, -candidate.charged.vl_p95_ms

    return sorted(candidates, key=merit, reverse=True)


def dominated(candidates: Sequence[Candidate]) -> list[int | None]:
    """For each one, the first other that is at least as fast and whose whole interval of success lies above its own."""

    def beats(one: Candidate, two: Candidate) -> bool:
        if not one.interpolated or not two.interpolated:
            return False
        return one.interpolated.success.low > two.interpolated.success.high and one.rate_hz >= two.rate_hz

    return [next((i for i, one in enumerate(candidates) if beats(one, two)), None) for two in candidates]


def find_device(name: str) -> str:
    """The latency model of that name, or of roofline:NAME. UsageError, naming what there is, otherwise."""
    complaint = None
    for found in (name, f"{ROOFLINE}{name}"):
        try:
            parse_latency(found, Optimization())
            return found
        except UsageError as error:
            complaint = complaint or error
    raise UsageError(f"--device: {complaint}")
