"""A policy of ours behind openpi's protocol: what an observation must hold, and how it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vlatency.agent.policies.one_stage import InOnePiece
from vlatency.agent.policies.own_keys import IMAGE, PROMPT, SIZES, STATE, TIME_NS, readings_of
from vlatency.agent.policies.remote import FROZEN, PLAN
from vlatency.agent.realtime.driver import Policy
from vlatency.agent.realtime.requests import Infer

COLUMNS = ("x m", "y m", "z m", "yaw rad", "gripper, 0 open to 1 closed")
"""An action: an absolute set-point of the end effector in the robot's base frame."""


def described(cameras: Sequence[str]) -> dict[str, Any]:
    """What the server tells whoever connects: the keys that it reads, and what its answers mean."""
    return {
        "key_map": "vlatency",
        "reads": [*(IMAGE + camera for camera in cameras), STATE, PROMPT, TIME_NS],
        "images": "uint8 (height, width, 3), any size",
        "state": [[name, size] for name, size in SIZES.items()],
        "optional": {TIME_NS: [0, 0], PLAN: None, FROZEN: 0},
        "actions": list(COLUMNS),
        "action_kind": "absolute",
        "row_ms": 100,
    }


class ServedEpisode:
    """Answers the observations of one connection, which is one episode.

    Args:
        policy: has `encode` and `act`.
        cameras: the views that it reads.
    """

    def __init__(self, policy: Policy, cameras: Sequence[str]) -> None:
        self._policy, self._cameras = InOnePiece(policy), tuple(cameras)

    def __call__(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The chunk for an observation, as `actions`. ValueError if a key is missing or holds something else."""
        wanted = [*(IMAGE + camera for camera in self._cameras), STATE, PROMPT]
        for key in wanted:
            if key not in observation:
                raise ValueError(f"no {key} in the observation; this policy reads {', '.join(wanted)}")
        prompt, plan, frozen = observation[PROMPT], observation.get(PLAN), observation.get(FROZEN, 0)
        t_ns, read_ns = observation.get(TIME_NS, [0, 0])
        if not (isinstance(prompt, str) and {type(t_ns), type(read_ns), type(frozen)} == {int}):
            raise ValueError(f"{PROMPT} must be text, {FROZEN} a whole number and {TIME_NS} two")
        request = Infer(
            images={camera: np.asarray(observation[IMAGE + camera]) for camera in self._cameras},
            instruction=prompt,
            readings=readings_of(observation[STATE], read_ns),
            t_ns=t_ns,
            plan=None if plan is None else np.array(plan, dtype=np.float64),
            frozen=frozen,
        )
        (chunk,) = self._policy.infer([request])
        return {"actions": chunk}
