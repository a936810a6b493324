"""Train LeRobot's ACT on the scripts that MetaWorld ships: a policy of others in environments of others.

Runs in a LeRobot environment (make act builds one), from states alone, in minutes on one core:

    .venv-lerobot/bin/python experiments/lerobot_act.py --tasks drawer-open-v3 window-open-v3
"""

import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from vlatency.experiments.evaluation.setting import FIRST_TRAINING_SEED
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.command import RunError, check_range, run
from vlatency.experiments.shared.files import write_text
from vlatency.sim.errors import UsageError

TRAINING = "training.json"
"""Written last: a folder that has one is finished."""
HELD_OUT_SEED = 10_000
PACKAGES = ("lerobot", "torch", "metaworld", "mujoco", "numpy")


@dataclass(frozen=True)
class Args:
    """Train one ACT a task and count the held-out goals it reaches without latency. Finished tasks are not repeated.

    The four tasks that ship are finished: --out runs/act trains them anew.
    """

    tasks: tuple[str, ...] = (
        "drawer-open-v3",
        "window-open-v3",
        "door-open-v3",
        "button-press-topdown-v3",
    )
    """MetaWorld tasks."""
    out: Path = Path("assets/policies/act-metaworld")
    """Folder for the policies, one folder a task."""
    demonstrations: int = 200
    """Episodes of the script to learn from, three of four of them disturbed."""
    steps: int = 5000
    """Steps of gradient descent."""
    held_out: int = 20
    """Goals that the finished policy is tried on; none of them is among the demonstrations."""
    seed: int = 0
    """Of weights and batches; that of the demonstrations is 1000000."""


def main(args: Args) -> None:
    """Train what is missing, one task at a time."""
    try:
        import lerobot  # noqa: F401
        from metaworld.policies import ENV_POLICY_MAP
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed in {sys.prefix}; make act builds an environment") from None
    for name in ("demonstrations", "steps", "held_out"):
        check_range(name.replace("_", "-"), getattr(args, name), 1)
    if unknown := set(args.tasks) - set(ENV_POLICY_MAP):
        raise UsageError(f"unknown task '{min(unknown)}'; MetaWorld has {', '.join(sorted(ENV_POLICY_MAP))}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for task in args.tasks:
        folder = args.out / task
        if (folder / TRAINING).exists():
            print(f"{task}: finished before, in {folder}", flush=True)
        else:
            train(task, folder, args)


def train(task: str, folder: Path, args: Args) -> None:
    """Train and try the policy of one task."""
    from vlatency.experiments.training.act import successes, train_act
    from vlatency.experiments.training.metaworld_demonstrations import demonstrate

    data = demonstrate(task, args.demonstrations)
    print(f"{task}: {len(data.states)} steps, the script reached {data.successes}/{args.demonstrations}", flush=True)
    if not data.successes:
        raise RunError(f"the script of {task} never succeeded")
    loss = train_act(data, folder, args.steps, args.seed, lambda line: print(f"{task}: {line}", flush=True))
    reached = successes(task, folder, args.held_out, HELD_OUT_SEED)
    print(f"{task}: L1 {loss:.4f}, {reached}/{args.held_out} held-out goals without latency", flush=True)
    record = {
        "task": task,
        "command": provenance.command_line(sys.argv),
        "arguments": {name: value for name, value in asdict(args).items() if name not in ("tasks", "out")},
        "demonstration_seed": FIRST_TRAINING_SEED,
        "demonstrated_steps": len(data.states),
        "script_successes": data.successes,
        "l1_last_tenth": round(loss, 5),
        "held_out_seed": HELD_OUT_SEED,
        "held_out_successes": reached,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": {"cores_used": 1, "platform": platform.platform()},
    }
    write_text(folder / TRAINING, json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    run(main, Args)
