"""Train the tiny policy by imitation: first the vision tower alone, then the whole model.

python experiments/train.py --data runs/demos --out runs/policy
"""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal

from vlatency.experiments.shared.command import check_range, run


@dataclass(frozen=True)
class Args:
    """Train a policy to imitate the expert. If a training was interrupted, the same command continues it."""

    data: tuple[Path, ...] = (Path("runs/demos"),)
    """Folders of demonstrations, written by collect.py."""
    out: Path = Path("runs/policy")
    """Folder for the checkpoints and the trained policy."""
    start_from: Path | None = None
    """Policy to start from, for example to correct it on demonstrations from its own states."""
    size: Literal["tiny", "tiny-s"] = "tiny"
    """Size of a new model."""
    vision_encoder: Literal[
        "", "qwen", "clip-b16", "clip-b32", "mobilenetv3-small", "efficientnet-b0", "efficientnet-lite0"
    ] = ""
    """Vision encoder of a new model. With --start-from: a new one in place of the policy's own. Empty: qwen, or the
    policy's own."""
    vision_weights: str = ""
    """Weights for a new vision encoder other than qwen: a folder (see convert.py) or a hub id. Empty: random."""
    vision_steps: int = 1200
    """Steps of the vision tower alone."""
    joint_steps: int = 6500
    """Steps of the whole model."""
    batch: int = 16
    """Moments per step, each with two instructions."""
    lr: float = 1.5e-3
    """Highest learning rate."""
    seed: int = 0
    """Seed of the initial weights and of the batches. Scenes are those of the demonstrations."""


def main(args: Args) -> None:
    """Run what is missing of the training, and write the policy with its score."""
    # Imported here so that --help answers at once.
    import torch

    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.experiments.training.demonstrations import Demonstrations
    from vlatency.experiments.training.history import write_history
    from vlatency.experiments.training.initial_model import initial_model
    from vlatency.experiments.training.loop import Schedule, evaluate, train

    for name, least in (("vision_steps", 0), ("joint_steps", 0), ("batch", 2), ("seed", 0)):
        check_range(name, getattr(args, name), least)
    demonstrations = Demonstrations(args.data)
    torch.manual_seed(args.seed)
    model = initial_model(args.size, args.start_from, args.vision_encoder, args.vision_weights)
    moments, parameters = len(demonstrations.training), sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{moments} moments with images, {parameters:.2f} M parameters, {torch.get_num_threads()} threads")
    for number, (stage, steps) in enumerate((("vision", args.vision_steps), ("joint", args.joint_steps))):
        if steps:
            schedule = Schedule(stage, steps, args.lr, floor=0.01, weight_decay=0.02, seed=(args.seed, number))
            train(model, demonstrations, schedule, args.batch, args.out / "checkpoints")
    score = evaluate(model, demonstrations)
    VLAPolicy(model).save_pretrained(args.out)
    write_history(args.out, args.start_from, args, moments, score)
    print(", ".join(f"{name} {value:.3f}" for name, value in score.items()))
    print(f"{args.out}/    next: python experiments/run.py --policy {quote(str(args.out))} --mode pause")


if __name__ == "__main__":
    run(main, Args)
