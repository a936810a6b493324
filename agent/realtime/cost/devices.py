"""What devices can do at best, by their makers: the roofs of the roofline model."""

from __future__ import annotations

from dataclasses import dataclass

from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Device:
    """One device, with its maker's figures for dense (not 2:4 sparse) matrices."""

    name: str
    tflops: float
    """Rate of bf16 matrix products accumulated in float32 [TFLOP/s]."""
    gb_s: float
    """Memory bandwidth [GB/s, 1e9 bytes]."""
    marks: tuple[str, ...]
    """Words of which the driver's name of the device contains one."""
    source: str
    """Where the figures stand."""
    fp8: bool = True
    """Whether its tensor cores multiply FP8."""

    @property
    def quants(self) -> tuple[str, ...]:
        """Quantizations whose peak rate its maker publishes, bf16 (none) first."""
        return ("none", *(quant for quant in FASTER if quant != "fp8" or self.fp8))


DEVICES: dict[str, Device] = {
    "h100": Device("NVIDIA H100 SXM", 989.4, 3350, ("H100",), "NVIDIA H100 datasheet (1,979 with sparsity)"),
    "h200": Device("NVIDIA H200 SXM", 989.4, 4800, ("H200",), "NVIDIA H200 datasheet (1,979 with sparsity)"),
    "a100": Device(
        "NVIDIA A100 80 GB SXM", 312, 2039, ("A100",), "NVIDIA A100 datasheet (624 with sparsity)", fp8=False
    ),
    "rtx4090": Device("NVIDIA RTX 4090", 165.2, 1008, ("RTX 4090",), "NVIDIA Ada architecture whitepaper"),
    "rtx3090": Device("NVIDIA RTX 3090", 71, 936, ("RTX 3090",), "NVIDIA GA102 architecture whitepaper", fp8=False),
    "l4": Device("NVIDIA L4", 121, 300, ("NVIDIA L4",), "NVIDIA L4 datasheet (242 with sparsity)"),
    "thor": Device(
        "NVIDIA Jetson Thor T5000",
        258.5,
        273,
        ("Thor",),
        "NVIDIA Jetson Thor datasheet: 517 dense FP8 or sparse FP16, half of which is dense bf16",
    ),
    "orin": Device(
        "NVIDIA Jetson AGX Orin 64 GB",
        42.5,
        204.8,
        ("Orin",),
        "NVIDIA Jetson AGX Orin technical brief: 170 sparse INT8 TOPS on the GPU, a quarter of which is dense bf16",
        fp8=False,
    ),
}

FASTER: dict[str, float] = {"bnb-int8": 2, "int8-dynamic": 2, "fp8": 2}
"""Peak rate of the tensor cores at other precisions (`Quant`), as a multiple of that at bf16."""
WEIGHT_BYTES: dict[str, float] = {"none": 2, "bnb-int8": 1, "bnb-nf4": 0.5, "int8-dynamic": 1, "fp8": 1}
"""Bytes of one weight of a linear layer, by `Quant`, without scales."""


def find_device(name: str) -> Device:
    """The device of that name. UsageError, which lists the names, if there is none."""
    if name not in DEVICES:
        raise UsageError(f"unknown device {name!r}; devices with a roofline are {', '.join(DEVICES)}")
    return DEVICES[name]


def recognised(driver_name: str) -> Device | None:
    """The device that a driver calls so, such as "NVIDIA H100 80GB HBM3"; None if it is not in the table."""
    words = f"{driver_name} "
    for device in DEVICES.values():
        # A mark ends where a word does, or "NVIDIA L4" would match an L40.
        if any(f"{mark} " in words.replace("-", " ") for mark in device.marks):
            return device
    return None
