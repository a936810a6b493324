"""What the clock charges for an encode and for a run of the head, however long the host really takes."""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.devices import DEVICES, find_device
from vlatency.agent.realtime.cost.distribution import Distribution, Steady
from vlatency.agent.realtime.cost.profile import available_profiles, load_profile
from vlatency.agent.realtime.cost.published import CALLS, Record, zoo
from vlatency.agent.realtime.cost.roofline import encode_work
from vlatency.agent.realtime.cost.schema import CONTENTION, MAX_MS, Profile
from vlatency.agent.realtime.cost.whole_call import WholeCall, load_whole_call
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError

MAX_FACTOR = 100.0
ROOFLINE = "roofline:"
NOTE_HEAD_MS = 10.97
"""Sensors and head as `vl_optimization_note.md` measured them. So small a job is bound by launches, not by a roof."""


Basis = Literal["none", "chosen", "measured", "scaled", "modelled", "live"]
"""How the latency of an encode is known: there is none, the user chose it, it was measured, it was scaled from measured
ones (by arithmetic, or by a factor), it is a device's roof, or every answer is timed as it comes."""


class NoFigure(UsageError):
    """There is no measured or published latency for a quantization, and another's would be an invention."""


class LatencyStream(Protocol):
    """The latencies of one episode, one job after another."""

    def encode_ns(self, views: int, of: int) -> int:
        """Latency of the next encode [ns], of `views` of `of` views: from the images to features that can be used."""

    def head_ns(self) -> int:
        """Latency of the next run of the head [ns]: from reading the sensors until the command applies."""


@dataclass(frozen=True)
class Constant:
    """A stream in which every job takes its nominal time.

    An encode of k of n views takes k/n of that time. This is what the arithmetic of batched views says, as each is a
    sequence of its own; it is too little for a device on which every encode has a fixed cost.
    """

    vl_ms: float
    head_ms: float

    def encode_ns(self, views: int, of: int) -> int:
        """Latency of an encode of `views` of `of` views [ns]."""
        return ms_to_ns(self.vl_ms if views == of else self.vl_ms * views / of)

    def head_ns(self) -> int:
        """Latency of a run of the head [ns]."""
        return ms_to_ns(self.head_ms)


@dataclass(frozen=True)
class Charged:
    """What a latency model charges, in three figures; percentiles of preprocessing and encode are simply added."""

    vl_p50_ms: float
    """Median of preprocessing and encode [ms]."""
    vl_p95_ms: float
    """95th percentile of preprocessing and encode [ms]."""
    head_ms: float
    """Median of sensors and head [ms]."""


