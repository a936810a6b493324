"""The fast part of the policy: from features of the views, their age and fresh sensor readings to set-points."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from vlatency.agent.optimization import Pool
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.encoder import POINT_WIDTH

WORKSPACE_CENTRE = (0.5, 0.0, 0.1)
WORKSPACE_SCALE = 0.2
STEP_SCALE = 0.1
"""Typical size of what the head predicts [m], so that an untrained head starts at the right magnitude."""
HAND_WIDTH = 6
WRENCH_BLOCK = 5
# Typical magnitude of contact forces and torques [N, N m].
WRENCH_SCALE = (20.0, 20.0, 20.0, 2.0, 2.0, 2.0)
AGE_WIDTH = 8
MOTION_WIDTH = 10
TURN_WIDTH = 4


@dataclass(frozen=True)
class SensorBatch:
    """`sim.readings.Readings` of B moments as float tensors, in the same units."""

    ee_pose: torch.Tensor
    """(B, 4) end-effector x, y, z [m], yaw [rad]."""
    gripper_pos: torch.Tensor
    """(B,) 0 open to 1 closed."""
    gripper_vel: torch.Tensor
    """(B,) [1/s]."""
    joint_pos: torch.Tensor
    """(B, 6) [rad]."""
    joint_vel: torch.Tensor
    """(B, 6) [rad/s]."""
    wrench: torch.Tensor
    """(B, 50, 6) [N, N m], oldest first."""


@dataclass(frozen=True)
class ViewBatch:
    """Encoded views of B moments."""

    features: torch.Tensor
    """(B, V, F) from `ViewReadout.features`."""
    view_ids: torch.Tensor
    """(V,) or (B, V) integers, indices in `PolicyConfig.cameras`."""
    ee_at_capture: torch.Tensor
    """(B, V, 5) end-effector x, y, z [m], yaw [rad] and gripper position when each view was taken."""
    lag_s: torch.Tensor
    """(B, V) how much older each view is than the newest of its moment [s]; zero if all were taken at once."""


@dataclass(frozen=True)
class Past:
    """Views of the same B episodes some time earlier, encoded with the same instruction, which show motion."""

    views: ViewBatch
    gap_s: torch.Tensor
    """(B,) how much earlier [s]; 0 if there are none, and the views are then ignored."""


@dataclass(frozen=True)
class Condition:
    """All that the chunks of B moments may depend on."""

    seen: torch.Tensor
    """(B, 3) the instructed object when the views were taken, in units of the workspace."""
    turned: torch.Tensor
    """(B, 4); see `HeadOutput.turned`."""
    inputs: torch.Tensor
    """(B, `ActionHead.condition_width`) pooled views, sensors, hand, age and motion."""


@dataclass(frozen=True)
class HeadOutput:
    """Prediction for B moments."""

    seen: torch.Tensor
    """(B, 3) the instructed object when the views were taken, in the frame of the robot's base [m]."""
    turned: torch.Tensor
    """(B, 4) cosine and sine of two and of four times its yaw, for objects that look the same after half a turn or a
    quarter: they are continuous where the best yaw of the gripper jumps."""
    target: torch.Tensor
    """(B, 3) the object now, in the same frame [m]."""
    target_in_hand: torch.Tensor
    """(B, 3) the same minus the current position of the end effector [m]."""
    chunk_xyz: torch.Tensor
    """(B, chunk, 3) set-points minus the current position of the end effector [m]."""
    chunk_yaw: torch.Tensor
    """(B, chunk, 2) cosine and sine, not normalised, of the yaw of the set-points minus the current yaw."""
    gripper: torch.Tensor
    """(B, chunk) logits of "closed"."""


def hand_features(xyz: torch.Tensor, yaw: torch.Tensor, gripper: torch.Tensor) -> torch.Tensor:
    """(..., HAND_WIDTH) normalised position, cosine and sine of the yaw, position of the gripper."""
    place = (xyz - xyz.new_tensor(WORKSPACE_CENTRE)) / WORKSPACE_SCALE
    return torch.cat([place, yaw.cos().unsqueeze(-1), yaw.sin().unsqueeze(-1), gripper.unsqueeze(-1)], dim=-1)


def age_features(age_s: torch.Tensor) -> torch.Tensor:
    """From ages (B,) [s] to (B, AGE_WIDTH): linear, logarithmic and periodic."""
    angles = age_s.unsqueeze(-1) * (2 * math.pi / age_s.new_tensor([0.8, 1.6, 3.2]))
    return torch.cat([torch.stack([age_s, age_s.log1p()], dim=-1), angles.sin(), angles.cos()], dim=-1)


