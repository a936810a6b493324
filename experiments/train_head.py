"""Train a policy's head alone. The encoder stays as it is, and its features are computed only once.

python experiments/train_head.py --policy runs/policy --data runs/demos --out runs/policy-flow --head flow
"""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from vlatency.agent.optimization import Head
from vlatency.agent.vla.model.config import SENSES, Sense
from vlatency.experiments.shared.command import check_range, run
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Train a head to imitate the expert. If a training was interrupted, the same command continues it."""

    policy: Path = Path("runs/policy")
    """Policy whose head is trained."""
    data: tuple[Path, ...] = (Path("runs/demos"),)
    """Folders of demonstrations, written by collect.py."""
    out: Path = Path("runs/policy-head")
    """Folder for the features, the checkpoints and the trained policy."""
    head: Head = "regression"
    """regression: train the existing head further. flow: train a new head beside it that samples chunks."""
    without: tuple[Sense, ...] = ()
    """Ablation: train a new regression head without these inputs."""
    anew: bool = False
    """Train a new regression head with all inputs (the reference for an ablation)."""
    steps: int = 12_000
    """Number of steps."""
    batch: int = 256
    """Moments per step."""
    lr: float = 1e-3
    """Highest learning rate."""
    seed: int = 0
    """Seed of a new head's weights and of the batches. Scenes are those of the demonstrations."""


def main(args: Args) -> None:
    """Encode what is not encoded yet, train the head, and write the policy with its score."""
    # Imported here so that --help answers at once.
    import torch

    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.experiments.training.demonstrations import Demonstrations
    from vlatency.experiments.training.encoded_features import encode, folder_of
    from vlatency.experiments.training.head_loop import HeadData, evaluate_heads, train_head
    from vlatency.experiments.training.history import write_history
    from vlatency.experiments.training.loop import Schedule

    check_range("steps", args.steps, 1)
    check_range("batch", args.batch, 2)
    check_range("seed", args.seed, 0)
    if args.head == "flow" and (args.without or args.anew):
        raise UsageError("a flow head is always new and gets the inputs of the regression head: drop --without, --anew")
    checkpoints = args.out / "checkpoints"
    demonstrations = Demonstrations(args.data)
    model = VLAPolicy.from_pretrained(args.policy).model
    encoded = encode(model, demonstrations, folder_of(checkpoints, model, demonstrations))
    torch.manual_seed(args.seed)
    if args.head == "flow":
        model.add_flow()
    elif args.without or args.anew:
        model.renew_head(tuple(sense for sense in SENSES if sense in args.without))
    data = HeadData(model, demonstrations, encoded)
    schedule = Schedule(args.head, args.steps, args.lr, floor=0.005, weight_decay=0.01, seed=(args.seed,))
    train_head(args.head, data, schedule, args.batch, checkpoints / f"{args.head}.safetensors")
    score = evaluate_heads(model, data.validation())
    VLAPolicy(model).save_pretrained(args.out)
    write_history(args.out, args.policy, args, len(demonstrations.training), score)
    print(", ".join(f"{name} {value:.3f}" for name, value in score.items()))
    how = "--head flow --execution rtc" if args.head == "flow" else "--mode pause"
    print(f"{args.out}/    next: python experiments/run.py --policy {quote(str(args.out))} {how}")


if __name__ == "__main__":
    run(main, Args)
