"""Time rows on this machine: build the model that each one needs, share the time, and list what fails."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from vlatency.agent.optimization import check_device
from vlatency.agent.realtime.cost.schema import Duration, Point, Profile
from vlatency.agent.vla.model.config import QWEN
from vlatency.agent.vla.model.encoder import PLAIN
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.experiments.evaluation import policies
from vlatency.experiments.shared import command, provenance
from vlatency.experiments.timing import encode_stages, profile_file, stopwatch
from vlatency.experiments.timing.encode_stages import Measurement, Samples
from vlatency.experiments.timing.ladder import Row, is_tiny
from vlatency.experiments.timing.stopwatch import Stopwatch, median_ratio, quantiles
from vlatency.experiments.timing.transformers_path import measure_transformers_path
from vlatency.sim.errors import UsageError

LADDER_S = {"cuda": 450.0, "cpu": 180.0}
"""Time for a ladder [s], from when its first model is built."""


@dataclass(frozen=True)
class Conditions:
    """What is the same for all rows of a measurement."""

    model: str
    """The profile's model; a row may have another one."""
    weights: str = "random"
    """Of that model: random, hub, or the folder of a policy."""
    vision_encoder: str = QWEN
    """Of that model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where there is a GPU."""
    threads: int = 0
    """CPU threads; 0 leaves the choice to torch."""
    reps: int = 30
    """Samples of each row and of each stage."""
    ladder: bool = False
    """Whether the rows share a limited time, and a row that fails is listed with the reason."""


@dataclass(frozen=True)
class Head:
    """How long sensors and head take."""

    whole: Duration
    stages: dict[str, Duration]
    contention: float
    """Factor by which an encode on the same device slows them down."""


def measure(conditions: Conditions, rows: Sequence[Row], out: Path | None) -> tuple[Profile, Path]:
    """Time the rows, print each when it is done, and write the profile.

    Args:
        conditions: what is the same for all rows.
        rows: what to time, in this order.
        out: where to write; None: runs/latency-MODEL[-ladder]-DEVICE.json.

    Returns:
        The profile, and its path.

    Raises:
        UsageError: a single row cannot run here, or its figure cannot be true.
        RunError: no row of a ladder could be measured.
    """
    bench = Workbench(conditions)
    print(bench.header(), flush=True)
    points, missing, head = bench.measure(rows)
    profile = bench.profile(points, missing, head)
    path = out or Path(f"runs/latency-{conditions.model}{'-ladder' * conditions.ladder}-{bench.device.type}.json")
    profile_file.write(path, profile)
    return profile, path


