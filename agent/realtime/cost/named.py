"""The latency model that a command line names: none, two numbers, a profile, a published figure, or a device's roof."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.devices import DEVICES, find_device
from vlatency.agent.realtime.cost.distribution import Distribution, Steady
from vlatency.agent.realtime.cost.latency import FixedLatency, LatencyModel, NoLatency, ProfileLatency
from vlatency.agent.realtime.cost.profile import available_profiles, load_profile
from vlatency.agent.realtime.cost.published import CALLS, Record, zoo
from vlatency.agent.realtime.cost.roofline import encode_work
from vlatency.agent.realtime.cost.schema import CONTENTION, MAX_MS, Profile
from vlatency.agent.realtime.cost.whole_call import WholeCall, load_whole_call
from vlatency.sim.errors import UsageError

MAX_FACTOR = 100.0
ROOFLINE = "roofline:"
NOTE_HEAD_MS = 10.97
"""Sensors and head as `vl_optimization_note.md` measured them. So small a job is bound by launches, not by a roof."""


class NoFigure(UsageError):
    """There is no measured or published latency for a quantization, and another's would be an invention."""


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
