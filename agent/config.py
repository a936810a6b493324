"""What the user can vary about one inference: which views, how large, how encoded, how pooled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from sim.errors import UsageError

CAMERA_ORDER = ("top", "wrist", "front", "left", "right")
"""The views a policy knows, in the order in which `--views N` takes them (equal to `sim.cameras.CAMERA_ORDER`)."""

Encoding = Literal["joint", "batched", "separate", "streams"]
Pool = Literal["mean", "max", "attention"]
Attention = Literal["eager", "sdpa", "varlen", "flash_attention_2", "flash_attention_4"]
Quant = Literal["none", "bnb-int8", "bnb-nf4", "int8-dynamic", "fp8"]
Compile = Literal["none", "compile", "cuda-graph"]
Head = Literal["regression", "flow"]
MAX_SIDE = 4096


def parse_res(text: str) -> tuple[int, int]:
    """`(width, height)` in pixels from `"224"` (square) or `"640x360"`.

    Raises:
        UsageError: not of that form, or a side outside 1..4096.
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
    """One configuration of the vision-language encode; it also keys a latency profile.

    Raises:
        UsageError: an unknown, repeated or missing camera, a bad size, or an unknown value of another field.
    """

    cameras: tuple[str, ...] = CAMERA_ORDER[:3]
    """Views, in the order in which they are encoded."""
    width: int = 224
    """Width to which a view is resized [px], before rounding to whole patches."""
    height: int = 224
    """Height to which a view is resized [px], before rounding to whole patches."""
    encoding: Encoding = "batched"
    """`joint`: all views in one sequence; `batched`: one sequence a view, side by side; `separate`: one call a view,
    one after another; `streams`: one call a view, each on a CUDA stream of its own."""
    pool: Pool = "attention"
    """How the features of the views are combined."""
    attention: Attention = "sdpa"
    """The attention kernel."""
    quant: Quant = "none"
    """How the weights of the linear layers are stored and multiplied."""
    compile: Compile = "none"
    """What becomes of the launches of kernels."""

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
        choices = {"encoding": Encoding, "pool": Pool, "attention": Attention, "quant": Quant, "compile": Compile}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"unknown {name} {getattr(self, name)!r}: choose from {', '.join(get_args(kind))}")
