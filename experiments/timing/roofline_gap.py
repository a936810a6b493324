"""How far a measured encode stays from its roofline: what the device could do at best over what it did."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vlatency.agent.realtime.cost.devices import FASTER, Device, recognised
from vlatency.agent.realtime.cost.profile import available_profiles


def roofline_gap(profile: dict[str, Any]) -> list[str]:
    """Lines of a table, of the profile just measured and of those that ship."""
    lines = ["roofline over measurement (1 would be a device at its peak throughout):"]
    shipped = {name: json.loads(path.read_text()) for name, path in available_profiles().items()}
    for name, each in {**shipped, "this run": profile}.items():
        device = recognised(each["device"])
        if device is None:
            lines.append(f"  {name}: {each['device']} has no roofline here")
        else:
            lines += [f"  {name}, {device.name}, modelled:", *_rows(each, device)]
    return lines


def _rows(profile: dict[str, Any], device: Device) -> list[str]:
    lines = []
    for point in profile["encode"]:
        if "tflop" not in point or "gigabytes" not in point:
            continue
        rate = device.tflops * FASTER.get(point["quant"], 1)
        modelled = 1e3 * max(point["tflop"] / rate, point["gigabytes"] / device.gb_s)
        took = float(np.median(point["samples_ms"]))
        lines.append(f"    {point['row']:<56}{modelled:9.2f}{took:9.2f} ms{modelled / took:8.2f}")
    return lines
