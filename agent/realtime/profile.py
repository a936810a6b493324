"""Measured latencies as data: what one device took for which configuration, and what that implies for the others."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import assets
from agent.realtime.distribution import Distribution, Steady, read_distribution
from agent.realtime.roofline import encode_tflop
from sim.errors import UsageError

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


@dataclass(frozen=True)
class Profile:
    """What one device took. `assets/latency/*.json` says who measured it, how, and on what."""

    name: str
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

    def measured(self, views: int, res: tuple[int, int], encoding: str) -> Distribution | None:
        """The measured encode of exactly this configuration, or None."""
        for point in self.points:
            same_work = point.encoding == encoding or views == 1  # one view is one sequence either way
            if same_work and (point.views, point.res) == (views, res):
                return point.took
        return None

    def scaled_ms(self, views: int, res: tuple[int, int], encoding: str) -> float:
        """An encode of any configuration, by its arithmetic."""
        return self.overhead_ms + encode_tflop(views, res, encoding) / self.realised_tflops * 1e3


def available_profiles() -> dict[str, Path]:
    """The profiles that ship with vlatency, by name."""
    return {path.stem: path for path in sorted((assets.FOLDER / "latency").glob("*.json"))}


def load_profile(path: Path) -> Profile:
    """Read a profile. UsageError, in one line, when it cannot be read or is not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Profile(
            name=path.stem,
            device=str(data["device"]),
            head=read_distribution(data["head"], _checked) if "head" in data else Steady(_number(data, "head_ms")),
            overhead_ms=_number(data, "overhead_ms"),
            realised_tflops=_number(data, "realised_tflops", least=1e-6),
            points=tuple(_point(entry) for entry in data["encode"]),
            contention=_number(data, "contention", least=1.0) if "contention" in data else CONTENTION,
            preprocess=read_distribution(data["preprocess"], _checked) if "preprocess" in data else Steady(0.0),
            cold_start_ms=_number(data, "cold_start_ms") if "cold_start_ms" in data else 0.0,
        )
    except KeyError as error:
        raise UsageError(f"latency profile {path} has no {error}") from error
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"latency profile {path} cannot be used: {error}") from error


def _point(entry: dict[str, Any]) -> Point:
    res = int(entry["width"]), int(entry["height"])
    return Point(int(entry["views"]), res, str(entry["encoding"]), read_distribution(entry, _checked))


def _number(data: dict[str, Any], key: str, least: float = 0.0) -> float:
    value = float(data[key])
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{key} must be a finite number of at least {least:g}, not {value}")
    return value


def _checked(value: object) -> float:
    return _number({"a latency": value}, "a latency")
