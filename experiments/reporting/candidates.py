"""The configurations on a device: how fast it runs them, what is known of their success, and which are beaten."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vlatency.agent.realtime.cost.latency import ROOFLINE, Charged
from vlatency.experiments.reporting.headline import rate
from vlatency.experiments.reporting.interpolation import Believed, Measured, believe, latency
from vlatency.experiments.reporting.run_summary import features


@dataclass(frozen=True)
class Option:
    """A configuration on the device.

    Attributes:
        name: what the model is fed and when.
        cells: where it was measured on this task, at any latency.
        charged: latencies of the device.
        rate_hz: control ticks a second it serves, at the 95th percentile of an encode [Hz].
        at_best: the latencies are those of a roofline, which no real device beats: success is at most what it says.
        provenance: of the latency.
        believed: success at those latencies; None if only shorter ones were measured.
    """

    name: str
    cells: tuple[Measured, ...]
    charged: Charged
    rate_hz: float
    at_best: bool
    provenance: str
    believed: Believed | None

    def describe(self) -> str:
        """Name and success."""
        assert self.believed
        least = "at least " * (self.believed.how == "at least")
        return f"{self.name} ({least}{rate(self.believed.success)}, n = {self.believed.n})"


def make_options(cells: Sequence[Measured], device: str) -> list[Option]:
    """One a configuration, with the latency of the device and what the cells say of that."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(cell.configuration, []).append(cell)
    options = []
    for group in groups.values():
        setting, (mode,) = group[0].setting, group[0].setting["modes"]
        model = latency(device, setting["optimization"])
        took = model.charged
        head = model.head_ms * (1 if setting["servers"] == "two" else model.contention)
        loop = head + (took.vl_p95_ms if mode == "sync" else 0.0)
        options.append(
            Option(
                name=features(setting, mode),
                cells=tuple(group),
                charged=took,
                rate_hz=1000 / loop if loop else math.inf,
                at_best=device.startswith(ROOFLINE),
                provenance=model.describe().partition(": VL ")[0],
                believed=believe(group, took),
            )
        )
    return options


def rank(options: Sequence[Option], control_hz: float) -> list[Option]:
    """Those that keep up first, then by success, then by rate, then by latency."""

    def merit(option: Option) -> tuple[bool, float, float, float]:
        success = option.believed.success.estimate if option.believed else -1.0
        return option.rate_hz >= control_hz, success, option.rate_hz, -option.charged.vl_p95_ms

    return sorted(options, key=merit, reverse=True)


def dominated(options: Sequence[Option]) -> list[int | None]:
    """Of each option, the first one that is told to succeed more often, at no less a rate: its interval lies above."""

    def beats(one: Option, two: Option) -> bool:
        if not one.believed or not two.believed:
            return False
        return one.believed.success.low > two.believed.success.high and one.rate_hz >= two.rate_hz

    return [next((i for i, one in enumerate(options) if beats(one, two)), None) for two in options]
