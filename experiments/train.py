"""Train the tiny policy by imitation: first the vision tower alone, then everything.

python experiments/train.py --data runs/demos --out runs/policy
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlatency.experiments.shared.command import run
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vlatency.agent.optimization import Encoding, Pool
    from vlatency.agent.vla.model.vla import VLA
    from vlatency.experiments.training.losses import Demonstrations

STAGES = ("vision", "joint")
SIZES, SIZES_P = ((224, 224), (112, 112), (448, 252), (640, 360)), (0.7, 0.1, 0.06, 0.14)
"""(width, height) [px] at which images are shown, and how often."""
HISTORY_FILE = "training.json"
"""How a policy came to be, one entry a training; kept beside its weights."""


@dataclass(frozen=True)
class Config:
    """Imitation of the expert. A training that was stopped goes on where it stopped."""

    data: tuple[Path, ...] = (Path("runs/demos"),)
    """Folders of demonstrations, written by collect.py."""
    out: Path = Path("runs/policy")
    """Folder for checkpoints and, at the end, the policy."""
    start_from: Path | None = None
    """A policy whose encoder and head to start from (to correct it on its own states, say)."""
    size: str = "tiny"
    """Of a model from nothing: tiny, tiny-s."""
    vision_encoder: str = ""
    """qwen, clip-b16, clip-b32, mobilenetv3-small, efficientnet-b0, efficientnet-lite0; with --start-from, untrained in
    the place of its own. Empty: its own, or qwen."""
    vision_weights: str = ""
    """Folder (see convert.py) or hub id of weights for a new vision encoder other than qwen; empty: from nothing."""
    vision_steps: int = 1200
    """Steps of the vision tower alone."""
    joint_steps: int = 6500
    """Steps of the whole model."""
    batch: int = 16
    """Moments a step, two instructions each."""
    lr: float = 1.5e-3
    """Highest learning rate."""
    seed: int = 0
    """Of initialisation and batches."""


@dataclass(frozen=True)
class Draw:
    """How one step looks at the demonstrations: every configuration a flag can ask for is met in training."""

    cameras: tuple[str, ...]
    size: tuple[int, int]
    encoding: "Encoding"
    pool: "Pool"

    @classmethod
    def random(cls, rng: "np.random.Generator") -> "Draw":
        """Three views at 224x224 most of the time, any one to five, at any of four sizes, otherwise."""
        from vlatency.sim.names import CAMERA_ORDER

        cameras = CAMERA_ORDER[:3]
        if rng.random() < 0.35:
            chosen = rng.permutation(len(CAMERA_ORDER))[: rng.integers(1, 6)]
            cameras = tuple(CAMERA_ORDER[i] for i in sorted(chosen))
        pools: tuple[Pool, ...] = ("attention", "mean", "max")
        return cls(
            cameras=cameras,
            size=SIZES[rng.choice(len(SIZES), p=SIZES_P)],
            encoding="joint" if rng.random() < 0.15 else "batched",
            pool=pools[rng.choice(3, p=[0.6, 0.2, 0.2])],
        )


def main(config: Config) -> None:
    """Run the stages that are not finished."""
    import torch

    from vlatency.agent.optimization import Optimization
    from vlatency.agent.vla.model.config import QWEN
    from vlatency.agent.vla.model.vla import VLA
    from vlatency.agent.vla.model.zoo import tiny_policy_config
    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.experiments.training.losses import Demonstrations

    shape = tiny_policy_config(config.size, config.vision_encoder or QWEN, config.vision_weights)
    if min(config.vision_steps, config.joint_steps) < 0 or config.batch < 2:
        raise UsageError("steps are whole numbers from 0, batch from 2")
    demonstrations = Demonstrations(list(config.data))
    torch.manual_seed(config.seed)
    if config.start_from is None:
        model = VLA.tiny(shape)
    else:
        model = VLAPolicy.from_pretrained(config.start_from, Optimization()).model
        if config.vision_encoder not in ("", model.config.vision_encoder):
            model = with_vision_encoder(model, config.vision_encoder, config.vision_weights)
    config.out.mkdir(parents=True, exist_ok=True)
    moments = len(demonstrations.training)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{moments} moments with images, {parameters:.2f} M parameters, {torch.get_num_threads()} threads")
    for stage, steps in zip(STAGES, (config.vision_steps, config.joint_steps), strict=True):
        if steps:
            _run_stage(config, model, demonstrations, stage, steps)
    VLAPolicy(model, Optimization()).save_pretrained(config.out)
    score = evaluate(model, demonstrations)
    before = config.start_from / HISTORY_FILE if config.start_from else None
    (config.out / HISTORY_FILE).write_text(json.dumps(history(before, config, moments, score), indent=2) + "\n")
    print(", ".join(f"{name} {value:.3f}" for name, value in score.items()))
    print(f"{config.out}/    next: python experiments/run.py --policy {config.out} --mode pause")


def with_vision_encoder(model: "VLA", name: str, weights: str) -> "VLA":
    """The model with an untrained vision encoder of that name; all behind it keeps what it has learnt.

    Raises:
        UsageError: there is no such encoder, or its weights cannot be loaded.
    """
    from vlatency.agent.vla.model import zoo
    from vlatency.agent.vla.model.config import QWEN
    from vlatency.agent.vla.model.vla import VLA

    if name == QWEN:
        raise UsageError(f"--start-from a {model.config.vision_encoder} policy does not lead back to {QWEN}")
    other = VLA.tiny(zoo.with_vision_encoder(model.config, name, weights))
    tower = "encoder.backbone.visual."
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(tower)}
    other.load_state_dict(kept, strict=False)  # also without the stem, which only a Qwen encoder has
    return other


def early_layers(model: "VLA") -> list["torch.nn.Parameter"]:
    """Of a convolutional vision encoder with published weights, what lies before its last two stages.

    Edges and textures are the same everywhere, and their gradients would take three quarters of a step on a CPU.
    """
    from vlatency.agent.vla.model.mobilenets import MobileNet
    from vlatency.agent.vla.model.towers import LightTower

    tower = model.encoder.backbone.visual
    if not (isinstance(tower, LightTower) and isinstance(tower.network, MobileNet) and tower.fixed_statistics):
        return []
    network = tower.network
    return [
        parameter for part in (network.conv_stem, network.bn1, network.blocks[:-2]) for parameter in part.parameters()
    ]


def history(before: Path | None, config: Any, moments: int, score: dict[str, float]) -> list[dict[str, Any]]:
    """The history of the policy that a training started from, in the file `before` if any, and that training."""
    from vlatency.experiments.shared import provenance

    entry = {
        "command": provenance.command_line(sys.argv),
        "config": asdict(config),
        "moments": moments,
        "score": score,
        "versions": provenance.versions(),
    }
    told = json.loads(before.read_text()) if before and before.exists() else []
    return [*told, json.loads(json.dumps(entry, default=str))]


def set_rate(optimizer: "torch.optim.Optimizer", highest: float, done: float, step: int, floor: float) -> None:
    """Learning rate: up to `highest` in 200 steps, down along a cosine to `floor` times that at `done` = 1."""
    import numpy as np

    warm = min(1.0, (step + 1) / 200)
    for group in optimizer.param_groups:
        group["lr"] = highest * warm * (floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * done)))


def _run_stage(config: Config, model: "VLA", demos: "Demonstrations", stage: str, steps: int) -> None:
    import numpy as np
    import torch

    from vlatency.experiments.shared.progress import bars
    from vlatency.experiments.training import checkpoint

    parts = {"vision": model.encoder, "joint": model}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    as_published = {id(parameter) for parameter in early_layers(model)}
    trained = [parameter for parameter in parts[stage].parameters() if id(parameter) not in as_published]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=0.02)
    path = config.out / "checkpoints" / f"{stage}.safetensors"
    path.parent.mkdir(exist_ok=True)
    start = checkpoint.load(path, model, optimizer) if path.exists() else 0
    if start >= steps:
        return
    model.train()
    saved = shown = time.monotonic()
    running: list[float] = []
    with bars() as progress:
        progress.add(stage, steps, start)
        for step in range(start, steps):
            rng = np.random.default_rng([config.seed, STAGES.index(stage), step])
            set_rate(optimizer, config.lr, step / steps, step, floor=0.01)
            with torch.autocast("cpu", torch.bfloat16):
                loss = _lesson(model, demos, rng, config.batch, stage)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            running.append(loss.item())
            progress.advance(stage)
            now = time.monotonic()
            if now - shown > 60:
                print(f"  {stage} {step + 1}/{steps}: loss {np.mean(running):.3f}")
                running, shown = [], now
            if now - saved > 180:
                checkpoint.save(path, model, optimizer, step + 1)
                saved = now
    checkpoint.save(path, model, optimizer, steps)
    print(f"{stage}: " + ", ".join(f"{name} {value:.3f}" for name, value in evaluate(model, demos).items()))


def _lesson(
    model: "VLA", demos: "Demonstrations", rng: "np.random.Generator", batch: int, stage: str
) -> "torch.Tensor":
    import numpy as np
    import torch

    from vlatency.agent.vla.model.heads import Past, ViewBatch
    from vlatency.agent.vla.model.views import token_grid
    from vlatency.experiments.training.losses import MAX_AGE_TICKS, dense_loss, head_loss, view_loss

    draw = Draw.random(rng)
    encoder, views = model.encoder, model.config.view_ids(draw.cameras)
    grid = token_grid(*draw.size, model.config)
    # Larger images, fewer of them: each step costs about the same. Moments come in pairs, an earlier and a later one.
    pairs = max(2, min(batch, round(batch * 64 / (grid[0] * grid[1]))) // 2)
    late = rng.choice(demos.drawn(draw.size), pairs)
    early = demos.earlier(late, rng.choice([1, 2, 3, 4, 5, 6], pairs, p=[0.15, 0.4, 0.15, 0.1, 0.1, 0.1]))
    related = early >= 0
    early = np.where(related, early, rng.permutation(late))
    seen = np.concatenate([early, late])
    pixels = demos.pixels(seen, views, draw.size).flatten(0, 1)
    loss = torch.zeros(())
    if encoder.stem is not None and encoder.dense_stem is not None:
        maps = encoder.stem(pixels)
        cells = (maps.shape[2], maps.shape[3])
        loss = loss + dense_loss(
            encoder.dense_stem(maps.permute(0, 2, 3, 1).flatten(1, 2)), demos.dense(seen, views, cells)
        )
        tokens, grid = encoder.vision_of(maps)
    else:
        tokens, grid = encoder.vision(pixels)
    loss = loss + dense_loss(encoder.dense(tokens), demos.dense(seen, views, grid))
    if stage == "vision":
        return loss
    # Two instructions share the vision of a moment: what the demonstration was told, and another object. Where the two
    # moments of a pair belong together, both are read under the same instruction.
    told = demos.moments.target[late]
    other = demos.other(late, rng)
    alone = rng.integers(0, demos.moments.count[early])
    told_early, other_early = np.where(related, told, demos.moments.target[early]), np.where(related, other, alone)
    things = np.concatenate([told_early, told, other_early, other])
    both = np.concatenate([seen, seen])
    shared = tokens.unflatten(0, (2 * pairs, len(views)))
    hidden = encoder.language(
        torch.cat([shared, shared]), demos.instructions(both, things), draw.cameras, draw.encoding, grid
    )
    readout = encoder.readout(hidden, grid)
    gap = np.tile(np.concatenate([np.zeros_like(early), np.where(related, late - early, 0)]), 2)
    # What was seen earlier stands one block before what was seen later.
    before = np.where(gap > 0, np.arange(4 * pairs) - pairs, np.arange(4 * pairs))
    gap_s = torch.from_numpy(gap * 0.1).float()
    hands = demos.hands(both).unsqueeze(1).expand(-1, len(views), -1)
    lag = torch.zeros(4 * pairs, len(views))
    looks = ViewBatch(readout.features, torch.tensor(views), hands, lag)
    past = Past(ViewBatch(readout.features[before], looks.view_ids, hands[before], lag), gap_s)
    ticks = rng.integers(1, MAX_AGE_TICKS + 1, 4 * pairs) * (rng.random(4 * pairs) < 0.4)
    now = demos.later(both, ticks)
    # Some views of the later looks are left over from the earlier ones, as when cameras take turns.
    stale = torch.from_numpy((gap > 0) & (rng.random(4 * pairs) < 0.15))[:, None] & torch.from_numpy(
        rng.random(len(views)) < 0.5
    )
    looks = ViewBatch(
        torch.where(stale[..., None], past.views.features, looks.features),
        looks.view_ids,
        torch.where(stale[..., None], past.views.ee_at_capture, hands),
        torch.where(stale, gap_s[:, None], 0.0),
    )
    output = model.head(looks, demos.sensors(now), demos.seconds(both, now), draw.pool, past)
    loss = 0.5 * loss + view_loss(readout, *demos.cells(both, things, views, grid))
    return loss + head_loss(output, demos.labels(now, things, model.config.chunk, seen=both))


def evaluate(model: "VLA", demos: "Demonstrations", limit: int = 320) -> dict[str, float]:
    """Accuracy on episodes kept aside, three default views: errors of the target and of the next set-point [cm]."""
    import numpy as np
    import torch

    from vlatency.agent.vla.model.heads import Past, ViewBatch
    from vlatency.sim.names import CAMERA_ORDER

    cameras = CAMERA_ORDER[:3]
    seen = demos.validation[:: max(1, len(demos.validation) // limit)]
    told = demos.other(seen, np.random.default_rng(0))
    before = demos.earlier(seen, np.full(len(seen), 2))
    errors, steps, fingers, moving = [], [], [], []
    model.eval()

    def look(moments: "np.ndarray", things: "np.ndarray") -> ViewBatch:
        pixels = demos.pixels(moments, [0, 1, 2], (224, 224))
        readout = model.encoder(pixels, demos.instructions(moments, things), cameras, "batched")
        hands = demos.hands(moments).unsqueeze(1).expand(-1, 3, -1)
        return ViewBatch(readout.features, torch.arange(3), hands, torch.zeros(len(moments), 3))

    with torch.inference_mode():
        for block in np.array_split(np.arange(len(seen)), max(1, len(seen) // 16)):
            moments, things = seen[block], told[block]
            known = before[block] >= 0
            earlier = np.where(known, before[block], moments)
            output = model.head(
                look(moments, things),
                demos.sensors(moments),
                torch.zeros(len(moments)),
                "attention",
                Past(look(earlier, things), demos.seconds(earlier, moments)),
            )
            labels = demos.labels(moments, things, model.config.chunk, seen=moments)
            errors.append((output.target_in_hand - labels.target_in_hand).norm(dim=-1))
            steps.append((output.chunk_xyz - labels.chunk_xyz)[:, 0].norm(dim=-1))
            fingers.append(((output.gripper > 0).float() == labels.gripper)[:, 0].float())
            moving.append(torch.from_numpy(np.linalg.norm(demos.moments.velocity[moments, things], axis=-1) > 0))
    model.train()
    error, set_point, moves = torch.cat(errors), torch.cat(steps), torch.cat(moving)
    score = {
        "target_cm_median": 100 * float(error.median()),
        "target_cm_p90": 100 * float(error.quantile(0.9)),
        "set_point_cm_mean": 100 * float(set_point.mean()),
        "gripper_accuracy": float(torch.cat(fingers).mean()),
    }
    if moves.any():
        score["set_point_cm_mean_where_moving"] = 100 * float(set_point[moves].mean())
    return score


if __name__ == "__main__":
    run(main, Config)
