"""Time a model on the device at hand: every stage of an encode, and the head, as a latency profile with provenance."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlatency.experiments.shared import command

if TYPE_CHECKING:
    from vlatency.agent.realtime.cost.devices import Device
    from vlatency.experiments.timing.ladder import Row

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
        from vlatency.experiments.timing import claims

        return print(claims.write())
    rows = _rows(args)
    from vlatency.experiments.timing import profile_file
    from vlatency.experiments.timing.workbench import Workbench

    bench = Workbench(args)
    print(bench.header(), flush=True)
    points, missing, head = bench.measure(rows)
    profile = bench.profile(points, missing, head)

    path = Path(args.out or f"runs/latency-{args.model}{'-ladder' * args.ladder}-{bench.device.type}.json")
    profile_file.write(path, profile)
    print("\n".join(_roofline_lines(profile)))
    print(f"{path}\nnext: python experiments/run.py --latency {path} --views {args.views} --res {args.res}")


def _rows(args: Args) -> "list[Row]":
    """What to measure. UsageError if an option is wrong."""
    from dataclasses import replace

    from vlatency.agent.optimization import Optimization, parse_res, with_preset
    from vlatency.agent.realtime.cost.architectures import find_architecture
    from vlatency.agent.vla.model.config import QWEN
    from vlatency.agent.vla.model.zoo import find_model
    from vlatency.experiments.evaluation import setting
    from vlatency.experiments.timing import ladder
    from vlatency.sim.errors import UsageError

    command.check_range("reps", args.reps, 1)
    command.check_range("threads", args.threads, 0)
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


def _roofline_lines(profile: dict[str, Any]) -> list[str]:
    """How far below measurement the roofline is, of the profile just made and of those that ship."""
    import json

    from vlatency.agent.realtime.cost.devices import recognised
    from vlatency.agent.realtime.cost.profile import available_profiles

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

    from vlatency.agent.realtime.cost.devices import FASTER

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
    command.run(main, Args)
