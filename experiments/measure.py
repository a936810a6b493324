"""Time a model on the device at hand: every stage of an encode, and the head, as a latency profile with provenance."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import cli

if TYPE_CHECKING:
    from agent.realtime.devices import Device
    from agent.vla.model import VLA
    from agent.vla.policy import VLAPolicy
    from experiments.ladder import Row
    from experiments.stages import Measurement

LADDER_S = {"cuda": 450.0, "cpu": 180.0}
"""What a ladder may take [s] once its first model is built."""
ROW_REPS = 30


@dataclass(frozen=True)
class Args:
    """Measure one configuration of the encode and the head, or with --ladder all that the project knows.

    Random weights take exactly as long as trained ones, so nothing needs to be downloaded.
    """

    model: str = "tiny"
    """tiny, tiny-s, qwen2-vl-2b, qwen2.5-vl-3b, qwen2.5-vl-7b, qwen3-vl-2b."""
    weights: str = "random"
    """random; hub (of a tiny model: those that ship); or the folder of a policy."""
    views: int = 3
    """Use the first N of the cameras top, wrist, front, left, right."""
    res: str = "224"
    """What the encoder gets of each 640x360 view: 224 for 224x224, or WIDTHxHEIGHT."""
    encoding: str = "batched"
    """All views in one sequence (joint), one sequence a view (batched), one call a view (separate), or those on CUDA
    streams (streams)."""
    attention: str = "sdpa"
    """Kernel: eager, sdpa, varlen, flash_attention_2, flash_attention_4."""
    quant: str = "none"
    """Linear layers: none, bnb-int8, bnb-nf4, int8-dynamic, fp8."""
    compile: str = "none"
    """Launches: none, compile, cuda-graph."""
    shortcuts: str = ""
    """Work saved, joined by commas: prefix, fused, device-views."""
    preset: str = ""
    """Whatever is left at its default, as this says: fast."""
    vision_encoder: str = "qwen"
    """In the vision tower's place: clip-b16, clip-b32, mobilenetv3-small, efficientnet-b0, efficientnet-lite0."""
    stock: bool = False
    """Time transformers' own path instead of ours: joint or separate."""
    reps: int = ROW_REPS
    """Repetitions after warm-up. A ladder takes fewer of a row that would take more than its share of the time."""
    device: str = ""
    """cuda or cpu; empty: cuda where there is one."""
    threads: int = 0
    """CPU threads; 0 leaves it to torch."""
    out: str = ""
    """The profile; default is runs/latency-MODEL-DEVICE.json, with -ladder behind MODEL."""
    ladder: bool = False
    """All rows in one call: 8 minutes on a GPU, 5 on a CPU. What cannot run here is listed with what it needs."""
    claims: bool = False
    """Measure nothing: write docs/claims.md from assets/latency, each claim of the note beside what is known."""


def main(args: Args) -> None:
    """Measure, print each row as it is done, write the profile. UsageError if a figure cannot be true."""
    if args.claims:
        from experiments import claims

        return print(claims.write())
    rows = _rows(args)
    bench = Bench(args, time.monotonic())
    print(bench.header(), flush=True)
    points, missing, head = bench.measure(rows)
    profile = bench.profile(points, missing, head)
    from experiments import record

    path = Path(args.out or f"runs/latency-{args.model}{'-ladder' * args.ladder}-{bench.device.type}.json")
    record.write(path, profile)
    print("\n".join(_roofline_lines(profile)))
    print(f"{path}\nnext: python experiments/run.py --latency {path} --views {args.views} --res {args.res}")


def _rows(args: Args) -> "list[Row]":
    """What to measure. UsageError if an option is wrong."""
    from dataclasses import replace

    from agent.config import Optimization, parse_res, with_preset
    from agent.realtime.architectures import find_architecture
    from agent.vla.config import QWEN
    from agent.vla.zoo import find_model
    from experiments import ladder, setting
    from sim.errors import UsageError

    setting.check_range("reps", args.reps, 1)
    setting.check_range("threads", args.threads, 0)
    find_model(args.model)
    find_architecture(args.model, args.vision_encoder)
    if args.device:
        setting.check_device(args.device)
    if args.ladder:
        return ladder.ladder(args.model)
    shortcuts = tuple(filter(None, args.shortcuts.split(",")))
    optimization = Optimization(
        setting.parse_cameras("", args.views),
        *parse_res(args.res),
        args.encoding,  # type: ignore[arg-type]  # it checks
        attention=args.attention,  # type: ignore[arg-type]
        quant=args.quant,  # type: ignore[arg-type]
        compile=args.compile,  # type: ignore[arg-type]
        shortcuts=shortcuts,  # type: ignore[arg-type]
    )
    if args.preset:
        optimization = with_preset(optimization, args.preset)
    row = ladder.Row("", optimization, args.model, args.vision_encoder, args.stock)
    plain = (args.quant, args.compile, shortcuts, args.preset, args.vision_encoder)
    if args.stock and (plain != ("none", "none", (), "", QWEN) or args.encoding not in ("joint", "separate")):
        raise UsageError("--stock is transformers' own path: --encoding joint or separate, --attention, nothing else")
    return [replace(row, name=ladder.name_of(row, args.model))]


