"""LeRobot's ACT on states, trained by LeRobot's own classes. Runs in an environment where `lerobot` is installed.

ACT: Zhao et al., Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware, https://arxiv.org/abs/2304.13705.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vlatency.experiments.training.metaworld_demonstrations import Demonstrations, goals

ROBOT, STATE, ACTION = "observation.state", "observation.environment_state", "action"
ROBOT_SIZE = 4
"""MetaWorld's state begins with the hand (x, y, z) and the opening of the gripper."""
CHUNK = 100
"""Rows of a chunk, LeRobot's default; 1.25 s of MetaWorld."""
REPLAN = 16
"""Rows that a plain loop carries out before it asks again."""
BATCH = 32
LEARNING_RATE = 1e-3
LEAST_STD = 0.02
"""What hardly varies in the demonstrations, such as a quaternion, is not blown up to unit variance."""


def small_act(state_size: int, action_size: int) -> Any:
    """Configuration of an ACT with 0.7 M parameters that sees states only. No VAE: the scripts are deterministic."""
    from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
    from lerobot.policies.factory import make_policy_config

    return make_policy_config(
        "act",
        input_features={
            ROBOT: PolicyFeature(FeatureType.STATE, (ROBOT_SIZE,)),  # ACT looks for it, even where STATE says it all
            STATE: PolicyFeature(FeatureType.ENV, (state_size,)),
        },
        output_features={ACTION: PolicyFeature(FeatureType.ACTION, (action_size,))},
        # LeRobot's default leaves out ENV, which is then not normalized.
        normalization_mapping={
            "STATE": NormalizationMode.MEAN_STD,
            "ENV": NormalizationMode.MEAN_STD,
            "ACTION": NormalizationMode.IDENTITY,
        },
        chunk_size=CHUNK,
        n_action_steps=REPLAN,
        use_vae=False,
        dim_model=128,
        n_heads=4,
        dim_feedforward=512,
        n_encoder_layers=2,
        dropout=0.0,
        device="cpu",
        push_to_hub=False,
    )


def observation(states: Any) -> dict[str, Any]:
    """What the policy is given for states of MetaWorld, a tensor (..., 39)."""
    return {ROBOT: states[..., :ROBOT_SIZE], STATE: states}


def train_act(data: Demonstrations, folder: Path, steps: int, seed: int, say: Callable[[str], None]) -> float:
    """Train on demonstrations and save what `lerobot` loads: model.safetensors, config.json, processors.

    Args:
        data: of one task.
        folder: where to save.
        steps: of gradient descent, with 32 chunks each.
        seed: of the weights and of what is drawn from the data.
        say: told of the progress.

    Returns:
        Mean L1 error of an action over the last tenth of the steps.
    """
    import torch
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    states, actions = torch.from_numpy(data.states), torch.from_numpy(data.actions)
    ends = np.repeat(np.cumsum(data.lengths), data.lengths)
    config = small_act(states.shape[1], actions.shape[1])
    mean, std = data.states.mean(0), data.states.std(0).clip(min=LEAST_STD)
    stats = {ROBOT: {"mean": mean[:ROBOT_SIZE], "std": std[:ROBOT_SIZE]}, STATE: {"mean": mean, "std": std}}
    policy = get_policy_class("act")(config)
    before, after = make_pre_post_processors(config, dataset_stats=stats)
    optimizer = torch.optim.AdamW(policy.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    policy.train()
    losses, started = [], time.monotonic()
    for step in range(1, steps + 1):
        chosen = rng.integers(0, len(states), BATCH)
        rows = chosen[:, None] + np.arange(CHUNK)
        beyond = rows >= ends[chosen, None]
        chunks = actions[np.minimum(rows, ends[chosen, None] - 1)]
        batch = before(observation(states[chosen]) | {ACTION: chunks})
        batch["action_is_pad"] = torch.from_numpy(beyond)
        loss, _ = policy.forward(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item() * beyond.size / (~beyond).sum())  # LeRobot's mean counts padding as correct
        if step % 500 == 0:
            say(f"step {step}/{steps}: L1 {np.mean(losses[-500:]):.4f}, {time.monotonic() - started:.0f} s")
    for part in (policy, before, after):
        part.save_pretrained(folder)
    return float(np.mean(losses[-max(1, steps // 10) :]))


def successes(task: str, folder: Path, episodes: int, seed: int, limit_steps: int = 500) -> int:
    """How many goals of a MetaWorld task a saved policy reaches in a plain loop, where inference takes no time."""
    import metaworld
    import torch
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    env = metaworld.ALL_V3_ENVIRONMENTS[task]()
    reached = 0
    for goal in islice(goals(task, seed), episodes):
        env.set_task(goal)
        state, _ = env.reset()
        policy.reset()
        for _ in range(limit_steps):
            action = after(policy.select_action(before(observation(torch.tensor(state, dtype=torch.float32)))))
            state, _, _, _, info = env.step(action[0].numpy().clip(-1, 1))
            if info["success"]:
                reached += 1
                break
    env.close()
    return reached
