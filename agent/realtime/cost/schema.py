"""What a latency profile (`assets/latency/*.json`) may hold, checked before use. `docs/measuring.md` explains it.

Every complaint is a ValueError of one line that names the place, such as `encode[3].views`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from vlatency.agent.optimization import CHOICES, MAX_SIDE
from vlatency.agent.realtime.cost.architectures import ARCHITECTURES, EYES, find_architecture
from vlatency.agent.realtime.cost.devices import FASTER
from vlatency.agent.realtime.cost.distribution import read_distribution
from vlatency.agent.realtime.cost.roofline import visual_tokens

Check = Callable[[Any, str], object]
MAX_VIEWS = 5


def check_profile(data: object) -> dict[str, Any]:
    """The profile itself. ValueError if anything is missing, unknown, of the wrong kind or at odds with the rest."""
    whole = _table(data, "a profile", _PROFILE, required=("device", "overhead_ms", "realised_tflops", "encode"))
    if ("head" in whole) == ("head_ms" in whole):
        raise ValueError("give head_ms or head, one of them")
    seen: dict[tuple, int] = {}
    for number, point in enumerate(whole["encode"]):
        _check_point(point, whole, f"encode[{number}]")
        first = seen.setdefault(key_of(point, whole), number)
        if first != number:
            raise ValueError(f"encode[{number}] is the same configuration as encode[{first}]")
    return whole


def key_of(point: dict[str, Any], whole: dict[str, Any]) -> tuple:
    """What tells a point from every other one in a profile."""
    work = tuple(point[name] for name in ("views", "width", "height", "encoding"))
    shortcuts = tuple(sorted(point.get("shortcuts", ())))
    return (
        *work,
        shortcuts,
        point.get("model", whole.get("model")),
        *(point.get(name, default) for name, default in OPTIONAL.items()),
    )


OPTIONAL = {"attention": "", "quant": "none", "compile": "none", "vision_encoder": "qwen", "transformers_path": False}
"""What a point says about its configuration beyond views, size and encoding, and what its silence means. A point that
is silent on the attention kernel answers for every one."""


def _check_point(point: dict[str, Any], whole: dict[str, Any], place: str) -> None:
    took = _distribution(point, place)
    model, eyes = point.get("model", whole.get("model", "")), point.get("vision_encoder", "qwen")
    if "visual_tokens" in point and model in ARCHITECTURES:
        res = point["width"], point["height"]
        expected = point["views"] * visual_tokens(res, find_architecture(model, eyes))
        if point["visual_tokens"] != expected:
            raise ValueError(
                f"{place}.visual_tokens is {point['visual_tokens']}, but {model} makes {expected} of these views"
            )
    if "tflop" in point and "peak_tflops" in whole and took > 0:
        check_peak(point["tflop"], took, whole["peak_tflops"], point.get("quant", "none"), place)


def check_peak(tflop: float, ms: float, peak_tflops: float, quant: str, what: str) -> None:
    """ValueError if so much arithmetic in so little time is more than the device can do."""
    peak = peak_tflops * FASTER.get(quant, 1)
    if tflop > peak * ms * 1e-3:
        raise ValueError(
            f"{what} took {ms:.4g} ms for {tflop:.4g} TFLOP, {tflop / ms * 1e3:.4g} TFLOP/s, "
            f"above the device's peak of {peak:.4g}: not all of the work was done or timed"
        )


def _table(value: object, place: str, checks: dict[str, Check], required: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place} must be an object with {', '.join(required) or 'fields'}, not {_brief(value)}")
    for name in required:
        if name not in value:
            raise ValueError(f"{place} has no {name}")
    dot = "" if place == "a profile" else f"{place}."
    for name, entry in value.items():
        if name not in checks:
            raise ValueError(f"{dot}{name} is not known here; {', '.join(checks)} are")
        checks[name](entry, f"{dot}{name}")
    return value


def _text(value: object, place: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{place} must be a text, not {_brief(value)}")


def _flag(value: object, place: str) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{place} must be true or false, not {_brief(value)}")


def _number(least: float = 0.0, above: bool = False) -> Check:
    def check(value: object, place: str) -> float:
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or value < least or (above and value == least):  # type: ignore[operator]  # it is a number
            bound = f"above {least:g}" if above else f"of at least {least:g}"
            raise ValueError(f"{place} must be a number {bound}, not {_brief(value)}")
        return float(value)  # type: ignore[arg-type]

    return check


def _whole(least: int, most: int) -> Check:
    def check(value: object, place: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{place} must be a whole number from {least} to {most}, not {_brief(value)}")

    return check


def _one_of(*names: str) -> Check:
    def check(value: object, place: str) -> None:
        if value not in names:
            raise ValueError(f"{place} must be one of {', '.join(names)}, not {_brief(value)}")

    return check


def _list_of(item: Check) -> Check:
    def check(value: object, place: str) -> None:
        if not isinstance(value, list):
            raise ValueError(f"{place} must be a list, not {_brief(value)}")
        for number, entry in enumerate(value):
            item(entry, f"{place}[{number}]")

    return check


def _table_of(item: Check) -> Check:
    def check(value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{place} must be an object, not {_brief(value)}")
        for name, entry in value.items():
            item(entry, f"{place}.{name}")

    return check


def _timing(value: object, place: str) -> None:
    _distribution(_table(value, place, _TIMES), place)


def _distribution(entry: dict[str, Any], place: str) -> float:
    """The median [ms] of an entry that has one."""
    try:
        return read_distribution(entry, _ms).p50_ms
    except KeyError as error:
        raise ValueError(
            f"{place} needs samples_ms, or p50_ms, p95_ms and p99_ms, or mean_ms; it has no {error}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{place}.{error}") from error


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_MS = _number()


def _ms(value: Any) -> float:
    return float(value)


_TIMES: dict[str, Check] = {
    "samples_ms": _list_of(_MS),
    **dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "mean_ms", "std_ms"), _MS),
}
_POINT: dict[str, Check] = {
    **_TIMES,
    "views": _whole(1, MAX_VIEWS),
    "width": _whole(1, MAX_SIDE),
    "height": _whole(1, MAX_SIDE),
    "encoding": _one_of(*CHOICES["encoding"]),
    "model": _text,
    "attention": _one_of(*CHOICES["attention"]),
    "quant": _one_of(*CHOICES["quant"]),
    "compile": _one_of(*CHOICES["compile"]),
    "shortcuts": _list_of(_one_of(*CHOICES["shortcuts"])),
    "vision_encoder": _one_of("qwen", *EYES),
    "transformers_path": _flag,
    "row": _text,
    "file": _text,
    "visual_tokens": _whole(1, 10**7),
    "sequences": _list_of(_whole(1, 10**7)),
    "tflop": _number(above=True),
    "gigabytes": _number(above=True),
    "stages": _table_of(_timing),
    "feature_error": _MS,
}
_PROFILE: dict[str, Check] = {
    **dict.fromkeys(("model", "weights", "dtype", "device", "source", "note", "date", "command", "driver"), _text),
    "versions": _table_of(_text),
    "clocks_mhz": _table_of(_number()),
    "threads": _whole(1, 10**4),
    "head_ms": _MS,
    "head": _timing,
    "head_stages": _table_of(_timing),
    "overhead_ms": _MS,
    "realised_tflops": _number(above=True),
    "peak_tflops": _number(above=True),
    "ceiling_tflops": _number(above=True),
    "contention": _number(1.0),
    "preprocess": _timing,
    "cold_start_ms": _MS,
    "encode": _list_of(
        lambda value, place: _table(value, place, _POINT, required=("views", "width", "height", "encoding"))
    ),
    "not_measured": _table_of(_text),
}