class SensorEncoder(nn.Module):
    """From readings to one vector. The window of forces and torques is first averaged over blocks of 10 ms."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.wrench = nn.Sequential(nn.Linear(60, 32), nn.GELU())
        self.out = nn.Sequential(
            nn.Linear(HAND_WIDTH + 1 + 12 + 32, 128), nn.GELU(), nn.Linear(128, config.sensor_width), nn.GELU()
        )

    def forward(self, sensors: SensorBatch) -> torch.Tensor:
        """From readings to (B, sensor_width)."""
        blocks = sensors.wrench.unflatten(1, (-1, WRENCH_BLOCK)).mean(dim=2)
        # Impacts are short and large. tanh prevents them from hiding everything else.
        wrench = torch.tanh(blocks / blocks.new_tensor(WRENCH_SCALE)).flatten(1)
        state = [
            hand_features(sensors.ee_pose[:, :3], sensors.ee_pose[:, 3], sensors.gripper_pos),
            sensors.gripper_vel.unsqueeze(-1),
            sensors.joint_pos / math.pi,
            sensors.joint_vel,
            self.wrench(wrench),
        ]
        encoded: torch.Tensor = self.out(torch.cat(state, dim=-1))
        return encoded


class ViewPool(nn.Module):
    """Combines any number of views in any order. One set of weights serves the three ways of pooling."""

    def __init__(self, config: PolicyConfig, feature_width: int) -> None:
        super().__init__()
        width, self.heads = config.view_width, 4
        self.embedding = nn.Embedding(len(config.cameras), 16)
        self.norm = nn.LayerNorm(feature_width - POINT_WIDTH)
        self.view = nn.Sequential(
            nn.Linear(feature_width + 16 + HAND_WIDTH + 1, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.score = nn.Linear(width, self.heads)

    def forward(self, views: ViewBatch, pool: Pool) -> torch.Tensor:
        """From encoded views to (B, view_width)."""
        count, number = views.features.shape[:2]
        # The hidden state has the scale of the backbone. Coordinates and probabilities need no normalisation.
        features = torch.cat(
            [self.norm(views.features[..., :-POINT_WIDTH]), views.features[..., -POINT_WIDTH:]], dim=-1
        )
        embedding = self.embedding(views.view_ids).expand(count, number, -1)
        capture = views.ee_at_capture
        hand = hand_features(capture[..., :3], capture[..., 3], capture[..., 4])
        encoded: torch.Tensor = self.view(torch.cat([features, embedding, hand, views.lag_s.unsqueeze(-1)], dim=-1))
        if pool == "max":
            return encoded.amax(dim=1)
        scores = self.score(encoded).float() if pool == "attention" else encoded.new_zeros(count, number, self.heads)
        weights = scores.softmax(dim=1).unsqueeze(-1)
        pooled: torch.Tensor = (weights * encoded.unflatten(-1, (self.heads, -1))).sum(dim=1)
        return pooled.flatten(1)


class ActionHead(nn.Module):
    """From pooled views, sensors and feature age to the target and a chunk of set-points.

    Motion is the difference between two looks at the object, divided by the time between them. Both go through the same
    layers, so that their common errors cancel.
    """

    def __init__(self, config: PolicyConfig, feature_width: int) -> None:
        super().__init__()
        self.chunk, self.without = config.chunk, config.without
        self.pool = ViewPool(config, feature_width)
        self.locate = nn.Sequential(nn.Linear(config.view_width, 128), nn.GELU(), nn.Linear(128, 3 + TURN_WIDTH))
        self.sensors = SensorEncoder(config)
        width = config.trunk_width
        inputs = self.condition_width = (
            config.view_width + config.sensor_width + HAND_WIDTH + AGE_WIDTH + MOTION_WIDTH + TURN_WIDTH
        )
        self.trunk = nn.Sequential(
            nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.out = nn.Linear(width, 6 + 6 * config.chunk)

    def condition(
        self, views: ViewBatch, sensors: SensorBatch, age_s: torch.Tensor, pool: Pool, past: Past | None = None
    ) -> Condition:
        """Compute the input of trunk and flow head.

        Args:
            views: The newest look.
            sensors: Current readings.
            age_s: (B,) time since the newest views were taken [s].
            pool: How views are combined.
            past: An earlier look, if any.
        """
        if "wrench" in self.without:
            sensors = replace(sensors, wrench=torch.zeros_like(sensors.wrench))
        if "age" in self.without:
            age_s = torch.zeros_like(age_s)
        if "motion" in self.without:
            past = None
        hand = hand_features(sensors.ee_pose[:, :3], sensors.ee_pose[:, 3], sensors.gripper_pos)
        pooled = self.pool(views, pool)
        seen, turned = self.locate(pooled).float().split([3, TURN_WIDTH], dim=-1)
        drift, known = torch.zeros_like(seen), torch.zeros_like(age_s)
        if past is not None:
            known = (past.gap_s > 0).float()
            before = self.locate(self.pool(past.views, pool)).float()[:, :3]
            drift = (seen - before) / past.gap_s.clamp(min=0.1).unsqueeze(-1) * known.unsqueeze(-1)
        place = hand[:, :3] - seen
        motion = [place, place - drift * age_s.unsqueeze(-1), 2 * drift, known.unsqueeze(-1)]
        inputs = [pooled, self.sensors(sensors), hand, age_features(age_s), *motion, turned]
        return Condition(seen, turned, torch.cat(inputs, dim=-1))

    def forward(
        self, views: ViewBatch, sensors: SensorBatch, age_s: torch.Tensor, pool: Pool, past: Past | None = None
    ) -> HeadOutput:
        """Predict target and chunk; see `condition` for the arguments."""
        condition = self.condition(views, sensors, age_s, pool, past)
        out = self.out(self.trunk(condition.inputs)).float()
        places, chunk = out[:, :6], out[:, 6:].unflatten(-1, (self.chunk, 6))
        centre = places.new_tensor(WORKSPACE_CENTRE)
        upright = torch.stack([torch.ones_like(chunk[..., 3]), torch.zeros_like(chunk[..., 3])], dim=-1)
        return HeadOutput(
            seen=centre + WORKSPACE_SCALE * condition.seen,
            turned=condition.turned,
            target=centre + WORKSPACE_SCALE * places[:, :3],
            target_in_hand=WORKSPACE_SCALE * places[:, 3:],
            chunk_xyz=STEP_SCALE * chunk[..., :3],
            chunk_yaw=upright + chunk[..., 3:5],
            gripper=chunk[..., 5],
        )
