"""The schema of a latency profile (`assets/latency/*.json`); `docs/measuring.md` explains the fields.

The same classes serve the measurement that writes a profile, the clock that charges it, and the claims that quote it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vlatency.agent.optimization import MAX_SIDE, Attention, Compile, Encoding, Optimization, Quant, Shortcut
from vlatency.agent.realtime.cost.architectures import ARCHITECTURES, LIGHT_ENCODERS, QWEN2_5_VL_3B, find_architecture
from vlatency.agent.realtime.cost.devices import FASTER
from vlatency.agent.realtime.cost.distribution import Distribution, Lognormal, Samples, Steady
from vlatency.agent.realtime.cost.roofline import encode_tflop, visual_tokens
from vlatency.sim.names import CAMERA_ORDER

MAX_VIEWS = len(CAMERA_ORDER)
CONTENTION = 2.0
"""Assumed where a profile does not say: two jobs share a GPU evenly."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _vision_encoder(name: str) -> str:
    known = ("qwen", *LIGHT_ENCODERS)
    if name not in known:
        raise ValueError(f"must be one of {', '.join(known)}, not {name!r}")
    return name


Text = Annotated[str, AfterValidator(_not_blank)]
MAX_MS = 3_600_000.0
"""An hour: longer than any episode."""
BEYOND_TFLOPS = 3000.0
"""A rate at bf16 that no device reaches [TFLOP/s]."""
DOUBTFUL_MS = 60_000.0
"""An encode this long outlasts every episode: its figure may be in microseconds."""
Ms = Annotated[float, Field(ge=0, le=MAX_MS)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=10**7)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class _Table(BaseModel):
    """A JSON object whose values are not converted and whose names are all known."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.mode == "json":
            raise ValueError("must not be null: leave it out")
        return value


class Duration(_Table):
    """How long something takes: `samples_ms`, else `p50_ms`, `p95_ms` and `p99_ms`, else `mean_ms`."""

    # JSON has lists only: strict=False lets one become a tuple, and leaves its items strict.
    samples_ms: Annotated[tuple[Ms, ...], Field(strict=False, min_length=1)] | None = None
    p50_ms: Ms | None = None
    p95_ms: Ms | None = None
    p99_ms: Ms | None = None
    mean_ms: Ms | None = None
    std_ms: Ms | None = None

    @model_validator(mode="after")
    def _has_a_distribution(self) -> Duration:
        _ = self.distribution
        return self

    @property
    def distribution(self) -> Distribution:
        """The distribution that an episode draws from."""
        if self.samples_ms is not None:
            return Samples(self.samples_ms)
        if self.p50_ms is not None and self.p95_ms is not None and self.p99_ms is not None:
            if not 0 < self.p50_ms <= self.p95_ms <= self.p99_ms:
                figures = f"{self.p50_ms:g}, {self.p95_ms:g}, {self.p99_ms:g}"
                raise ValueError(f"needs p50_ms, p95_ms and p99_ms that rise and are above 0, not {figures}")
            return Lognormal(self.p50_ms, self.p95_ms, self.p99_ms)
        if self.mean_ms is None or self.p50_ms is not None:
            raise ValueError("needs samples_ms, or p50_ms, p95_ms and p99_ms, or mean_ms")
        return Steady(self.mean_ms)

    @property
    def remark(self) -> str:
        """What of the entry is not used, or is doubtful, each after a comma."""
        spread = self.std_ms is not None and self.samples_ms is None and self.p50_ms is None
        long = self.distribution.p50_ms >= DOUBTFUL_MS
        return ", mean only: std_ms is not used" * spread + ", longer than an episode: are these microseconds?" * long


class Point(Duration):
    """One measured encode."""

    row: Text | None = None
    file: Text | None = None
    views: Annotated[int, Field(ge=1, le=MAX_VIEWS)]
    width: Side
    """Of a view before it is cut into patches [px]."""
    height: Side
    encoding: Encoding
    model: Text | None = None
    """None: the profile's."""
    vision_encoder: Annotated[str, AfterValidator(_vision_encoder)] = "qwen"
    transformers_path: bool = False
    """Whether transformers' own code was timed instead of ours."""
    attention: Attention | None = None
    """None: the profile does not distinguish kernels, and the point answers for every one."""
    quant: Quant = "none"
    compile: Compile = "none"
    shortcuts: Annotated[tuple[Shortcut, ...], Field(strict=False)] = ()
    visual_tokens: Count | None = None
    sequences: Annotated[tuple[Count, ...], Field(strict=False)] | None = None
    tflop: Positive | None = None
    gigabytes: Positive | None = None
    feature_error: Annotated[float, Field(ge=0)] | None = None
    stages: dict[str, Duration] | None = None

    @property
    def res(self) -> tuple[int, int]:
        """(width, height) of a view [px]."""
        return self.width, self.height

    def answers(self, optimization: Optimization) -> bool:
        """Whether this is a measurement of that configuration."""
        one = self.views == 1 and {self.encoding, optimization.encoding} <= {"joint", "batched"}
        same_work = self.encoding == optimization.encoding or one  # one view is one sequence either way
        return (
            same_work
            and self.views == len(optimization.cameras)
            and self.res == (optimization.width, optimization.height)
            and self.attention in (None, optimization.attention)
            and (self.quant, self.compile) == (optimization.quant, optimization.compile)
            and set(self.shortcuts) == set(optimization.shortcuts)
        )


