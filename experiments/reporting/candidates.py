"""The configurations on a device: how fast it runs them, what is known of their success, and which are beaten."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import Charged
from vlatency.agent.realtime.cost.named import ROOFLINE, NoFigure, parse_latency
from vlatency.agent.realtime.servers import Apart, ServersName
from vlatency.agent.realtime.timing import Timing
from vlatency.experiments.evaluation.options import ClockOptions
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.charges import slower_in
from vlatency.experiments.reporting.interpolation import Interpolated, interpolate, known_in_full, speaking
from vlatency.experiments.reporting.pace import MOST_LATE, expected_late, high_ms, rate_hz
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.wording import features, latency_source, rate
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Device:
    """What runs the model.

    Attributes:
        name: what charges the clock, as `find_device` gives it.
        servers: which GPUs encoder and head have.
        contention: of one GPU that they share; None: what the latency says.
    """

    name: str
    servers: Literal["auto", ServersName] = "auto"
    contention: float | None = None

    def timing(self, configuration: Setting) -> Timing:
        """A configuration's timing on this device."""
        clock = ClockOptions((configuration.mode,), self.name, servers=self.servers, contention=self.contention)
        timing = configuration.timing
        (device,) = clock.timings(configuration.optimization, timing.actions, timing.stages)
        return replace(configuration.timing, latency=device.latency, servers=device.servers)


@dataclass(frozen=True)
class Candidate:
    """A configuration on the device.

    Attributes:
        name: what the model is fed and when.
        results: the cells where it was measured on this task, at any latency and on any servers.
        timing: of the configuration on the device.
        rate_hz: control ticks per second that it serves in all but 1 % of its loops [Hz].
        keeps_up: whether it serves the control ticks in time.
        at_best: the latencies are those of a roofline, which no real device beats: success is at most what it says.
        source: of the latency.
        options: how many configurations have such an interval, all of which hold at once.
        interpolated: success at those latencies; None if no cell is slow enough to tell.
    """

    name: str
    results: tuple[Result, ...]
    timing: Timing
    rate_hz: float
    keeps_up: bool
    at_best: bool
    source: str
    options: int
    interpolated: Interpolated | None

    @property
    def charged(self) -> Charged:
        """Latencies of the device."""
        return self.timing.latency.charged

    def describe(self) -> str:
        """Name and success."""
        assert self.interpolated
        least = "at least " * (self.interpolated.how == "at least")
        return f"{self.name} ({least}{rate(self.interpolated.success)}, n = {self.interpolated.n})"

    def unlike(self) -> str:
        """In what the device is slower than the cell that comes closest to it; empty if no cell is known in full."""
        views = len(self.results[0].setting.optimization.cameras)
        known = filter(known_in_full, self.results)
        found = [slower_in(self.timing, result.setting.timing, views) for result in known]
        return "; ".join(sorted(found, key=len)[0]) if found else ""


def make_candidates(results: Sequence[Result], device: Device) -> list[Candidate]:
    """One candidate per configuration that has a latency on the device, with its timing and what the cells say of that.

    Their intervals hold at once, however many there are.

    Args:
        results: of one task and speed, in any mode but pause; their latencies are known in full.
        device: the device.
    """
    groups: dict[Setting, list[Result]] = {}
    for result in results:
        groups.setdefault(configuration(result), []).append(result)
    timings = {each: timing for each in groups if not isinstance(timing := _timing(each, device), NoFigure)}
    groups = {each: group for each, group in groups.items() if each in timings}
    options = sum(bool(speaking(group, timings[each])[1]) for each, group in groups.items())
    return [
        Candidate(
            name=features(each),
            results=tuple(group),
            timing=timings[each],
            rate_hz=rate_hz(high_ms(timings[each])) or math.inf,
            keeps_up=_keeps_up(group, timings[each]),
            at_best=device.name.startswith(ROOFLINE),
            source=latency_source(timings[each].latency.describe()),
            options=max(options, 1),
            interpolated=interpolate(group, timings[each], max(options, 1)),
        )
        for each, group in groups.items()
    ]


def without_figure(results: Sequence[Result], device: Device) -> dict[str, str]:
    """The configurations that have no latency on the device, so that nothing is said of them, each with the reason."""
    found = {features(each): _timing(each, device) for each in dict.fromkeys(map(configuration, results))}
    return {name: str(timing) for name, timing in found.items() if isinstance(timing, NoFigure)}


def _timing(configuration: Setting, device: Device) -> Timing | NoFigure:
    try:
        return device.timing(configuration)
    except NoFigure as error:
        return error


def configuration(result: Result) -> Setting:
    """What is chosen: the configuration on whatever servers, as these are the device's."""
    found = result.configuration
    return replace(found, timing=replace(found.timing, servers=Apart()))


def _keeps_up(results: Sequence[Result], device: Timing) -> bool:
    """Whether the latencies of the device allow it, and the clock recorded nothing else at these or shorter ones."""
    if device.stages == 1:  # it has no ticks of its own to serve
        return True
    recorded = [result.late <= MOST_LATE * result.ticks for result in speaking(results, device)[0]]
    return all(recorded) and expected_late(device) <= MOST_LATE


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that keep up first; among them by success, then by rate, then by latency."""

    def merit(candidate: Candidate) -> tuple[bool, float, float, float]:
        success = candidate.interpolated.success.estimate if candidate.interpolated else -1.0
        return candidate.keeps_up, success, candidate.rate_hz, -candidate.charged.vl_p95_ms

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
        except NoFigure:
            return found  # of the default configuration; it may have one of others
        except UsageError as error:
            complaint = complaint or error
    raise UsageError(f"--device: {complaint}")
