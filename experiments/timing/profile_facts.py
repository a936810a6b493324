"""What latency profiles and arithmetic say about Qwen2.5-VL-3B: the two sources of docs/claims.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlatency.agent.realtime.cost.architectures import find_architecture
from vlatency.agent.realtime.cost.devices import DEVICES
from vlatency.agent.realtime.cost.profile import available_profiles, load_profile
from vlatency.agent.realtime.cost.roofline import encode_work
from vlatency.agent.realtime.cost.schema import Point, Profile

MODEL = "qwen2.5-vl-3b"
LADDER = f"python experiments/measure.py --model {MODEL} --ladder --out assets/latency/NAME.json"
CLAIMS = "python experiments/claims.py"
NATIVE, SQUARE = (640, 360), (224, 224)


@dataclass(frozen=True)
class Finding:
    """What is known about one claim."""

    text: str
    how: str
    """calculated, modelled, measured, looked up, or not measured."""
    values: tuple[float, ...] = ()
    """The figures to compare with the claim's."""
    command: str = CLAIMS


@dataclass(frozen=True)
class Key:
    """A configuration to look up in profiles; every option that is not named here has its default."""

    views: int = 5
    res: tuple[int, int] = NATIVE
    encoding: str = "batched"
    attention: str = "sdpa"
    quant: str = "none"
    model: str = MODEL
    transformers_path: bool = False

    def asks_for(self, point: Point, model: str) -> bool:
        """Whether a point that timed `model` is of this configuration."""
        return (
            (point.views, point.res, point.encoding) == (self.views, self.res, self.encoding)
            and point.attention in (None, self.attention)
            and (point.quant, point.transformers_path) == (self.quant, self.transformers_path)
            and (point.compile, point.vision_encoder, point.shortcuts) == ("none", "qwen", ())
            and self.model in model.lower()
        )


class ProfileFacts:
    """What the profiles of Qwen2.5-VL-3B say, each about its own device."""

    def __init__(self, paths: Mapping[str, Path] | None = None) -> None:
        every = {name: load_profile(path) for name, path in (available_profiles() if paths is None else paths).items()}
        self.profiles = {name: each for name, each in every.items() if MODEL in (each.model or "").lower()}

    def took(self, key: Key) -> Finding:
        """Latency of that encode [ms], in every profile that has it."""
        times = {name: point.distribution.p50_ms for name, point in self._points(key).items()}
        return self._measured({name: f"{ms:.4g} ms" for name, ms in times.items()}, tuple(times.values()))

    def ratio(self, slow: Key, fast: Key) -> Finding:
        """Latency of the first over that of the second, in every profile that has both."""
        texts, ratios = {}, []
        slower, faster = self._points(slow), self._points(fast)
        for name in (name for name in slower if name in faster):
            a, b = slower[name].distribution.p50_ms, faster[name].distribution.p50_ms
            texts[name] = f"{a / b:.2f}x ({a:.4g} against {b:.4g} ms)"
            ratios.append(a / b)
        return self._measured(texts, tuple(ratios))

    def head(self) -> Finding:
        """Latency of sensors and head [ms], in every profile that this project measured."""
        times = {name: each.head.distribution.p50_ms for name, each in self._ours().items() if each.head is not None}
        return self._measured({name: f"{ms:.4g} ms" for name, ms in times.items()}, tuple(times.values()))

    def contention(self) -> Finding:
        """Factor by which an encode slows the head down, in every profile that this project measured."""
        found = {name: each.contention for name, each in self._ours().items() if "contention" in each.model_fields_set}
        return self._measured({name: f"{times:.4g}" for name, times in found.items()}, tuple(found.values()))

    def feature_error(self, key: Key) -> Finding:
        """Relative change of the features, in every profile that has it."""
        points = self._points(key).items()
        errors = {name: point.feature_error for name, point in points if point.feature_error is not None}
        return self._measured({name: f"{100 * error:.2g} %" for name, error in errors.items()}, tuple(errors.values()))

    def _points(self, key: Key) -> dict[str, Point]:
        """The point of exactly that configuration, by profile name."""
        return {
            name: point
            for name, profile in self.profiles.items()
            for point in profile.encode
            if key.asks_for(point, profile.model_of(point))
        }

    def _ours(self) -> dict[str, Profile]:
        """Profiles that measure.py wrote; those of others do not record the weights."""
        return {name: profile for name, profile in self.profiles.items() if profile.weights is not None}

    def _measured(self, texts: dict[str, str], values: tuple[float, ...]) -> Finding:
        if not texts:
            return Finding("", "not measured", (), LADDER)
        commands = {self.profiles[name].command or f"assets/latency/{name}.json" for name in texts}
        said = "; ".join(f"{name}: {text}" for name, text in texts.items())
        return Finding(said, "measured", values, " / ".join(sorted(commands)))


def tflop(key: Key, vision_encoder: str = "qwen") -> float:
    """Arithmetic of that encode [TFLOP]."""
    return encode_work(key.views, key.res, key.encoding, find_architecture(key.model, vision_encoder)).flop / 1e12


def modelled_ms(device: str, key: Key) -> float:
    """Roofline of that encode on a device [ms]."""
    arch = find_architecture(key.model)
    return encode_work(key.views, key.res, key.encoding, arch).roofline_ms(DEVICES[device], key.quant)


def arithmetic(slow: Key, fast: Key) -> Finding:
    """Arithmetic of the first encode over that of the second."""
    a, b = tflop(slow), tflop(fast)
    return Finding(f"{a / b:.2f}x the arithmetic ({a:.3g} against {b:.3g} TFLOP)", "calculated", (a / b,))


def modelled(key: Key) -> Finding:
    """Roofline of that encode on each device: the least that it can take."""
    times = {device: modelled_ms(device, key) for device in DEVICES}
    text = ", ".join(f"{name} {ms:.3g}" for name, ms in times.items())
    return Finding(f"at best [ms]: {text}", "modelled", tuple(times.values()))
