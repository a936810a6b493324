"""What can be varied about one inference: views, their size, how they are encoded, by which kernels, how exactly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from vlatency.agent.image_size import check_aspect
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

Encoding = Literal["joint", "batched", "separate", "streams"]
Pool = Literal["mean", "max", "attention"]
Attention = Literal["eager", "sdpa", "varlen", "flash_attention_2", "flash_attention_4"]
Quant = Literal["none", "bnb-int8", "bnb-nf4", "int8-dynamic", "fp8"]
Compile = Literal["none", "compile", "cuda-graph"]
Shortcut = Literal["prefix", "fused", "device-views"]
Head = Literal["regression", "flow"]
Preset = Literal["fast"]
MAX_SIDE = 4096


def parse_res(text: str) -> tuple[int, int]:
    """Parse a resolution: `"224"` for a square, or `"640x360"`.

    Returns:
        `(width, height)` [px].

    Raises:
        UsageError: It has another form, or a side is not within 1 to `MAX_SIDE`.
    """
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.strip(), flags=re.ASCII)
    if match is not None:
        width = int(match[1])
        height = int(match[2] or match[1])
        if 1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE:
            return width, height
    raise UsageError(f"resolution {text!r}: expected a side like 224 or WIDTHxHEIGHT like 640x360, 1 to {MAX_SIDE}")


@dataclass(frozen=True)
class Optimization:
    """One configuration of the vision-language encode. Latency profiles are keyed by it.

    Raises:
        UsageError: An unknown, repeated or missing camera, a size out of range, or an unknown value.
    """

    cameras: tuple[str, ...] = CAMERA_ORDER[:3]
    """The views, in the order in which they are encoded."""
    width: int = 224
    """Width to which a view is resized, before rounding to whole patches [px]."""
    height: int = 224
    """Height to which a view is resized, before rounding to whole patches [px]."""
    encoding: Encoding = "batched"
    """`joint`: all views in one sequence; `batched`: one sequence per view, in one call; `separate`: one call per view,
    one after the other; `streams`: one call per view, each on its own CUDA stream."""
    pool: Pool = "attention"
    """How the features of the views are combined."""
    attention: Attention = "sdpa"
    """The attention kernel of vision tower and language model."""
    quant: Quant = "none"
    """How the linear layers of vision tower and language model are quantized, see `agent.vla.speed.quantize`."""
    compile: Compile = "none"
    """How the kernels of the encode are launched, see `agent.vla.speed.compiled`."""
    shortcuts: tuple[Shortcut, ...] = ()
    """Ways to save work without changing the result: `prefix` keeps the keys and values of the text before the views,
    `fused` computes projections of the same input as one product, `device-views` resizes views on the device."""

    def __post_init__(self) -> None:
        valid = ", ".join(CAMERA_ORDER)
        for camera in self.cameras:
            if camera not in CAMERA_ORDER:
                raise UsageError(f"unknown camera {camera!r}: choose from {valid}")
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise UsageError(f"cameras {self.cameras}: give one to {len(CAMERA_ORDER)} different ones of {valid}")
        for side in (self.width, self.height):
            if not 1 <= side <= MAX_SIDE:
                raise UsageError(f"resolution {self.width}x{self.height}: sides must be 1 to {MAX_SIDE}")
        check_aspect(self.width, self.height)
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            for each in value if isinstance(value, tuple) else (value,):
                if each not in choices:
                    raise UsageError(f"unknown {name} {each!r}: choose from {', '.join(choices)}")
        # In one order, so that equal configurations are equal.
        object.__setattr__(self, "shortcuts", tuple(each for each in get_args(Shortcut) if each in self.shortcuts))
        if self.encoding == "streams" and self.compile != "none":
            raise UsageError("encoding streams launches each view on its own; with --compile use encoding batched")


def plain(optimization: Optimization) -> Optimization:
    """The same views in the same sequences with nothing approximated: what `optimization` is compared with."""
    return replace(optimization, attention="sdpa", quant="none", compile="none", shortcuts=())


CHOICES: dict[str, tuple[str, ...]] = {
    "encoding": get_args(Encoding),
    "pool": get_args(Pool),
    "attention": get_args(Attention),
    "quant": get_args(Quant),
    "compile": get_args(Compile),
    "shortcuts": get_args(Shortcut),
}
"""Fields of `Optimization` that take a name, and the valid names."""


def unusual(optimization: Mapping[str, Any]) -> dict[str, str]:
    """Fields that take a name and do not have their default.

    Args:
        optimization: The fields of an optimization. A stored one may lack some, which then have their default.

    Returns:
        Their values as text, by the name of the field.
    """
    default = {field.name: field.default for field in fields(Optimization)}
    named = {name: optimization.get(name, default[name]) for name in CHOICES}
    words = {name: value if isinstance(value, str) else "+".join(value) for name, value in named.items()}
    return {name: word for name, word in words.items() if word not in (default[name], "")}


_CUDA_ONLY = {
    "streams": "runs each view on its own CUDA stream",
    "varlen": "is torch's flash kernel for CUDA",
    "flash_attention_2": "is a package of CUDA kernels",
    "flash_attention_4": "is a package of CUDA kernels",
    "cuda-graph": "replays kernels recorded on a CUDA device",
}


def check_device(optimization: Optimization, device: str) -> None:
    """Raise UsageError unless `optimization` can run on `device`, cpu or cuda. It says why not, and what would work."""
    for name in CHOICES if device == "cpu" else ():
        value = getattr(optimization, name)
        if value in _CUDA_ONLY:
            others = " or ".join(choice for choice in CHOICES[name] if choice not in _CUDA_ONLY)
            raise UsageError(f"{name} {value} {_CUDA_ONLY[value]}, but this is a CPU; use {name} {others}")


PRESETS: Mapping[Preset, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": MappingProxyType(
            {
                "attention": "varlen",
                "quant": "fp8",
                "compile": "compile",
                "shortcuts": ("prefix", "fused", "device-views"),
            }
        )
    }
)
"""Named combinations. `fast` should be the fastest on an H100; that is an expectation which no profile shows yet."""


def with_preset(optimization: Optimization, name: Preset) -> Optimization:
    """Replace the fields that still have their default by those of a preset."""
    default = {field.name: field.default for field in fields(Optimization)}
    left = {key: value for key, value in PRESETS[name].items() if getattr(optimization, key) == default[key]}
    return replace(optimization, **left)
