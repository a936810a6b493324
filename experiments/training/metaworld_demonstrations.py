"""Demonstrations of the policies that MetaWorld ships as scripts: states and actions, no images.

Runs where `metaworld` is installed. Goals are drawn from seeds that no evaluation uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlatency.experiments.evaluation.setting import FIRST_TRAINING_SEED

LIMIT_STEPS = 400
AFTER_SUCCESS_STEPS = 25
"""Recorded after the first success, so that a chunk learns to stay where the goal is."""
PUSHES = (0.0, 0.2, 0.5, 1.0)
"""Standard deviation of the disturbance, in turn over the episodes; the unit is that of an action, whose limit is 1."""
PUSH_STEPS = 8
"""A disturbance is drawn anew so often, and in half of the cases there is none."""


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Steps of many episodes, one after the other.

    Attributes:
        states: (steps, 39) float32, what the script saw.
        actions: (steps, 4) float32, what it did about it, before any disturbance.
        lengths: (episodes,) steps of each.
        successes: how many episodes reached the goal.
    """

    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    lengths: NDArray[np.int64]
    successes: int


def goals(task: str, seed: int) -> Iterator[Any]:
    """Goals of a MetaWorld task without end, 50 from each seed from `seed` on."""
    import metaworld

    for number in count(seed):
        yield from metaworld.MT1(task, seed=number).train_tasks


def demonstrate(task: str, episodes: int, seed: int = FIRST_TRAINING_SEED) -> Demonstrations:
    """Record the script of a MetaWorld task.

    Three of four episodes are disturbed while the recorded action stays the script's own. So the recording shows how to
    come back (DART, https://arxiv.org/abs/1703.09327).

    Args:
        task: its name, such as "drawer-open-v3".
        episodes: how many, each with another goal.
        seed: of goals and disturbances.
    """
    import metaworld
    from metaworld.policies import ENV_POLICY_MAP

    env = metaworld.ALL_V3_ENVIRONMENTS[task]()
    script = ENV_POLICY_MAP[task]()
    rng = np.random.default_rng(seed)
    states, actions, lengths, successes = [], [], list[int](), 0
    for number, goal in enumerate(islice(goals(task, seed), episodes)):
        env.set_task(goal)
        state, _ = env.reset()
        push, left = np.zeros(4), None
        for step in range(LIMIT_STEPS):
            if step % PUSH_STEPS == 0:
                drawn = rng.normal(0, PUSHES[number % len(PUSHES)], 3)
                push = np.append(drawn, 0) * (rng.random() < 0.5)
            action = np.clip(script.get_action(state), -1, 1).astype(np.float32)
            states.append(state.astype(np.float32))
            actions.append(action)
            state, _, _, _, info = env.step(np.clip(action + push, -1, 1).astype(np.float32))
            if left is None and info["success"]:
                left, successes = AFTER_SUCCESS_STEPS, successes + 1
            elif left is not None:
                left -= 1
                if left == 0:
                    break
        lengths.append(len(states) - sum(lengths))
    env.close()
    return Demonstrations(np.array(states), np.array(actions), np.array(lengths), successes)