@dataclass(frozen=True)
class FixedLatency:
    """Two constants that the user chose.

    Example:
        >>> FixedLatency(380, 11).describe()
        'fixed: VL 380.0 ms, sensor + head 11 ms'
    """

    encode_ms: float
    act_ms: float
    """Of sensors and head."""
    factor: float = 1.0
    """Both latencies are multiplied by it."""

    @property
    def name(self) -> str:
        """The text that `parse_latency` takes, without the factor."""
        return f"fixed:{_shortest(self.encode_ms)},{_shortest(self.act_ms)}"

    @property
    def vl_ms(self) -> float:
        """Latency of an encode [ms]."""
        return self.encode_ms * self.factor

    @property
    def head_ms(self) -> float:
        """Latency of sensors and head [ms]."""
        return self.act_ms * self.factor

    @property
    def contention(self) -> float:
        """Factor by which an encode on the same GPU slows the head down."""
        return CONTENTION

    @property
    def contention_measured(self) -> bool:
        """Whether that factor is known; an even share is assumed here."""
        return False

    @property
    def basis(self) -> Basis:
        """How the latency of an encode is known."""
        return "chosen"

    @property
    def charged(self) -> Charged:
        """The latencies in three figures."""
        return Charged(self.vl_ms, self.vl_ms, self.head_ms)

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that it can charge."""
        return _sha256({"vl_ms": self.vl_ms, "head_ms": self.head_ms, "contention": self.contention})

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """The latencies of one episode."""
        return Constant(self.vl_ms, self.head_ms)

    def describe(self) -> str:
        """One line for the header."""
        return f"fixed{_times(self.factor)}: VL {_figure(self.vl_ms)} ms, sensor + head {_figure(self.head_ms)} ms"


@dataclass(frozen=True)
class NoLatency(FixedLatency):
    """Thinking takes no time."""

    encode_ms: float = field(default=0.0, init=False)
    act_ms: float = field(default=0.0, init=False)
    factor: float = field(default=1.0, init=False)

    @property
    def name(self) -> str:
        """The text that `parse_latency` takes."""
        return "none"

    @property
    def basis(self) -> Basis:
        """There is no latency to be known."""
        return "none"

    def describe(self) -> str:
        """One line for the header."""
        return "none: VL 0 ms, sensor + head 0 ms"


@dataclass(frozen=True)
class ProfileLatency:
    """The latencies of one configuration on one device: measured, scaled from other measurements, or modelled."""

    name: str
    """The text that `parse_latency` takes, without the factor: the name or path of a profile, the name of a published
    figure, or a roofline."""
    device: str
    origin: str
    """How the latency of an encode is known, in words."""
    encode: Distribution
    head: Distribution
    contention: float
    """Factor by which an encode on the same GPU slows the head down."""
    contention_measured: bool = False
    """Whether the profile says it; an even share is assumed otherwise."""
    known: Basis = "measured"
    """How the latency of an encode is known before `factor`."""
    preprocess: Distribution = field(default=Steady(0.0))
    """Added to every encode, however many views it has: a profile has one for all configurations."""
    cold_start_ms: float = 0.0
    """Added to the first encode."""
    factor: float = 1.0
    """All durations are multiplied by it."""
    fewer: tuple[Distribution, ...] = ()
    """Encodes of one view, of two, and so on, up to all but one."""

    @property
    def vl_ms(self) -> float:
        """Median of preprocessing plus that of an encode [ms]."""
        return (self.preprocess.p50_ms + self.encode.p50_ms) * self.factor

    @property
    def head_ms(self) -> float:
        """Median of sensors and head [ms]."""
        return self.head.p50_ms * self.factor

    @property
    def basis(self) -> Basis:
        """How the latency of an encode is known; times a factor it is not a measured one."""
        return "scaled" if self.known == "measured" and self.factor != 1 else self.known

    @property
    def charged(self) -> Charged:
        """The latencies in three figures."""
        return Charged(self.vl_ms, (self.preprocess.p95_ms + self.encode.p95_ms) * self.factor, self.head_ms)

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that it can charge: all samples count, the profile's name does not."""
        said = ("name", "device", "origin", "known", "contention_measured")
        return _sha256({key: value for key, value in asdict(self).items() if key not in said})

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """The latencies of one episode; each kind of job draws from its own stream, spawned from `rng`."""
        encode, head, preprocess, *fewer = rng.spawn(3 + len(self.fewer))
        encodes = [law.draws(own) for law, own in zip((*self.fewer, self.encode), (*fewer, encode), strict=True)]
        preprocesses = self.preprocess.draws(preprocess)
        return _Drawn(preprocesses, encodes, self.head.draws(head), self.factor, self.cold_start_ms)

    def describe(self) -> str:
        """One line for the header."""
        times = f"VL {_figure(self.vl_ms)} ms, sensor + head {_figure(self.head_ms)} ms"
        title = Path(self.name).stem if self.name.endswith(".json") else self.name
        return f"{title}{_times(self.factor)} ({self.device}, {self.origin}): {times}"


class _Drawn:
    """A stream that draws every duration; the cold start is added to the first encode."""

    def __init__(
        self,
        preprocess_ms: Iterator[float],
        encodes_ms: Sequence[Iterator[float]],
        head_ms: Iterator[float],
        factor: float,
        cold_ms: float,
    ) -> None:
        self._preprocess_ms, self._encodes_ms, self._head_ms = preprocess_ms, encodes_ms, head_ms
        self._factor, self._cold_ms = factor, cold_ms

    def encode_ns(self, views: int, of: int) -> int:
        ms, self._cold_ms = next(self._preprocess_ms) + next(self._encodes_ms[views - of - 1]) + self._cold_ms, 0.0
        return ms_to_ns(ms * self._factor)

    def head_ns(self) -> int:
        return ms_to_ns(next(self._head_ms) * self._factor)


LatencyModel: TypeAlias = NoLatency | FixedLatency | ProfileLatency