class Bench:
    """A device, the model on it at present, and the time that is left."""

    def __init__(self, args: Args, began: float) -> None:
        import torch

        from experiments import record, stopwatch
        from sim.errors import UsageError

        if args.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("torch finds no GPU here; leave --device out to measure on the CPU")
        if args.threads:
            torch.set_num_threads(args.threads)
        self.args, self.began = args, began
        self.device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = torch.float32 if self._is_tiny(args.model) else torch.bfloat16
        self.ceiling = stopwatch.ceiling_tflops(self.device, self.dtype)
        self.peak = record.peak_tflops(self.device, self.ceiling)
        self.name = record.device_name(self.device)
        self._key: tuple[str, str] = ("", "")
        self._model: VLA | None = None
        self._deadline = float("inf")

    def header(self) -> str:
        """The lines above the table."""
        from experiments import provenance

        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"{self.args.model}, {self.args.weights} weights, {dtype} · {self.name} · {provenance.cores()} cores · "
            f"matrix products {self.ceiling:.3g} TFLOP/s, peak {self.peak:.4g}\n"
            f"{'':<58}{'p50':>9}{'p95':>9}{'p99':>9}{'n':>4}{'TFLOP/s':>9}{'error':>9}  [ms]"
        )

    def measure(self, rows: "list[Row]") -> "tuple[list[dict[str, Any]], dict[str, str], dict[str, Any]]":
        """Points, rows that have none with the reason, and what is known of the head."""
        from agent.config import check_device
        from experiments import record
        from sim.errors import UsageError

        points: list[dict[str, Any]] = []
        missing: dict[str, str] = {}
        head: dict[str, Any] = {}
        self._at_hand(rows[0])
        if self.args.ladder:
            self._deadline = time.monotonic() + LADDER_S[self.device.type]
        for number, row in enumerate(rows):
            left_s = self._deadline - time.monotonic()
            try:
                check_device(row.optimization, self.device.type)
                if left_s < 0:
                    raise UsageError("the time for a ladder is over: measure it alone")
                measured, policy = self._one(row, share_s=left_s / (len(rows) - number))
                point = record.point_of(row, measured, self.peak)
            except Exception as error:  # whatever breaks a row of a ladder must not cost the other rows
                if not self.args.ladder:
                    raise
                self._model = None
                missing[row.name] = _reason(error)
                print(f"{row.name:<58} not measured: {missing[row.name]}", flush=True)
                continue
            points.append(point)
            print(_line(row, measured), flush=True)
            if not self.args.ladder:
                _print_stages({name: list(samples) for name, samples in measured.stages.items()})
            if not head and policy is not None:
                head = self._head(policy)
        if not points:
            raise cli.RunError("nothing could be measured")
        return points, missing, head or self._head_of(rows[0])

    def profile(self, points: list[dict[str, Any]], missing: dict[str, str], head: dict[str, Any]) -> dict[str, Any]:
        """All of it, as it is written."""
        from experiments import record

        overhead_ms, realised = record.fitted(points, self.args.model, self.peak)
        return {
            "model": self.args.model,
            "weights": self.args.weights,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.name,
            "source": "experiments/measure.py: from 640x360 camera images to features on the host, warm, wall clock",
            **record.described(self.device),
            "peak_tflops": self.peak,
            "ceiling_tflops": float(f"{self.ceiling:.4g}"),
            "overhead_ms": overhead_ms,
            "realised_tflops": realised,
            **head,
            "not_measured": missing,
            "encode": points,
        }

    def _one(self, row: "Row", share_s: float) -> "tuple[Measurement, VLAPolicy | None]":
        from experiments import stages
        from experiments.stopwatch import Stopwatch

        began = time.monotonic()
        model = self._at_hand(row)
        # Half of what is left of the share is for the whole, the rest for its parts.
        watch = Stopwatch(self.device, self.args.reps, max(0.0, share_s - (time.monotonic() - began)) / 2)
        if row.stock:
            from experiments.stock import measure_stock

            return measure_stock(model, row.model, row.optimization, watch), None
        return stages.measure(model, row.model, row.vision_encoder, row.optimization, watch)

    def _head(self, policy: "VLAPolicy") -> dict[str, Any]:
        """Of the profile: head, its parts, and how much longer it takes while an encode goes on."""
        from experiments import record, stages
        from experiments.stopwatch import Stopwatch, median_ratio

        watch = Stopwatch(self.device, self.args.reps, 5.0)
        whole, parts = stages.head_stages(policy, watch)
        request = stages.request_of(policy.optimization.cameras)
        act = stages.act_on(policy, request)
        with stages.busy(policy, request):
            beside = watch.whole(act) if self.device.type == "cpu" else watch.stage(act)
        parts = {**parts, "beside an encode": beside}
        p50, p95, p99 = (f"{value:9.2f}" for value in _quantiles(whole))
        print(f"{'sensors and head':<58}{p50}{p95}{p99}{len(whole):4d}", flush=True)
        _print_stages({name: list(samples) for name, samples in parts.items()})
        return {
            "head": {"samples_ms": record.rounded(whole)},
            "head_stages": {name: {"samples_ms": record.rounded(samples)} for name, samples in parts.items()},
            "contention": round(max(1.0, median_ratio(beside, whole)), 3),
        }

    def _head_of(self, row: "Row") -> dict[str, Any]:
        from agent.vla.policy import VLAPolicy

        return self._head(VLAPolicy(self._at_hand(row), row.optimization))

    def _at_hand(self, row: "Row") -> "VLA":
        """The row's model, built anew if another one is here or its layers were changed."""
        import gc

        import torch

        from agent.vla.tune import PLAIN

        if self._model is None or self._key != (row.model, row.vision_encoder) or self._model.encoder.layers != PLAIN:
            self._model = None
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._key = row.model, row.vision_encoder
            self._model = self._built(row)
        return self._model

    def _built(self, row: "Row") -> "VLA":
        import torch

        from agent.vla.model import VLA
        from agent.vla.policy import VLAPolicy
        from experiments import setting
        from sim.errors import UsageError

        own = (row.model, row.vision_encoder) == (self.args.model, self.args.vision_encoder)
        if self.args.weights == "random" or not own:
            torch.manual_seed(0)
            return VLA.random(row.model, row.vision_encoder, self.device, self.dtype).eval()
        if row.vision_encoder != "qwen":
            raise UsageError("a light vision encoder is timed with --weights random, or as part of a policy's folder")
        if self.args.weights != "hub":
            folder = setting.find_policy(self.args.weights)
        elif self._is_tiny(row.model):
            folder = setting.find_policy_of(row.model)
        else:
            return VLAPolicy.from_backbone(row.model, device=self.device.type).model
        return VLAPolicy.from_pretrained(folder, device=self.device.type).model

    @staticmethod
    def _is_tiny(model: str) -> bool:
        from agent.vla.zoo import Tiny, find_model

        return isinstance(find_model(model), Tiny)


