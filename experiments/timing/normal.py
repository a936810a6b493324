"""Whether a latency is what others have published for this model on this device."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vlatency.agent.realtime.cost.devices import DEVICES
from vlatency.agent.realtime.cost.published import Record, zoo
from vlatency.experiments.shared.table import milliseconds
from vlatency.sim.errors import UsageError

NEAREST, NEAR = 5, 1.5
"""Figures that are printed beside one, and the ratio up to which it is nearly normal."""
LEAST_BYTES = 0.5
"""Of a weight: no shipped precision has fewer."""


@dataclass(frozen=True)
class Machine:
    """A model on a device, as a user names them. An empty model is one that is not known."""

    device: str
    model: str = ""

    def check(self) -> None:
        """UsageError if nothing is published of the model."""
        models = sorted({record.name.split("/")[0] for record in zoo().records})
        if self.model and self.model not in models:
            raise UsageError(f"nothing is published of the model {self.model!r}; there are {', '.join(models)}")

    @property
    def published(self) -> list[Record]:
        """Whole calls of this model on this device, at batch 1, from the fastest to the slowest."""
        found = [record for record in self._calls() if core(record.device) == core(self.device)]
        return sorted(found, key=lambda record: record.total_ms or 0)

    def _calls(self) -> list[Record]:
        calls = [record for record in zoo().records if record.role == "call" and record.batch == 1]
        return [record for record in calls if self.model in ("", record.name.split("/")[0])]

    @property
    def floor_ms(self) -> float:
        """What it takes at least to read the weights once at 4 bits [ms]; 0 if model or device is not known."""
        sizes = [record.params_b for record in self._calls() if record.params_b and self.model]
        speeds = [device.gb_s for name, device in DEVICES.items() if core(name) == core(self.device)]
        return min(sizes) * LEAST_BYTES / max(speeds) * 1e3 if sizes and speeds else 0.0

    def verdict(self, ms: float) -> list[str]:
        """Lines that say where a latency stands among those that are published.

        Args:
            ms: of a typical call.
        """
        found = self.published
        of = f"{self.model or 'policies'} on {self.device}"
        if not found:
            devices = sorted({record.name.split("/")[1] for record in self._calls()})
            return [f"is it normal? nothing is published of {of}; {self.model or 'policies'}: {', '.join(devices)}"]
        low, high = found[0].total_ms or 0.0, found[-1].total_ms or 0.0
        span = f"{milliseconds(low)} to {milliseconds(high)} ms" if high > low else f"{milliseconds(low)} ms"
        known = f"{len(found)} published figure{'s' * (len(found) > 1)} of {of}: {span}"
        if low <= ms <= high:
            said = f"yes: it is within {known}"
        elif ms < low:
            unlike = low / ms > NEAR
            said = f"{'no' if unlike else 'nearly'}: {low / ms:.1f} times faster than the fastest of {known}"
            said += "; was the GPU synchronised?" * unlike
        else:
            said = f"{'no' if ms / high > NEAR else 'nearly'}: {ms / high:.1f} times slower than the slowest of {known}"
        near = sorted(found, key=lambda record: abs((record.total_ms or 0) - ms))[:NEAREST]
        lines = [f"  {milliseconds(each.total_ms):>6} ms  {each.name}/{each.id}  {each.configuration}" for each in near]
        return [f"is it normal? {said}", *lines]


NOISE = r"nvidia|geforce|jetson|agx|developer|kit|\d+gb|hbm\d?|sxm\d?|pcie"
"""Words of a device's name that do not tell it from others; for memory, published labels are too often without."""


def core(device: str) -> str:
    """What tells a device from others, such as 4090 of "NVIDIA GeForce RTX 4090" and orin of "Jetson AGX Orin 64GB"."""
    words = re.findall(r"[a-z0-9]+", device.lower())
    return "".join(word for word in words if not re.fullmatch(NOISE, word)).removeprefix("rtx")