def parse_latency(
    text: str, optimization: Optimization, factor: float = 1.0, stages: Literal[1, 2] = 2
) -> LatencyModel:
    """The latency model that a user names.

    Args:
        text: `none`, `fixed:VL_MS,HEAD_MS`, `roofline:DEVICE`, a profile's name, the path of one, or the name of a
            published figure.
        optimization: the configuration whose latencies a profile or a roofline is asked for. An encode of fewer views
            is looked up as a configuration of its own.
        factor: multiplies every latency.
        stages: of the policy. A published whole call is for a policy of one stage.

    Raises:
        UsageError: the text is none of these, or the profile cannot be used.
        NoFigure: nobody has measured or published what this quantization takes there, or the published figure is of
            another configuration.

    Example:
        >>> parse_latency("fixed:380,11", Optimization(), factor=0.5).vl_ms
        190.0
    """
    if not 0 < factor <= MAX_FACTOR:  # also refuses NaN
        raise UsageError(f"perf-factor must be above 0 and at most {MAX_FACTOR:g}, not {factor:g}")
    if text == "none":
        return NoLatency()
    if text.startswith("fixed:"):
        return _parse_fixed(text, factor)
    if text.startswith(ROOFLINE):
        return _modelled(text.removeprefix(ROOFLINE), optimization, factor)
    profiles = available_profiles()
    path = profiles.get(text, Path(text))
    if not os.path.isfile(path):  # unlike Path.is_file, never raises
        if "/" in text and (records := zoo().find(text)):
            return _published(text, records, optimization, factor, stages)
        if "/" in text and (near := zoo().near(text)):
            raise UsageError(f"unknown latency {text!r}; published are {', '.join(near)}")
        raise UsageError(
            f"unknown latency {text!r}; use none, fixed:VL_MS,HEAD_MS (such as fixed:380,11), "
            f"roofline:DEVICE ({', '.join(DEVICES)}), "
            f"a profile ({', '.join(profiles) or 'none found'}), the path of a profile's JSON file, or a published "
            "figure, MODEL/DEVICE/SOFTWARE (experiments/latencies.py lists them)"
        )
    whole = load_whole_call(Path(path))
    if whole is not None:
        return _whole(text, whole, optimization, factor)
    return _looked_up(text, load_profile(path), optimization, factor)


def _whole(name: str, whole: WholeCall, optimization: Optimization, factor: float) -> ProfileLatency:
    """All of a call is charged as the encode; there is no head, and views cannot be told apart."""
    law = whole.distribution
    return ProfileLatency(
        name=name,
        device=whole.device,
        origin="whole calls, measured",
        encode=law,
        head=Steady(0.0),
        contention=CONTENTION,
        cold_start_ms=whole.cold_start_ms,
        factor=factor,
        fewer=(law,) * len(_fewer(optimization)),
    )


def _published(
    name: str, records: Sequence[Record], asked: Optimization, factor: float, stages: Literal[1, 2]
) -> ProfileLatency:
    """One published record, as it was measured. An encode of fewer views, which was not, takes as long as that of all.

    A policy of one stage does not say here which views it looks at, so only the name chooses its record.
    """
    usable = [record for record in records if record.charged(stages)]
    if not usable:
        covers = ", ".join(dict.fromkeys(record.covers for record in records))
        wanted = "a whole call, for a policy of one stage" if stages == 1 else "an encode, or encoder and head apart"
        raise UsageError(f"latency {name} covers {covers}; needed is {wanted} (experiments/latencies.py lists all)")
    other = [word for word in (asked.quant, asked.compile, *asked.shortcuts) if word != "none"]
    found = [record for record in usable if stages == 1 or (record.answers(asked) and not other)]
    if not found:
        wanted = f"{len(asked.cameras)} x {asked.width}x{asked.height} {' '.join(other)}".strip()
        have = "; ".join(dict.fromkeys(record.configuration for record in usable))
        raise NoFigure(f"latency {name} was not measured for {wanted}; it was for {have}; {INSTEAD}")
    if len(found) > 1:
        choices = ", ".join(f"{record.name}/{record.id} ({record.configuration})" for record in found)
        raise UsageError(f"latency {name} stands for {len(found)} figures; name one of {choices}")
    record = found[0]
    charged = record.charged(stages)
    assert charged
    said = [f"published {record.id}", record.timed, record.configuration]
    said += [record.covers] * (record.covers not in CALLS) + ["head as in the note"] * (charged.head is None)
    return ProfileLatency(
        name=name,
        device=record.device,
        origin=", ".join(said),
        encode=charged.encode,
        head=charged.head or Steady(NOTE_HEAD_MS),
        contention=CONTENTION,
        preprocess=charged.preprocess,
        factor=factor,
        fewer=(charged.encode,) * len(_fewer(asked)),
    )


