"""Train a flow head on top of a trained policy, all else frozen; what the encoder says is computed once.

python experiments/train_flow.py --policy runs/policy --data runs/demos --out runs/policy-flow
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli import run
from sim.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from agent.config import Pool
    from agent.vla.policy import VLA
    from experiments.lessons import Demonstrations

RES = (224, 224)
BLOCK = 128
"""Moments whose features are written to disk together."""
BACK, BACK_P = (0, 1, 2, 3, 4, 5, 6), (0.2, 0.1, 0.35, 0.15, 0.08, 0.06, 0.06)
"""How many pictures ago the earlier look was, 0 for none, and how often."""
SLOTS = 2
"""Instructions under which each moment is read: what the demonstration was told, and another object."""


@dataclass(frozen=True)
class Config:
    """Imitation of the expert by the head that samples. What was stopped goes on where it stopped."""

    policy: Path = Path("runs/policy")
    """The policy that gets the head; a flow head that it may have is replaced."""
    data: tuple[Path, ...] = (Path("runs/demos"),)
    """Folders of demonstrations, written by collect.py."""
    out: Path = Path("runs/policy-flow")
    """Folder for features, checkpoints and, at the end, the policy with both heads."""
    steps: int = 12_000
    """Steps of the flow head."""
    batch: int = 256
    """Moments a step."""
    lr: float = 1e-3
    """Highest learning rate."""
    seed: int = 0
    """Of initialisation and batches."""


@dataclass(frozen=True, eq=False)
class Cache:
    """What the encoder says about every pictured moment."""

    moments: "np.ndarray"
    """(N,) in order."""
    things: "np.ndarray"
    """(N, SLOTS) the object that the instruction named."""
    features: "np.ndarray"
    """(N, SLOTS, V, F) float32 of all views, see `ViewReadout.features`."""


def main(config: Config) -> None:
    """Encode what is not yet encoded, train the head, write the policy."""
    import torch

    from agent.vla.policy import VLAPolicy
    from experiments.lessons import Demonstrations
    from experiments.train import HISTORY_FILE, history

    if config.steps < 1 or config.batch < 2:
        raise UsageError("steps are whole numbers from 1, batch from 2")
    demos = Demonstrations(list(config.data))
    model = VLAPolicy.from_pretrained(config.policy).model
    before = config.policy / HISTORY_FILE
    folder = config.out / "checkpoints" / f"flow-{_key(config, model, demos)}"
    folder.mkdir(parents=True, exist_ok=True)
    cache = encode(model, demos, folder)
    torch.manual_seed(config.seed)
    model.add_flow()
    train(config, model, demos, cache, folder / "flow.safetensors")
    score = evaluate(model, demos, cache)
    told = history(before, config, len(demos.training), score)
    VLAPolicy(model).save_pretrained(config.out)
    (config.out / HISTORY_FILE).write_text(json.dumps(told, indent=2) + "\n")
    print(", ".join(f"{name} {value:.3f}" for name, value in score.items()))
    print(f"{config.out}/    next: python experiments/run.py --policy {config.out} --head flow --execution rtc")


def _key(config: Config, model: "VLA", demos: "Demonstrations") -> str:
    """What features and head depend on: both are made anew when it changes."""
    import hashlib

    digest = hashlib.sha256(str([str(path.resolve()) for path in config.data]).encode())
    digest.update(str(len(demos.moments.episode)).encode())
    for name, tensor in model.state_dict().items():
        if not name.startswith("flow."):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:12]


def encode(model: "VLA", demos: "Demonstrations", folder: Path) -> Cache:
    """Features of all pictured moments, block by block; those that `folder` holds are not computed again."""
    import numpy as np
    import torch

    from agent.vla.views import token_grid
    from experiments.screen import bars

    m, cameras = demos.moments, model.config.cameras
    moments = np.sort(np.concatenate([demos.training, demos.validation]))
    step = 1 + m.episode[moments] % np.maximum(1, m.count[moments] - 1)
    # The same other object all through an episode, so that two looks at it can show motion.
    things = np.stack([m.target[moments], (m.target[moments] + step) % m.count[moments]], axis=1)
    starts = range(0, len(moments), BLOCK)
    paths = [folder / f"{number:05d}.npy" for number in range(len(starts))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    grid = token_grid(*RES, model.config)
    model.eval()
    with bars() as progress, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        progress.add("encode", len(paths), len(paths) - len(missing))
        for number in missing:
            started = time.monotonic()
            rows = slice(number * BLOCK, (number + 1) * BLOCK)
            parts = []
            for seen, named in _batches(moments[rows], things[rows]):
                tokens, _ = model.encoder.vision(demos.pixels(seen, list(range(len(cameras))), RES).flatten(0, 1))
                shared = tokens.unflatten(0, (len(seen), len(cameras))).repeat(SLOTS, 1, 1, 1)
                texts = demos.instructions(np.tile(seen, SLOTS), named.T.ravel())
                hidden = model.encoder.language(shared, texts, cameras, "batched", grid)
                read = model.encoder.readout(hidden, grid).features
                parts.append(read.unflatten(0, (SLOTS, len(seen))).transpose(0, 1).float().numpy())
            partial = paths[number].with_suffix(".partial")
            with partial.open("wb") as file:
                np.save(file, np.concatenate(parts))
            os.replace(partial, paths[number])
            if number == missing[0]:
                minutes = (time.monotonic() - started) * len(missing) / 60
                print(f"{len(moments)} moments to encode, about {minutes:.1f} min for those that are missing")
            progress.advance("encode")
    return Cache(moments, things, np.concatenate([np.load(path) for path in paths]))


def _batches(moments: "np.ndarray", things: "np.ndarray") -> "list[tuple[np.ndarray, np.ndarray]]":
    size = 16
    return [(moments[i : i + size], things[i : i + size]) for i in range(0, len(moments), size)]


def condition(
    model: "VLA",
    demos: "Demonstrations",
    cache: Cache,
    late: "np.ndarray",
    back: "np.ndarray",
    now: "np.ndarray",
    slot: "np.ndarray",
    views: list[int],
    pool: "Pool",
) -> "torch.Tensor":
    """(B, C) what the frozen layers say at the moments `now` of looks at `late` and, `back` pictures before, once more.

    All (B,); `slot` (B,) is the instruction.
    """
    import numpy as np
    import torch

    from agent.vla.heads import Past, ViewBatch

    before = demos.earlier(late, back)
    row, earlier = (np.searchsorted(cache.moments, seen) for seen in (late, np.where(before < 0, late, before)))
    # Where the instruction has changed in between, the earlier look does not count.
    before = np.where(cache.things[row, slot] == cache.things[earlier, slot], cache.moments[earlier], late)

    def look(rows: "np.ndarray") -> ViewBatch:
        features = torch.from_numpy(cache.features[rows, slot][:, views])
        hands = demos.hands(cache.moments[rows]).unsqueeze(1).expand(-1, len(views), -1)
        return ViewBatch(features, torch.tensor(views), hands, torch.zeros(len(rows), len(views)))

    past, age_s = Past(look(earlier), demos.seconds(before, late)), demos.seconds(late, now)
    with torch.no_grad():
        return model.head.condition(look(row), demos.sensors(now), age_s, pool, past).inputs


def train(config: Config, model: "VLA", demos: "Demonstrations", cache: Cache, path: Path) -> None:
    """Conditional flow matching towards the expert's chunks, for views, pools and ages as in the first training."""
    import numpy as np
    import torch

    from experiments import checkpoint
    from experiments.screen import bars
    from experiments.train import set_rate

    flow = model.flow
    assert flow is not None
    optimizer = torch.optim.AdamW(flow.parameters(), lr=config.lr, weight_decay=0.01)
    start = checkpoint.load(path, flow, optimizer) if path.exists() else 0
    flow.train()
    began = saved = time.monotonic()
    running: list[float] = []
    with bars() as progress:
        progress.add("flow", config.steps, start)
        for step in range(start, config.steps):
            rng = np.random.default_rng([config.seed, step])
            set_rate(optimizer, config.lr, step / config.steps, step, floor=0.005)
            inputs, chunk = lesson(model, demos, cache, rng, config.batch)
            loss = flow.loss(inputs, chunk, torch.Generator().manual_seed(int(rng.integers(2**62))))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
            optimizer.step()
            progress.advance("flow")
            running.append(loss.item())
            now, done = time.monotonic(), step + 1 - start
            if done == 100:
                left = config.steps - step - 1
                print(f"{left} more steps, about {(now - began) / done * left / 60:.1f} min")
            if done % 1000 == 0:
                print(f"  flow {step + 1}/{config.steps}: loss {np.mean(running):.3f}")
                running = []
            if now - saved > 60:
                checkpoint.save(path, flow, optimizer, step + 1)
                saved = now
    checkpoint.save(path, flow, optimizer, config.steps)
    flow.eval()


