"""What profiles say about Qwen2.5-VL-3B, and what arithmetic says: the two sources of `claims.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlatency.agent.realtime.cost.architectures import find_architecture
from vlatency.agent.realtime.cost.devices import DEVICES
from vlatency.agent.realtime.cost.distribution import read_distribution
from vlatency.agent.realtime.cost.profile import available_profiles, load_profile
from vlatency.agent.realtime.cost.roofline import encode_work
from vlatency.agent.realtime.cost.schema import OPTIONAL

MODEL = "qwen2.5-vl-3b"
LADDER = f"python experiments/measure.py --model {MODEL} --ladder --out assets/latency/NAME.json"
CLAIMS = "python experiments/claims.py"
NATIVE, SQUARE = (640, 360), (224, 224)


@dataclass(frozen=True)
class Finding:
    """What we know about one claim."""

    text: str
    how: str
    """calculated, modelled, measured, looked up, or not measured."""
    values: tuple[float, ...] = ()
    """The figures that the claim's own is held against."""
    command: str = CLAIMS


@dataclass(frozen=True)
class Key:
    """What is asked of a profile; the rest is as in `agent.optimization.Optimization`."""

    views: int = 5
    res: tuple[int, int] = NATIVE
    encoding: str = "batched"
    attention: str = "sdpa"
    quant: str = "none"
    model: str = MODEL
    transformers_path: bool = False


class ProfileFacts:
    """The profiles of a folder's worth of devices that hold the true model."""

    def __init__(self, paths: Mapping[str, Path] | None = None) -> None:
        self.profiles: dict[str, dict[str, Any]] = {}
        for name, path in (available_profiles() if paths is None else paths).items():
            load_profile(path)  # It checks.
            data = json.loads(path.read_text())
            if MODEL in data.get("model", "").lower():
                self.profiles[name] = data

    def point(self, profile: dict[str, Any], key: Key) -> dict[str, Any] | None:
        """The entry of exactly that configuration."""
        for entry in profile["encode"]:
            said = {**OPTIONAL, "model": profile["model"], **entry}
            if (
                (said["views"], (said["width"], said["height"]), said["encoding"]) == (key.views, key.res, key.encoding)
                and said["attention"] in ("", key.attention)
                and (said["quant"], said["transformers_path"]) == (key.quant, key.transformers_path)
                and (said["compile"], said["vision_encoder"], said.get("shortcuts", [])) == ("none", "qwen", [])
                and key.model in said["model"].lower()
            ):
                return entry
        return None

    def took(self, key: Key) -> Finding:
        """How long that takes, in every profile that says so [ms]."""
        found = {name: self.point(profile, key) for name, profile in self.profiles.items()}
        times = {name: _nominal(point) for name, point in found.items() if point is not None}
        return self._measured({name: f"{ms:.4g} ms" for name, ms in times.items()}, tuple(times.values()))

    def ratio(self, slow: Key, fast: Key) -> Finding:
        """How many times as long the first takes, in every profile that holds both."""
        texts, ratios = {}, []
        for name, profile in self.profiles.items():
            points = self.point(profile, slow), self.point(profile, fast)
            if points[0] is not None and points[1] is not None:
                a, b = _nominal(points[0]), _nominal(points[1])
                texts[name] = f"{a / b:.2f}x ({a:.4g} against {b:.4g} ms)"
                ratios.append(a / b)
        return self._measured(texts, tuple(ratios))

    def of_profile(self, field: str) -> Finding:
        """A figure that a profile has once, from those that measured it and name no source but this project."""
        texts, values = {}, []
        for name, profile in self.profiles.items():
            if field in profile and "weights" in profile:
                value = _nominal(profile[field]) if isinstance(profile[field], dict) else profile[field]
                texts[name] = f"{value:.4g}{' ms' * isinstance(profile[field], dict)}"
                values.append(value)
        return self._measured(texts, tuple(values))

    def feature_error(self, key: Key) -> Finding:
        """The change of the features [1]."""
        found = {name: self.point(profile, key) for name, profile in self.profiles.items()}
        errors = {name: point["feature_error"] for name, point in found.items() if point and "feature_error" in point}
        return self._measured({name: f"{100 * error:.2g} %" for name, error in errors.items()}, tuple(errors.values()))

    def _measured(self, texts: dict[str, str], values: tuple[float, ...]) -> Finding:
        if not texts:
            return Finding("", "not measured", (), LADDER)
        commands = {self.profiles[name].get("command", f"assets/latency/{name}.json") for name in texts}
        said = "; ".join(f"{name}: {text}" for name, text in texts.items())
        return Finding(said, "measured", values, " / ".join(sorted(commands)))


def tflop(key: Key, vision_encoder: str = "qwen") -> float:
    """Arithmetic of that encode [TFLOP]."""
    return encode_work(key.views, key.res, key.encoding, find_architecture(key.model, vision_encoder)).flop / 1e12


def modelled_ms(device: str, key: Key) -> float:
    """Its roofline on a device [ms]."""
    arch = find_architecture(key.model)
    return encode_work(key.views, key.res, key.encoding, arch).roofline_ms(DEVICES[device], key.quant)


def arithmetic(slow: Key, fast: Key) -> Finding:
    """How many times the arithmetic of the second the first is."""
    a, b = tflop(slow), tflop(fast)
    return Finding(f"{a / b:.2f}x the arithmetic ({a:.3g} against {b:.3g} TFLOP)", "calculated", (a / b,))


def modelled(key: Key) -> Finding:
    """Its roofline on each device: what is possible at best."""
    times = {device: modelled_ms(device, key) for device in DEVICES}
    text = ", ".join(f"{name} {ms:.3g}" for name, ms in times.items())
    return Finding(f"at best [ms]: {text}", "modelled", tuple(times.values()))


def _nominal(entry: dict[str, Any]) -> float:
    return float(np.median([read_distribution(entry, lambda value: float(str(value))).p50_ms]))