def _looked_up(name: str, profile: Profile, optimization: Optimization, factor: float) -> ProfileLatency:
    point = profile.measured(optimization)
    if point is None and optimization.quant != "none":
        raise NoFigure(_no_figure(name, optimization, profile))
    scaled_ms = profile.scaled_ms(optimization)

    def encode(asked: Optimization) -> Distribution:
        found = profile.measured(asked)
        if found:
            return found.distribution
        # Arithmetic knows nothing of a quantization, but how much less work fewer views are.
        faster = point.distribution.p50_ms / scaled_ms if point and optimization.quant != "none" else 1.0
        return Steady(profile.scaled_ms(asked) * faster)

    return ProfileLatency(
        name=name,
        device=profile.device,
        origin=f"measured{point.remark}" if point else _scaled(optimization),
        encode=encode(optimization),
        head=profile.head_distribution,
        contention=profile.contention,
        contention_measured="contention" in profile.model_fields_set,
        known="measured" if point else "scaled",
        preprocess=profile.preprocess.distribution,
        cold_start_ms=profile.cold_start_ms,
        factor=factor,
        fewer=tuple(encode(few) for few in _fewer(optimization)),
    )


def _no_figure(name: str, asked: Optimization, profile: Profile) -> str:
    """One line that says what is missing, what the profile has, and what else can be done."""
    quants = list(dict.fromkeys(point.quant for point in profile.encode))
    have = f"it has those of quant {', '.join(quants)} only"
    if asked.quant in quants:
        views = [f"{p.views} x {p.width}x{p.height} {p.encoding}" for p in profile.encode if p.quant == asked.quant]
        have = f"it has {asked.quant} for {', '.join(dict.fromkeys(views))} only"
    wanted = f"{len(asked.cameras)} x {asked.width}x{asked.height} {asked.encoding}"
    return f"latency {name} has no figure for quant {asked.quant} at {wanted} views: {have}; {INSTEAD}"


INSTEAD = (
    "measure it (experiments/measure.py), state one (fixed:VL_MS,HEAD_MS), or run --mode pause, which charges none"
)
"""Of a figure that there is not."""


def _scaled(optimization: Optimization) -> str:
    """How a scaled latency is described: the arithmetic knows nothing of what is named here."""
    unknown = [name for name in (optimization.compile, *optimization.shortcuts) if name != "none"]
    return "scaled by TFLOP" + f", as if without {' and '.join(unknown)}" * bool(unknown)


def _modelled(name: str, optimization: Optimization, factor: float) -> ProfileLatency:
    device = find_device(name)
    if optimization.quant not in device.quants:
        raise NoFigure(
            f"latency {ROOFLINE}{name} has no peak rate for quant {optimization.quant}: it has those of quant "
            f"{', '.join(device.quants)} only; {INSTEAD}"
        )

    def encode(asked: Optimization) -> Steady:
        work = encode_work(len(asked.cameras), (asked.width, asked.height), asked.encoding)
        return Steady(work.roofline_ms(device, asked.quant))

    return ProfileLatency(
        name=f"{ROOFLINE}{name}",
        device=device.name,
        origin="modelled: Qwen2.5-VL-3B at the device's peak; head as in the note",
        encode=encode(optimization),
        head=Steady(NOTE_HEAD_MS),
        contention=CONTENTION,
        known="modelled",
        factor=factor,
        fewer=tuple(encode(few) for few in _fewer(optimization)),
    )


def _fewer(optimization: Optimization) -> list[Optimization]:
    """The same with one of its views, with two, and so on, up to all but one."""
    cameras = optimization.cameras
    return [replace(optimization, cameras=cameras[:count]) for count in range(1, len(cameras))]


def _parse_fixed(text: str, factor: float) -> FixedLatency:
    try:
        figures = [float(number) for number in text.removeprefix("fixed:").split(",")]
    except ValueError:
        figures = []
    if len(figures) not in (1, 2) or not all(0 <= ms <= MAX_MS for ms in figures):  # also refuses NaN
        raise UsageError(
            f"bad latency {text!r}; fixed:VL_MS,HEAD_MS takes two numbers of 0 to {MAX_MS:.0f}, such as fixed:380,11, "
            "and fixed:MS, for a policy of one stage, one"
        )
    return FixedLatency(figures[0], figures[1] if len(figures) == 2 else 0.0, factor)


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _shortest(ms: float) -> str:
    """The fewest digits that give the number back."""
    return repr(float(ms)).removesuffix(".0")


def _figure(ms: float) -> str:
    return f"{ms:.1f}" if ms >= 100 else f"{ms:.4g}"


def _times(factor: float) -> str:
    return "" if factor == 1 else f" x {factor:g}"
