"""Measured latencies as data: what one device took for which configuration, and what that implies for the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlatency import assets
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.architectures import ARCHITECTURES, QWEN2_5_VL_3B
from vlatency.agent.realtime.cost.distribution import Distribution, Steady, read_distribution
from vlatency.agent.realtime.cost.roofline import encode_tflop
from vlatency.agent.realtime.cost.schema import OPTIONAL, check_profile
from vlatency.sim.errors import UsageError

CONTENTION = 2.0
"""Assumed where a profile does not say: two jobs share a GPU evenly."""


@dataclass(frozen=True)
class Point:
    """One measured encode."""

    views: int
    res: tuple[int, int]
    """(width, height) of a view before it is cut into patches [pixels]."""
    encoding: str
    took: Distribution
    model: str
    attention: str
    """Empty where the profile does not tell kernels apart."""
    quant: str
    compile: str
    shortcuts: tuple[str, ...]
    vision_encoder: str
    transformers_path: bool
    """Whether it timed transformers' own code, not ours."""
    tflop: float | None
    """What it computed, where that was recorded."""

    def answers(self, optimization: Optimization) -> bool:
        """Whether it is a measurement of that configuration."""
        one = self.views == 1 and {self.encoding, optimization.encoding} <= {"joint", "batched"}
        same_work = self.encoding == optimization.encoding or one  # one view is one sequence either way
        return (
            same_work
            and self.views == len(optimization.cameras)
            and self.res == (optimization.width, optimization.height)
            and self.attention in ("", optimization.attention)
            and (self.quant, self.compile) == (optimization.quant, optimization.compile)
            and set(self.shortcuts) == set(optimization.shortcuts)
        )


@dataclass(frozen=True)
class Profile:
    """What one device took. `assets/latency/*.json` says who measured it, how, and on what."""

    name: str
    model: str
    device: str
    head: Distribution
    """Sensors and action head."""
    overhead_ms: float
    """What an encode takes however little it computes."""
    realised_tflops: float
    """Arithmetic the device does in a second of encoding beyond the overhead [TFLOP/s]."""
    points: tuple[Point, ...]
    contention: float = CONTENTION
    """How many times as long a head run takes while an encode runs on the same GPU."""
    preprocess: Distribution = Steady(0.0)
    """From images to tensors, before every encode."""
    cold_start_ms: float = 0.0
    """What the first encode of an episode takes beyond the others."""

    def measured(self, optimization: Optimization) -> Distribution | None:
        """The measured encode of exactly this configuration of the profile's own model, or None."""
        own = (self.model, "qwen", False)
        for point in self.points:
            if (point.model, point.vision_encoder, point.transformers_path) == own and point.answers(optimization):
                return point.took
        return None

    def scaled_ms(self, optimization: Optimization) -> float:
        """An encode of any configuration, by its arithmetic alone: as if at bf16, whatever its quantization."""
        res = (optimization.width, optimization.height)
        arch = ARCHITECTURES.get(self.model, QWEN2_5_VL_3B)
        tflop = encode_tflop(len(optimization.cameras), res, optimization.encoding, arch)
        return self.overhead_ms + tflop / self.realised_tflops * 1e3


def available_profiles() -> dict[str, Path]:
    """The profiles that ship with vlatency, by name."""
    return {path.stem: path for path in sorted((assets.FOLDER / "latency").glob("*.json"))}


def load_profile(path: Path) -> Profile:
    """Read a profile. UsageError, in one line, when it cannot be read or is not one."""
    try:
        data = check_profile(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"latency profile {path} cannot be used: {error}") from error
    return Profile(
        name=path.stem,
        model=data.get("model", ""),
        device=data["device"],
        head=read_distribution(data["head"], _ms) if "head" in data else Steady(data["head_ms"]),
        overhead_ms=data["overhead_ms"],
        realised_tflops=data["realised_tflops"],
        points=tuple(_point(entry, data.get("model", "")) for entry in data["encode"]),
        contention=data.get("contention", CONTENTION),
        preprocess=read_distribution(data["preprocess"], _ms) if "preprocess" in data else Steady(0.0),
        cold_start_ms=data.get("cold_start_ms", 0.0),
    )


def _point(entry: dict[str, Any], model: str) -> Point:
    return Point(
        views=entry["views"],
        res=(entry["width"], entry["height"]),
        encoding=entry["encoding"],
        took=read_distribution(entry, _ms),
        model=entry.get("model", model),
        tflop=entry.get("tflop"),
        shortcuts=tuple(entry.get("shortcuts", ())),
        **{name: entry.get(name, default) for name, default in OPTIONAL.items()},
    )


def _ms(value: Any) -> float:
    """A latency that `check_profile` has seen."""
    return float(value)
