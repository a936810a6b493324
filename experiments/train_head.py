"""Train a policy's head on what its encoder says, which is computed once and stays as it is.

python experiments/train_head.py --policy runs/policy --data runs/demos --out runs/policy-head
python experiments/train_head.py --policy runs/policy --data runs/demos --out runs/policy-flow --head flow
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlatency.agent.optimization import Head
from vlatency.experiments.shared.command import run
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vlatency.agent.vla.model.config import Sense
    from vlatency.agent.vla.model.vla import VLA
    from vlatency.experiments.training.encoded_features import Encoded, Lesson
    from vlatency.experiments.training.losses import Demonstrations


@dataclass(frozen=True)
class Config:
    """Imitation of the expert by the head alone. What was stopped goes on where it stopped."""

    policy: Path = Path("runs/policy")
    """The policy whose head is trained."""
    data: tuple[Path, ...] = (Path("runs/demos"),)
    """Folders of demonstrations, written by collect.py."""
    out: Path = Path("runs/policy-head")
    """Folder for features, checkpoints and, at the end, the policy."""
    head: Head = "regression"
    """regression: the head there is, further; flow: one that samples chunks, anew, beside it."""
    without: tuple[str, ...] = ()
    """Ablation: a new regression head that never gets these: age, motion, wrench."""
    anew: bool = False
    """Forget what the regression head has learnt (what an ablation is held against)."""
    steps: int = 12_000
    """Steps."""
    batch: int = 256
    """Moments a step."""
    lr: float = 1e-3
    """Highest learning rate."""
    seed: int = 0
    """Of initialisation and batches."""


def main(config: Config) -> None:
    """Encode what is not yet encoded, train the head, write the policy."""
    import torch

    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.experiments.train import HISTORY_FILE, history
    from vlatency.experiments.training.encoded_features import encode, examination, folder_of
    from vlatency.experiments.training.losses import Demonstrations

    if config.steps < 1 or config.batch < 2:
        raise UsageError("steps are whole numbers from 1, batch from 2")
    senses = _senses(config)
    demos = Demonstrations(list(config.data))
    model = VLAPolicy.from_pretrained(config.policy).model
    encoded = encode(model, demos, folder_of(config.out / "checkpoints", model, demos))
    torch.manual_seed(config.seed)
    if config.head == "flow":
        model.add_flow()
    elif senses or config.anew:
        model.renew_head(senses)
    train(config, model, demos, encoded, config.out / "checkpoints" / f"{config.head}.safetensors")
    score = evaluate(model, examination(model, demos, encoded))
    told = history(config.policy / HISTORY_FILE, config, len(demos.training), score)
    VLAPolicy(model).save_pretrained(config.out)
    (config.out / HISTORY_FILE).write_text(json.dumps(told, indent=2) + "\n")
    print(", ".join(f"{name} {value:.3f}" for name, value in score.items()))
    how = " --head flow --execution rtc" if config.head == "flow" else " --mode pause"
    print(f"{config.out}/    next: python experiments/run.py --policy {config.out}{how}")


def _senses(config: Config) -> "tuple[Sense, ...]":
    from vlatency.agent.vla.model.config import SENSES

    for name in config.without:
        if name not in SENSES:
            raise UsageError(f"a head cannot go without '{name}'; choose from {', '.join(SENSES)}")
    if config.head == "flow" and (config.without or config.anew):
        raise UsageError("a flow head is always new, and gets what the regression head gets: drop --without and --anew")
    return tuple(sense for sense in SENSES if sense in config.without)


def train(config: Config, model: "VLA", demos: "Demonstrations", encoded: "Encoded", path: Path) -> None:
    """Steps of the one head, for views, pools and ages as in the first training."""
    import numpy as np
    import torch

    from vlatency.experiments.shared.progress import bars
    from vlatency.experiments.train import set_rate
    from vlatency.experiments.training import checkpoint
    from vlatency.experiments.training.encoded_features import draw

    trained = model.head if config.head == "regression" else model.flow
    assert trained is not None
    optimizer = torch.optim.AdamW(trained.parameters(), lr=config.lr, weight_decay=0.01)
    start = checkpoint.load(path, trained, optimizer) if path.exists() else 0
    model.train()
    began = saved = time.monotonic()
    running: list[float] = []
    with bars() as progress:
        progress.add(config.head, config.steps, start)
        for step in range(start, config.steps):
            rng = np.random.default_rng([config.seed, step])
            set_rate(optimizer, config.lr, step / config.steps, step, floor=0.005)
            loss = _loss(config.head, model, draw(model, demos, encoded, rng, config.batch), rng)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
            optimizer.step()
            progress.advance(config.head)
            running.append(loss.item())
            now, done = time.monotonic(), step + 1 - start
            if done == 100:
                left = config.steps - step - 1
                print(f"{left} more steps, about {(now - began) / done * left / 60:.1f} min")
            if done % 1000 == 0:
                print(f"  {config.head} {step + 1}/{config.steps}: loss {np.mean(running):.3f}")
                running = []
            if now - saved > 60:
                checkpoint.save(path, trained, optimizer, step + 1)
                saved = now
    checkpoint.save(path, trained, optimizer, config.steps)
    model.eval()


def _loss(head: Head, model: "VLA", lesson: "Lesson", rng: "np.random.Generator") -> "torch.Tensor":
    import torch

    from vlatency.experiments.training.losses import head_loss

    inputs = lesson.looks, lesson.sensors, lesson.age_s, lesson.pool, lesson.past
    if head == "regression":
        return head_loss(model.head(*inputs), lesson.labels)
    assert model.flow is not None
    with torch.no_grad():
        condition = model.head.condition(*inputs).inputs
    return model.flow.loss(condition, chunk_of(lesson), torch.Generator().manual_seed(int(rng.integers(2**62))))


def chunk_of(lesson: "Lesson") -> "torch.Tensor":
    """(B, chunk, 6) the expert's chunk as a head says it: units of its step, cosine and sine, gripper -1 or 1."""
    import torch

    from vlatency.agent.vla.model.heads import STEP_SCALE

    labels = lesson.labels
    return torch.cat([labels.chunk_xyz / STEP_SCALE, labels.chunk_yaw, 2 * labels.gripper.unsqueeze(-1) - 1], dim=-1)