def _line(row: "Row", measured: "Measurement") -> str:
    p50, p95, p99 = _quantiles(measured.samples_ms)
    rate = measured.work.flop / p50 / 1e9
    error = "" if measured.feature_error is None else f"{measured.feature_error:.1e}"
    return f"{row.name:<58}{p50:9.2f}{p95:9.2f}{p99:9.2f}{len(measured.samples_ms):4d}{rate:9.3g}{error:>9}"


def _print_stages(stages: dict[str, list[float]]) -> None:
    for name, samples in stages.items():
        p50, p95, p99 = _quantiles(samples)
        print(f"    {name:<54}{p50:9.2f}{p95:9.2f}{p99:9.2f}{len(samples):4d}", flush=True)


def _quantiles(samples: "list[float] | tuple[float, ...]") -> tuple[float, float, float]:
    from experiments.stopwatch import quantiles

    return quantiles(samples)


def _reason(error: Exception) -> str:
    """One line. What a person can mend is a UsageError already; the rest is named by its kind."""
    from sim.errors import UsageError

    line = " ".join(str(error).split()) or "no message"
    return line if isinstance(error, UsageError) else f"{type(error).__name__}: {line[:160]}"


def _roofline_lines(profile: dict[str, Any]) -> list[str]:
    """How far below measurement the roofline is, of the profile just made and of those that ship."""
    import json

    from agent.realtime.devices import recognised
    from agent.realtime.profile import available_profiles

    lines = ["", "roofline over measurement (1 would be a device at its peak throughout):"]
    shipped = {name: json.loads(path.read_text()) for name, path in available_profiles().items()}
    for name, each in {**shipped, "this run": profile}.items():
        device = recognised(each["device"])
        if device is None:
            lines.append(f"  {name}: {each['device']} has no roofline here")
        else:
            lines += [f"  {name}, {device.name}, modelled:", *_roofline_errors(each, device)]
    return lines


def _roofline_errors(profile: dict[str, Any], device: "Device") -> list[str]:
    import numpy as np

    from agent.realtime.devices import FASTER

    lines = []
    for point in profile["encode"]:
        if "tflop" not in point or "gigabytes" not in point:
            continue
        rate = device.tflops * FASTER.get(point["quant"], 1)
        modelled = 1e3 * max(point["tflop"] / rate, point["gigabytes"] / device.gb_s)
        took = float(np.median(point["samples_ms"]))
        lines.append(f"    {point['row']:<56}{modelled:9.2f}{took:9.2f} ms{modelled / took:8.2f}")
    return lines


if __name__ == "__main__":
    cli.run(main, Args)