class Workbench:
    """A device, the model that is loaded on it, and the time that is left."""

    def __init__(self, conditions: Conditions) -> None:
        if conditions.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("torch finds no GPU here; leave --device out to measure on the CPU")
        if conditions.threads:
            torch.set_num_threads(conditions.threads)
        self.conditions = conditions
        found = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(found if conditions.device == "auto" else conditions.device)
        self.dtype = torch.float32 if is_tiny(conditions.model) else torch.bfloat16
        self.ceiling = stopwatch.ceiling_tflops(self.device, self.dtype)
        self.peak = profile_file.peak_tflops(self.device, self.ceiling)
        self.name = profile_file.device_name(self.device)
        self._key: tuple[str, str] = ("", "")
        self._model: VLA | None = None
        self._deadline = float("inf")

    def header(self) -> str:
        """The lines above the table."""
        dtype = str(self.dtype).removeprefix("torch.")
        what = f"{self.conditions.model}, {self.conditions.weights} weights, {dtype}"
        return (
            f"{what} · {self.name} · {provenance.cores()} cores · "
            f"matrix products {self.ceiling:.3g} TFLOP/s, peak {self.peak:.4g}\n"
            f"{'':<58}{'p50':>9}{'p95':>9}{'p99':>9}{'n':>4}{'TFLOP/s':>9}{'error':>9}  [ms]"
        )

    def measure(self, rows: Sequence[Row]) -> tuple[list[Point], dict[str, str], Head]:
        """Time the rows.

        Returns:
            The measured points; the reasons of the other rows, by name; and how long the head takes.
        """
        points: list[Point] = []
        missing: dict[str, str] = {}
        head: Head | None = None
        self._loaded(rows[0])
        if self.conditions.ladder:
            self._deadline = time.monotonic() + LADDER_S[self.device.type]
        for number, row in enumerate(rows):
            left_s = self._deadline - time.monotonic()
            try:
                check_device(row.optimization, self.device.type)
                if left_s < 0:
                    raise UsageError("the ladder's time was over: measure it alone")
                measured, policy = self._one(row, share_s=left_s / (len(rows) - number))
                point = profile_file.point_of(row, measured, self.peak)
            except Exception as error:  # one row that breaks must not cost a ladder the others
                if not self.conditions.ladder:
                    raise
                self._model = None
                missing[row.name] = _reason(error)
                print(f"{row.name:<58} not measured: {missing[row.name]}", flush=True)
                continue
            points.append(point)
            print(_line(row, measured), flush=True)
            if not self.conditions.ladder:
                _print_stages(measured.stages)
            if head is None and policy is not None:
                head = self._head(policy)
        if not points:
            raise command.RunError("nothing could be measured")
        return points, missing, head or self._head(VLAPolicy(self._loaded(rows[0]), rows[0].optimization))

    def profile(self, points: list[Point], missing: dict[str, str], head: Head) -> Profile:
        """What was measured and on what, as it is written."""
        overhead_ms, realised = profile_file.fitted(points, self.conditions.model, self.peak)
        return Profile(
            model=self.conditions.model,
            weights=self.conditions.weights,
            dtype=str(self.dtype).removeprefix("torch."),
            device=self.name,
            source="experiments/measure.py: from 640x360 camera images to features on the host, warm, wall clock",
            **profile_file.described(self.device),
            peak_tflops=self.peak,
            ceiling_tflops=float(f"{self.ceiling:.4g}"),
            overhead_ms=overhead_ms,
            realised_tflops=realised,
            head=head.whole,
            head_stages=head.stages,
            contention=head.contention,
            not_measured=missing,
            encode=tuple(points),
        )

    def _one(self, row: Row, share_s: float) -> tuple[Measurement, VLAPolicy | None]:
        """Time a row within its share of the time [s]; no policy comes with transformers' own code."""
        began = time.monotonic()
        model = self._loaded(row)
        # Half of the time that is left is for the whole encode, the rest for its stages.
        watch = Stopwatch(self.device, self.conditions.reps, max(0.0, share_s - (time.monotonic() - began)) / 2)
        if row.transformers_path:
            return measure_transformers_path(model, row.model, row.optimization, watch), None
        return encode_stages.measure(model, row.model, row.vision_encoder, row.optimization, watch)

    def _head(self, policy: VLAPolicy) -> Head:
        """Time sensors and head, alone and beside an encode."""
        watch = Stopwatch(self.device, self.conditions.reps, 5.0)
        whole, parts = encode_stages.head_stages(policy, watch)
        request = encode_stages.request_of(policy.optimization.cameras)
        act = encode_stages.act_on(policy, request)
        with encode_stages.busy(policy, request):
            beside = watch.whole(act) if self.device.type == "cpu" else watch.stage(act)
        parts = {**parts, "beside an encode": beside}
        p50, p95, p99 = (f"{value:9.2f}" for value in quantiles(whole))
        print(f"{'sensors and head':<58}{p50}{p95}{p99}{len(whole):4d}", flush=True)
        _print_stages(parts)
        stages = {name: profile_file.duration(samples) for name, samples in parts.items()}
        return Head(profile_file.duration(whole), stages, round(max(1.0, median_ratio(beside, whole)), 3))

    def _loaded(self, row: Row) -> VLA:
        """The row's model; built if another one is loaded, or if this one's layers were changed."""
        if self._model is None or self._key != (row.model, row.vision_encoder) or self._model.encoder.layers != PLAIN:
            self._model = None
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._key = row.model, row.vision_encoder
            self._model = self._built(row)
        return self._model

    def _built(self, row: Row) -> VLA:
        own = (row.model, row.vision_encoder) == (self.conditions.model, self.conditions.vision_encoder)
        if self.conditions.weights == "random" or not own:
            torch.manual_seed(0)
            return VLA.random(row.model, row.vision_encoder, self.device, self.dtype).eval()
        if row.vision_encoder != "qwen":
            raise UsageError(f"vision encoder {row.vision_encoder} is timed with --weights random")
        if self.conditions.weights != "hub":
            folder = policies.find_policy(self.conditions.weights)
        elif is_tiny(row.model):
            folder = policies.find_policy_of(row.model)
        else:
            return VLAPolicy.from_backbone(row.model, device=self.device.type).model
        return VLAPolicy.from_pretrained(folder, device=self.device.type).model


def _line(row: Row, measured: Measurement) -> str:
    p50, p95, p99 = quantiles(measured.samples_ms)
    rate = measured.work.flop / p50 / 1e9
    error = "" if measured.feature_error is None else f"{measured.feature_error:.1e}"
    return f"{row.name:<58}{p50:9.2f}{p95:9.2f}{p99:9.2f}{len(measured.samples_ms):4d}{rate:9.3g}{error:>9}"


def _print_stages(stages: dict[str, Samples]) -> None:
    for name, samples in stages.items():
        p50, p95, p99 = quantiles(samples)
        print(f"    {name:<54}{p50:9.2f}{p95:9.2f}{p99:9.2f}{len(samples):4d}", flush=True)


def _reason(error: Exception) -> str:
    """A failure as one line; an error of another kind than UsageError begins with its name."""
    line = " ".join(str(error).split()) or "no message"
    return line if isinstance(error, UsageError) else f"{type(error).__name__}: {line[:160]}"