def lesson(
    model: "VLA", demos: "Demonstrations", cache: Cache, rng: "np.random.Generator", batch: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Conditions (batch, C) and the expert's chunks (batch, chunk, 6)."""
    from experiments.lessons import MAX_AGE_TICKS
    from experiments.train import Draw

    draw = Draw.random(rng)
    late, slot = rng.choice(demos.training, batch), rng.integers(0, SLOTS, batch)
    ticks = rng.integers(1, MAX_AGE_TICKS + 1, batch) * (rng.random(batch) < 0.4)
    now, back = demos.later(late, ticks), rng.choice(BACK, batch, p=BACK_P)
    views = model.config.view_ids(draw.cameras)
    inputs = condition(model, demos, cache, late, back, now, slot, views, draw.pool)
    return inputs, expert_chunk(model, demos, cache, late, now, slot)


def expert_chunk(
    model: "VLA", demos: "Demonstrations", cache: Cache, late: "np.ndarray", now: "np.ndarray", slot: "np.ndarray"
) -> "torch.Tensor":
    """(B, chunk, 6) what the expert would do at `now`, as the flow head is to say it."""
    import numpy as np
    import torch

    from agent.vla.heads import STEP_SCALE

    things = cache.things[np.searchsorted(cache.moments, late), slot]
    labels = demos.labels(now, things, model.config.chunk, seen=late)
    gripper = 2 * labels.gripper.unsqueeze(-1) - 1
    return torch.cat([labels.chunk_xyz / STEP_SCALE, labels.chunk_yaw, gripper], dim=-1)


def evaluate(model: "VLA", demos: "Demonstrations", cache: Cache) -> dict[str, float]:
    """Both heads on episodes kept aside, other objects, three views: errors of set-points [cm], and the fingers."""
    import numpy as np
    import torch

    from agent.vla.flow import CHANNELS, sample
    from agent.vla.heads import STEP_SCALE

    head, flow = model.head, model.flow
    assert flow is not None
    seen = demos.validation
    slot, back = np.ones(len(seen), dtype=np.int64), np.full(len(seen), 2)
    inputs = condition(model, demos, cache, seen, back, seen, slot, [0, 1, 2], "attention")
    truth = expert_chunk(model, demos, cache, seen, seen, slot)
    noise = torch.randn(len(seen), flow.chunk, CHANNELS, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stated = head.out(head.trunk(inputs))[:, 6:].unflatten(-1, (flow.chunk, CHANNELS))
        sampled = sample(lambda noisy, at: flow(inputs, noisy, torch.full((len(noisy),), at)), noise)
    score = {}
    for name, chunk in (("flow", sampled), ("regression", stated)):
        off = 100 * STEP_SCALE * (chunk - truth)[..., :3].norm(dim=-1)
        score[f"{name}_set_point_cm_mean"] = float(off[:, 0].mean())
        score[f"{name}_chunk_cm_mean"] = float(off.mean())
        score[f"{name}_gripper_accuracy"] = float(((chunk[:, 0, 5] > 0) == (truth[:, 0, 5] > 0)).float().mean())
    return score


if __name__ == "__main__":
    run(main, Config)