class Profile(_Table):
    """What one device takes, and where the figures come from."""

    model: Text | None = None
    weights: Text | None = None
    dtype: Text | None = None
    device: Text
    source: Text | None = None
    note: Text | None = None
    driver: Text | None = None
    clocks_mhz: dict[str, Annotated[float, Field(ge=0)]] | None = None
    threads: Annotated[int, Field(ge=1, le=10**4)] | None = None
    versions: dict[str, Text] | None = None
    date: Text | None = None
    command: Text | None = None
    peak_tflops: Positive | None = None
    """Rate at bf16 that the device cannot exceed [TFLOP/s]."""
    ceiling_tflops: Positive | None = None
    """Rate of the best matrix product timed on it [TFLOP/s]."""
    overhead_ms: Ms
    """Latency of an encode that computes nothing, for configurations without a point."""
    realised_tflops: Positive
    """Rate at which an encode computes beyond that overhead [TFLOP/s]."""
    preprocess: Duration = Duration(mean_ms=0.0)
    """From images to tensors, before every encode."""
    cold_start_ms: Ms = 0.0
    """What the first encode of an episode takes more than the others."""
    head: Duration | None = None
    """Sensors and action head; exactly one of this and `head_ms`."""
    head_ms: Ms | None = None
    head_stages: dict[str, Duration] | None = None
    contention: Annotated[float, Field(ge=1)] = CONTENTION
    """Factor by which an encode on the same GPU slows the head down."""
    not_measured: dict[str, Text] | None = None
    """Rows that could not be measured, with the reason."""
    encode: Annotated[tuple[Point, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Profile:
        if (self.head is None) == (self.head_ms is None):
            raise ValueError("a profile needs head_ms or head, one of them")
        seen: dict[tuple[Any, ...], int] = {}
        for number, point in enumerate(self.encode):
            self._check(point, f"encode[{number}]")
            first = seen.setdefault(self._configuration(point), number)
            if first != number:
                raise ValueError(f"encode[{number}] is the same configuration as encode[{first}]")
        return self

    def _check(self, point: Point, place: str) -> None:
        model = self.model_of(point)
        if point.visual_tokens is not None and model in ARCHITECTURES:
            expected = point.views * visual_tokens(point.res, find_architecture(model, point.vision_encoder))
            if point.visual_tokens != expected:
                raise ValueError(
                    f"{place}.visual_tokens is {point.visual_tokens}, but {model} makes {expected} of these views"
                )
        took_ms = point.distribution.p50_ms
        if model in ARCHITECTURES and took_ms > 0:
            arch = find_architecture(model, point.vision_encoder)
            rate = encode_tflop(point.views, point.res, point.encoding, arch) / took_ms * 1e3
            if rate > BEYOND_TFLOPS * FASTER.get(point.quant, 1):
                raise ValueError(
                    f"{place} takes {took_ms:.4g} ms, {rate:.3g} TFLOP/s, which no device reaches: are these seconds? "
                    "A profile is in milliseconds"
                )
        if point.tflop is not None and self.peak_tflops is not None and took_ms > 0:
            check_peak(point.tflop, took_ms, self.peak_tflops, point.quant, place)

    def _configuration(self, point: Point) -> tuple[Any, ...]:
        """What must differ between two points of a profile."""
        work = (point.views, point.res, point.encoding, self.model_of(point), point.vision_encoder)
        how = (point.attention, point.quant, point.compile, frozenset(point.shortcuts), point.transformers_path)
        return work + how

    def model_of(self, point: Point) -> str:
        """Name of the model that a point timed; empty if neither it nor the profile says."""
        return point.model or self.model or ""

    @property
    def head_distribution(self) -> Distribution:
        """The distribution of sensors and action head."""
        return Steady(self.head_ms or 0.0) if self.head is None else self.head.distribution

    def measured(self, optimization: Optimization) -> Point | None:
        """The measured encode of exactly this configuration by the profile's own model, or None."""
        for point in self.encode:
            own = point.model in (None, self.model) and point.vision_encoder == "qwen" and not point.transformers_path
            if own and point.answers(optimization):
                return point
        return None

    def scaled_ms(self, optimization: Optimization) -> float:
        """Latency of any encode by its arithmetic alone [ms]: as if at bf16 and launched kernel by kernel."""
        res = (optimization.width, optimization.height)
        arch = ARCHITECTURES.get(self.model or "", QWEN2_5_VL_3B)
        tflop = encode_tflop(len(optimization.cameras), res, optimization.encoding, arch)
        return self.overhead_ms + tflop / self.realised_tflops * 1e3


def read_profile(content: bytes) -> Profile:
    """Parse and check a profile's JSON text.

    Raises:
        ValueError: one line that names the place, such as `encode[3].views`, and what is allowed there.
    """
    try:
        text = content.decode("utf-8-sig")  # Windows begins a file with a byte order mark
        json.loads(text, object_pairs_hook=_without_doubles, parse_int=float)
        return Profile.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_one_line(error)) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except RecursionError:
        raise ValueError("it is nested deeper than a profile can be") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} is there twice in one object; keep one of them")
    return dict(pairs)


