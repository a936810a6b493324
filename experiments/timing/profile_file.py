"""From measurements to a latency profile: points, provenance, the fit that scales to other configurations, the file."""

from __future__ import annotations

import datetime
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from vlatency.agent.realtime.cost.architectures import find_architecture
from vlatency.agent.realtime.cost.devices import recognised
from vlatency.agent.realtime.cost.roofline import encode_tflop
from vlatency.agent.realtime.cost.schema import Duration, Point, Profile, check_peak
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.timing.encode_stages import Measurement, Samples
from vlatency.experiments.timing.ladder import Row
from vlatency.sim.errors import UsageError

SLACK = 1.5
"""Assumed peak of a device that is not in the table, over the rate of the best matrix product timed on it. On a busy
machine even the best sample may be slow."""
_CLOCKS = {"sm": "clocks.sm", "memory": "clocks.mem", "sm, most": "clocks.max.sm"}


def device_name(device: torch.device) -> str:
    """The name by which the driver, or the kernel of a CPU's machine, knows it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{model}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"


def peak_tflops(device: torch.device, ceiling_tflops: float) -> float:
    """Rate that the device cannot exceed at bf16 [TFLOP/s]: by its datasheet, else SLACK times the ceiling."""
    row = recognised(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return row.tflops if row else SLACK * ceiling_tflops


def described(device: torch.device) -> dict[str, Any]:
    """Provenance, as fields of a profile: driver, clocks, threads, versions, date and command."""
    asked = ["nvidia-smi", "--query-gpu=driver_version," + ",".join(_CLOCKS.values()), "--format=csv,noheader,nounits"]
    found: dict[str, Any] = {"driver": "none"}
    if device.type == "cuda":
        try:
            answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
            driver, *clocks = answer.splitlines()[0].split(", ")
            found = {"driver": driver, "clocks_mhz": dict(zip(_CLOCKS, map(float, clocks), strict=True))}
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            found = {"driver": "not recorded"}
    versions = {**provenance.versions(), "cuda": torch.version.cuda or "none"}
    for name in ("mujoco", "gymnasium", "mink"):
        versions.pop(name, None)
    return {
        **found,
        "threads": torch.get_num_threads(),
        "versions": versions,
        "date": datetime.date.today().isoformat(),
        "command": provenance.command_line(sys.argv),
    }


def point_of(row: Row, measured: Measurement, peak: float) -> Point:
    """A measured row as an entry of `encode`. UsageError if it is faster than the device can be."""
    o = row.optimization
    tflop = measured.work.flop / 1e12
    try:
        check_peak(tflop, statistics.median(measured.samples_ms), peak, o.quant, row.name)
    except ValueError as error:
        raise UsageError(f"{error}; it is not written") from error
    changed = measured.feature_error
    return Point(
        row=row.name,
        model=row.model,
        vision_encoder=row.vision_encoder,
        transformers_path=row.transformers_path,
        views=len(o.cameras),
        width=o.width,
        height=o.height,
        encoding=o.encoding,
        attention=o.attention,
        quant=o.quant,
        compile=o.compile,
        shortcuts=o.shortcuts,
        visual_tokens=measured.visual_tokens,
        sequences=measured.sequences,
        tflop=round(tflop, 6),
        gigabytes=round(measured.work.gigabytes(o.quant), 6),
        samples_ms=rounded(measured.samples_ms),
        stages={name: duration(samples) for name, samples in measured.stages.items()},
        feature_error=None if changed is None else float(f"{changed:.3g}"),
    )


def rounded(samples: Samples) -> Samples:
    """Samples [ms], rounded to a microsecond."""
    return tuple(round(sample, 3) for sample in samples)


def duration(samples: Samples) -> Duration:
    """Samples [ms] as a profile holds them."""
    return Duration(samples_ms=rounded(samples))


def fitted(points: Sequence[Point], model: str, peak: float) -> tuple[float, float]:
    """Overhead [ms] and rate beyond it [TFLOP/s] that fit the plain points best (least squares of the relative error).

    Configurations that were not measured are scaled with these two by `encode_tflop`, which therefore counts the
    arithmetic here, too.
    """
    chosen = [point for point in points if _is_plain(point, model)] or list(points)
    took = np.array([point.distribution.p50_ms for point in chosen])
    arch = find_architecture(model)
    tflop = [encode_tflop(point.views, point.res, point.encoding, arch) for point in chosen]
    columns = np.stack([np.full(len(took), len(took) > 1), np.array(tflop)], axis=1) / took[:, None]
    (overhead_ms, ms_per_tflop), _ = nnls(columns, np.ones(len(took)))
    return round(float(overhead_ms), 4), float(f"{min(1e3 / max(ms_per_tflop, 1e-12), peak):.4g}")


def _is_plain(point: Point, model: str) -> bool:
    """Whether a point timed the model itself, by our code, with nothing chosen but views, size and encoding."""
    return (point.model, point.vision_encoder, point.transformers_path) == (model, "qwen", False) and (
        (point.quant, point.compile, point.shortcuts) == ("none", "none", ())
    )


def write(path: Path, profile: Profile) -> None:
    """Write a profile for `load_profile` to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _compact(profile.model_dump(mode="json", exclude_unset=True, exclude_none=True)) + "\n")


def _compact(profile: dict[str, Any]) -> str:
    """Indented JSON with one line per point."""
    fields = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in profile.items() if name != "encode"]
    points = ",\n".join(f"    {json.dumps(point)}" for point in profile["encode"])
    return "{\n" + ",\n".join([*fields, f'  "encode": [\n{points}\n  ]']) + "\n}"