def evaluate(model: "VLA", lesson: "Lesson") -> dict[str, float]:
    """Every head the policy has: errors of set-points [cm], and the share of right fingers."""
    import torch

    from vlatency.agent.vla.model.flow import CHANNELS, sample
    from vlatency.agent.vla.model.heads import STEP_SCALE

    truth = chunk_of(lesson)
    inputs = lesson.looks, lesson.sensors, lesson.age_s, lesson.pool, lesson.past
    with torch.inference_mode():
        output = model.head(*inputs)
        chunks = {
            "regression": torch.cat(
                [output.chunk_xyz / STEP_SCALE, output.chunk_yaw, output.gripper.unsqueeze(-1)], dim=-1
            )
        }
        if model.flow is not None:
            flow, condition = model.flow, model.head.condition(*inputs).inputs
            noise = torch.randn(len(truth), flow.chunk, CHANNELS, generator=torch.Generator().manual_seed(0))
            chunks["flow"] = sample(lambda x, at: flow(condition, x, torch.full((len(x),), at)), noise)
    score = {}
    for name, chunk in chunks.items():
        off = 100 * STEP_SCALE * (chunk - truth)[..., :3].norm(dim=-1)
        score[f"{name}_set_point_cm_mean"] = float(off[:, 0].mean())
        score[f"{name}_chunk_cm_mean"] = float(off.mean())
        score[f"{name}_gripper_accuracy"] = float(((chunk[:, 0, 5] > 0) == (truth[:, 0, 5] > 0)).float().mean())
    return score


if __name__ == "__main__":
    run(main, Config)
