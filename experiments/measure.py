"""Time a model on this machine's CPU or GPU: every stage of an encode, and the head. The result is a latency profile.

    python experiments/measure.py --model qwen2.5-vl-3b --views 3 --res 224
    python experiments/measure.py --model qwen2.5-vl-3b --ladder --out assets/latency/h100-qwen2.5-vl-3b.json

docs/measuring.md says what is timed, and how to run this on a machine without network.
"""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal

from vlatency.experiments.evaluation.options import EncodeOptions
from vlatency.experiments.shared import command
from vlatency.experiments.timing.ladder import ladder, single
from vlatency.experiments.timing.roofline_gap import roofline_gap


@dataclass(frozen=True)
class Args:
    """Measure one configuration of the encode and the head, or with --ladder every one that the project knows.

    Random weights take exactly as long as trained ones, so nothing needs to be downloaded.
    """

    model: str = "tiny"
    """tiny, tiny-s, qwen2-vl-2b, qwen2.5-vl-3b, qwen2.5-vl-7b, qwen3-vl-2b."""
    weights: str = "random"
    """random; hub (for a tiny model: the ones that ship); or the folder of a policy."""
    encode: EncodeOptions = EncodeOptions()
    vision_encoder: str = "qwen"
    """Vision encoder: qwen (the model's own), clip-b16, clip-b32, mobilenetv3-small, efficientnet-b0,
    efficientnet-lite0."""
    transformers_path: bool = False
    """Time transformers' own code instead of ours: --encoding joint or separate."""
    reps: int = 30
    """Repetitions after warm-up. A ladder takes fewer of a row that would use more than its share of the time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to measure; auto: cuda where there is a GPU."""
    threads: int = 0
    """CPU threads; 0 leaves the choice to torch."""
    out: Path | None = None
    """The profile to write; default is runs/latency-MODEL[-ladder]-DEVICE.json."""
    ladder: bool = False
    """All configurations in one call: 8 minutes on a GPU, 5 on a CPU. What cannot run here is listed with what it
    needs."""


def main(args: Args) -> None:
    """Measure, print each row when it is done, write the profile. UsageError if a figure cannot be true."""
    command.check_range("reps", args.reps, 1)
    command.check_range("threads", args.threads, 0)
    asked = args.encode.optimization()
    alone = single(asked, args.model, args.vision_encoder, args.transformers_path)
    rows = ladder(args.model) if args.ladder else [alone]
    from vlatency.experiments.timing.workbench import Conditions, measure  # torch is slow to import

    conditions = Conditions(
        args.model, args.weights, args.vision_encoder, args.device, args.threads, args.reps, args.ladder
    )
    profile, path = measure(conditions, rows, args.out)
    print("\n".join(["", *roofline_gap(profile), str(path)]))
    views, size = len(asked.cameras), f"{asked.width}x{asked.height}"
    print(f"next: python experiments/run.py --latency {quote(str(path))} --views {views} --res {size}")


if __name__ == "__main__":
    command.run(main, Args)
