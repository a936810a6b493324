"""Latencies that others have measured and published (`assets/latency/published.yaml`), replayed as they were measured.

A name is MODEL/DEVICE/SOFTWARE, for the software counts as much as the device. MODEL/DEVICE/SOFTWARE/ID is one of its
records. No figure is ever scaled: neither to other views, nor to another precision, nor to another model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlatency import assets
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.distribution import Distribution, Lognormal, Samples, Steady
from vlatency.agent.realtime.cost.schema import Count, Ms, Text
from vlatency.sim.errors import UsageError

FILE = assets.FOLDER / "latency" / "published.yaml"
Role = Literal["call", "encode", "part"]
"""A whole call of a policy, from images to chunk; an encode, from images to features; or a part of either."""
CALLS = ("one policy call", "action generation, 10 steps")
ENCODES = ("vision + prefill", "vision + prefill of the whole batch", "forward", "TTFT", "TTFT with one image")
APART = ("preprocess", "backbone", "action_head")
"""Stages of a call in which encoder and head were timed apart."""


@dataclass(frozen=True)
class Parts:
    """How long each part of an inference takes."""

    encode: Distribution
    head: Distribution | None
    """None: not measured."""
    preprocess: Distribution = field(default=Steady(0.0))


class Record(BaseModel):
    """One published measurement. A field that is None, empty or missing is one that the source does not state."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    id: Text
    name: Annotated[str, Field(pattern=r"^[a-z0-9.-]+(/[a-z0-9.-]+){2}$")]
    """MODEL/DEVICE/SOFTWARE, as `--latency` takes it."""
    model: Text
    """As the source has it; so are device and software."""
    device: Text
    software: Text
    params_b: Annotated[float, Field(gt=0, strict=False)] | None = None
    """Parameters [1e9]."""
    precision: Text | None = None
    power_mode: Text | None = None
    views: Count | None = None
    resolution: Text | None = None
    """Of a view."""
    tokens: Text | None = None
    batch: Count
    denoise_steps: Count | None = None
    covers: Text
    statistic: Text
    """What `total_ms` and the stages are."""
    total_ms: Ms | None = None
    """None if only parts of it were timed."""
    min_ms: Ms | None = None
    p95_ms: Ms | None = None
    p99_ms: Ms | None = None
    max_ms: Ms | None = None
    std_ms: Ms | None = None
    n: Count | None = None
    """Repetitions."""
    stages_ms: dict[str, Ms] = Field(default_factory=dict)
    samples_ms: Annotated[tuple[Ms, ...], Field(strict=False, min_length=1)] | None = None
    first_call_ms: Ms | None = None
    """The first call ever, which no other figure contains and which is not charged."""
    success: Text | None = None
    """Of the same software on a benchmark."""
    output_cosine: float | None = None
    """Between its output and that of a reference."""
    rows: Annotated[tuple[Text, ...], Field(strict=False)]
    """The rows of `vl_optimization_note.md`, or the questions, that it speaks to."""
    source: Text
    path: Text
    commit: Text
    read: Literal["C", "I"]
    """Read in the committed file (C), or in the thread of an issue or a pull request (I)."""
    note: Text | None = None

    @property
    def role(self) -> Role:
        """What `total_ms` is the latency of."""
        if self.total_ms is not None and self.covers in CALLS:
            return "call"
        return "encode" if self.total_ms is not None and self.views and self.covers in ENCODES else "part"

    @property
    def distribution(self) -> Distribution:
        """The whole of it: the samples, else a distribution through three quantiles, else a constant."""
        if self.samples_ms is not None:
            return Samples(self.samples_ms)
        if self.p95_ms and self.p99_ms and self.total_ms and self.statistic == "p50":
            return Lognormal(self.total_ms, self.p95_ms, self.p99_ms)
        return Steady(self.total_ms or 0.0)

    def charged(self, stages: Literal[1, 2]) -> Parts | None:
        """What a policy of that many stages is charged; None if this is no figure for it."""
        if stages == 1:
            return Parts(self.distribution, Steady(0.0)) if self.role == "call" else None
        if self.role == "call" and self.stages_ms.keys() >= set(APART):
            preprocess, encode, head = (Steady(self.stages_ms[stage]) for stage in APART)
            return Parts(encode, head, preprocess)
        return Parts(self.distribution, None) if self.role == "encode" else None

    @property
    def configuration(self) -> str:
        """What was measured, in words."""
        views = f"{self.views} view{'s' * (self.views > 1)}" if self.views else "views not stated"
        said = [f"{views} of {self.resolution}" if self.resolution else views]
        said += [self.tokens if "tokens" in self.tokens else f"{self.tokens} tokens"] if self.tokens else []
        said += [f"batch {self.batch}"] if self.batch > 1 else []
        said += [self.precision] if self.precision else []
        said += [f"{self.denoise_steps} denoising steps"] if self.denoise_steps else []
        return ", ".join(said)

    @property
    def timed(self) -> str:
        """Statistic and repetitions, such as "median of 20"."""
        return f"{self.statistic}{f' of {self.n}' if self.n else ''}"

    def answers(self, optimization: Optimization) -> bool:
        """Whether views and resolution are those. What is not stated, or not in pixels, cannot be compared."""
        pixels = re.fullmatch(r"(\d+)x(\d+)", self.resolution or "")
        res = (int(pixels[1]), int(pixels[2])) if pixels else None
        return self.views in (None, len(optimization.cameras)) and res in (
            None,
            (optimization.width, optimization.height),
        )


@dataclass(frozen=True)
class Zoo:
    """All published records, by name."""

    records: tuple[Record, ...]

    @cached_property
    def profiles(self) -> dict[str, tuple[Record, ...]]:
        """The records of each MODEL/DEVICE/SOFTWARE."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.name, []).append(record)
        return {name: tuple(records) for name, records in found.items()}

    def find(self, text: str) -> tuple[Record, ...]:
        """The records that a text names: all of MODEL/DEVICE/SOFTWARE, or one with its ID behind; none if unknown."""
        name, _, last = text.rpartition("/")
        one = tuple(record for record in self.profiles.get(name, ()) if record.id == last)
        return one or self.profiles.get(text, ())

    def look_up(self, text: str) -> tuple[Record, ...]:
        """The records of a name, or the one of an id. UsageError if there is none."""
        found = tuple(record for record in self.records if record.id == text) or self.find(text)
        if not found:
            raise UsageError(f"{text} is neither the name nor the id of a published figure (experiments/latencies.py)")
        return found

    def near(self, text: str) -> list[str]:
        """The names that share model and device with an unknown one, else those that share the model."""
        model, device, *_ = text.split("/")
        same = [name for name in self.profiles if name.startswith(f"{model}/")]
        return [name for name in same if name.startswith(f"{model}/{device}/")] or same


@lru_cache(maxsize=1)
def zoo() -> Zoo:
    """The records that ship. They are read only once per process.

    Raises:
        UsageError: the file is damaged; one line that names the place.
    """
    try:
        # The C parser is ten times faster; not every installation has it.
        loaded = yaml.load(FILE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return Zoo(tuple(_record(number, values) for number, values in enumerate(loaded)))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise UsageError(f"{FILE} cannot be used: {' '.join(str(error).split())}") from None


def _record(number: int, values: Any) -> Record:
    try:
        return Record.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ValueError(f"record {number + 1}: {place}: {first['msg']}") from None