def check_peak(tflop: float, ms: float, peak_tflops: float, quant: str, what: str) -> None:
    """ValueError if that much arithmetic in that time is more than the device can do."""
    peak = peak_tflops * FASTER.get(quant, 1)
    if tflop > peak * ms * 1e-3:
        raise ValueError(
            f"{what} took {ms:.4g} ms for {tflop:.4g} TFLOP, {tflop / ms * 1e3:.4g} TFLOP/s, "
            f"above the device's peak of {peak:.4g}: not all of the work was done or timed"
        )


def _one_line(error: ValidationError) -> str:
    """The most telling error as one line: the place, what is wrong, and what is allowed there."""
    # If a required name is misspelt, it is unknown and missing at once: the first explains the second.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    place, parent = _place(first["loc"]), _place(first["loc"][:-1])
    name, message = str(first["loc"][-1]) if first["loc"] else "", first["msg"].removeprefix("Value error, ")
    match first["type"]:
        case "missing":
            return f"{parent or 'a profile'} has no {name}"
        case "extra_forbidden":
            return f"{place} is not known here; {', '.join(_fields(first['loc'][:-1]))} are"
        case "too_short":
            return f"{place} is empty"
        case "value_error":
            return f"{place} {message}".strip()
        case "json_invalid":
            return message
    found = repr(first["input"])
    return f"{place or 'a profile'} {message.removeprefix('Input ')}, not {found[:57] + '...' * (len(found) > 57)}"


def _place(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    """The names that an object at this place may have."""
    table: type[_Table] = Profile if not loc else Point if isinstance(loc[-1], int) else Duration
    return list(table.model_fields)
