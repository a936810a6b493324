"""How far measured encodes stay from their roofline."""

from __future__ import annotations

from vlatency.agent.realtime.cost.devices import FASTER, Device, recognised
from vlatency.agent.realtime.cost.profile import available_profiles, load_profile
from vlatency.agent.realtime.cost.schema import Profile


def roofline_gap(profile: Profile) -> list[str]:
    """Lines of a table of roofline over measurement, for the profiles that ship and the one just measured."""
    lines = ["roofline over measurement (1 would be a device at its peak throughout):"]
    shipped = {name: load_profile(path) for name, path in available_profiles().items()}
    for name, each in {**shipped, "this run": profile}.items():
        device = recognised(each.device)
        if device is None:
            lines.append(f"  {name}: {each.device} has no roofline here")
        else:
            lines += [f"  {name}, {device.name}, modelled:", *_rows(each, device)]
    return lines


def _rows(profile: Profile, device: Device) -> list[str]:
    lines = []
    for point in profile.encode:
        if point.tflop is None or point.gigabytes is None:
            continue
        rate = device.tflops * FASTER.get(point.quant, 1)
        modelled = 1e3 * max(point.tflop / rate, point.gigabytes / device.gb_s)
        took = point.distribution.p50_ms
        lines.append(f"    {point.row or '':<56}{modelled:9.2f}{took:9.2f} ms{modelled / took:8.2f}")
    return lines
