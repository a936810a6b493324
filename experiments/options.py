"""The configurations on a device: how fast it runs them, what is known of their success, and which are beaten."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.answer import rate
from experiments.belief import Believed, Measured, believe, latency, vl_p95_ms
from experiments.summary import features


@dataclass(frozen=True)
class Option:
    """A configuration on the device.

    Attributes:
        name: what the model is fed and when.
        cells: where it was measured on this task, at any latency.
        vl_p95_ms: of an encode on the device [ms].
        rate_hz: control ticks a second it serves, at that percentile [Hz].
        head_ms: of the device [ms].
        provenance: of the latency.
        believed: success at that latency; None if only shorter ones were measured.
    """

    name: str
    cells: tuple[Measured, ...]
    vl_p95_ms: float
    rate_hz: float
    head_ms: float
    provenance: str
    believed: Believed | None

    def describe(self) -> str:
        """Name and success."""
        assert self.believed
        return f"{self.name} ({rate(self.believed.success)}, n = {self.believed.n})"


def make_options(cells: Sequence[Measured], device: str) -> list[Option]:
    """One a configuration, with the latency of the device and what the cells say of that."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(cell.configuration, []).append(cell)
    policies = {cell.setting["policy_sha256"] for cell in cells}
    options = []
    for group in groups.values():
        setting, (mode,) = group[0].setting, group[0].setting["modes"]
        model = latency(device, setting["optimization"])
        p95 = vl_p95_ms(model)
        head = model.head_ms * (1 if setting["servers"] == "two" else model.contention)
        loop = head + (p95 if mode == "sync" else 0.0)
        name = features(setting, mode)
        if len(policies) > 1:
            name += f", policy {Path(group[0].policy['folder']).name} {setting['policy_sha256'][:4]}"
        options.append(
            Option(
                name=name,
                cells=tuple(group),
                vl_p95_ms=p95,
                rate_hz=1000 / loop if loop else math.inf,
                head_ms=model.head_ms,
                provenance=model.describe().partition(": VL ")[0],
                believed=believe(group, p95),
            )
        )
    return options


def rank(options: Sequence[Option], control_hz: float) -> list[Option]:
    """Those that keep up first, then by success, then by rate, then by latency."""

    def merit(option: Option) -> tuple[bool, float, float, float]:
        success = option.believed.success.estimate if option.believed else -1.0
        return option.rate_hz >= control_hz, success, option.rate_hz, -option.vl_p95_ms

    return sorted(options, key=merit, reverse=True)


def dominated(options: Sequence[Option]) -> list[int | None]:
    """Of each option, the first one that has no less success at no less a rate, and more of one of them.

    An option of which only a lower bound is known is beaten by none.
    """

    def beats(one: Option, two: Option) -> bool:
        if not one.believed or not two.believed or two.believed.how == "at least":
            return False
        a = one.believed.success.estimate, round(one.rate_hz, 6)
        b = two.believed.success.estimate, round(two.rate_hz, 6)
        return a != b and a[0] >= b[0] and a[1] >= b[1]

    return [next((i for i, one in enumerate(options) if beats(one, two)), None) for two in options]
