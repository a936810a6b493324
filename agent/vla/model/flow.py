"""A head that samples chunks by conditional flow matching, and the guidance that makes a chunk continue the last one.

A chunk is sampled by following a learned velocity field along straight lines, from noise at time 0 to a chunk at time 1
(Lipman et al. 2023, arXiv 2210.02747; the action expert of pi0 does the same, Black et al. 2024, arXiv 2410.24164).
Real-time chunking (RTC, Black et al. 2025, arXiv 2506.07339) steers the field towards the set-points that the robot
will carry out in any case.

Here a chunk is (B, chunk, 6): set-points minus the current position of the end effector, in units of `STEP_SCALE`;
cosine and sine of their yaw minus the current yaw; gripper, -1 open to 1 closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.heads import STEP_SCALE

CHANNELS = 6
STEPS = 5
"""Euler steps from noise to a chunk, as in RTC."""
BETA = 5.0
"""Greatest weight of the guidance, as in RTC."""
BLOCKS = 2
TIME_WIDTH = 16
LEAST_LEFT = 0.05
"""The distance to the estimated chunk is divided by the time left, or by this if that is greater."""

Velocity: TypeAlias = Callable[[torch.Tensor, float], torch.Tensor]
"""From noisy chunks (B, chunk, 6) and a time, 0 to 1, to their velocity."""


class FlowHead(nn.Module):
    """From the condition of `ActionHead`, a noisy chunk and the time to the velocity of the chunk.

    The network estimates the final chunk, and the velocity leads there in a straight line. The two are equivalent, but
    this way the network need not reproduce the noise, and the last step ends at the estimate.
    """

    def __init__(self, config: PolicyConfig, condition_width: int) -> None:
        super().__init__()
        self.chunk, width = config.chunk, config.flow_width
        self.condition = nn.Linear(condition_width, width)
        self.noisy = nn.Linear(CHANNELS * config.chunk + TIME_WIDTH, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(BLOCKS)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, CHANNELS * config.chunk))

    def forward(self, condition: torch.Tensor, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Velocity (B, chunk, 6) of noisy chunks (B, chunk, 6) at times (B,), given `ActionHead.condition` (B, C)."""
        angles = time.unsqueeze(-1) * (math.pi * 2 ** torch.arange(TIME_WIDTH // 2, device=time.device))
        hidden = self.condition(condition) + self.noisy(torch.cat([noisy.flatten(1), angles.sin(), angles.cos()], -1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        estimate: torch.Tensor = self.out(hidden).unflatten(-1, (self.chunk, CHANNELS))
        return (estimate - noisy) / (1 - time).clamp(min=LEAST_LEFT)[:, None, None]

    def loss(self, condition: torch.Tensor, chunk: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Conditional flow matching: squared error of the velocity at a random time between noise and `chunk`."""
        noise = torch.randn(chunk.shape, generator=generator)
        time = torch.rand(len(chunk), generator=generator) * (1 - LEAST_LEFT)
        noisy = noise + time[:, None, None] * (chunk - noise)
        velocity: torch.Tensor = self(condition, noisy, time)
        return (velocity - (chunk - noise)).square().mean()


@dataclass(frozen=True)
class Guide:
    """What a sampled chunk should agree with."""

    chunk: torch.Tensor
    """(chunk, 6) the chunk to agree with."""
    weight: torch.Tensor
    """(chunk, 1) 1 for set-points that will be carried out in any case, falling to 0 for those that are free."""


def soft_mask(frozen: int, rows: int, chunk: int) -> torch.Tensor:
    """(chunk,) weights of the old chunk: 1 for the `frozen` set-points, falling until `rows`, then 0 (RTC)."""
    left = (rows - torch.arange(chunk)) / (rows - frozen + 1)
    decaying = left * torch.expm1(left) / math.expm1(1)
    index = torch.arange(chunk)
    return torch.where(index < frozen, 1.0, torch.where(index < rows, decaying, 0.0))


def noise_of(t_ns: int, chunk: int) -> torch.Tensor:
    """(1, chunk, 6) the noise to start from, which depends on the time of the observation [ns] alone.

    So a trajectory depends neither on the number of workers nor on the requests in the same batch, and arms that are
    compared on the same seeds get the same noise.
    """
    return torch.randn(1, chunk, CHANNELS, generator=torch.Generator().manual_seed(t_ns))


def sample(
    velocity: Velocity, noise: torch.Tensor, guide: Guide | None = None, steps: int = STEPS, beta: float = BETA
) -> torch.Tensor:
    """Sample chunks (B, chunk, 6): carry `noise` along `velocity` by Euler's method, steered towards `guide` if any."""
    chunk = noise
    for step in range(steps):
        time = step / steps
        rate = velocity(chunk, time) if guide is None else _guided(velocity, chunk, time, guide, beta)
        chunk = chunk + rate / steps
    return chunk


def _guided(velocity: Velocity, chunk: torch.Tensor, time: float, guide: Guide, beta: float) -> torch.Tensor:
    """Velocity with pseudo-inverse guidance (Song et al. 2023; equations 2 to 4 of RTC).

    v + min(beta, (1 - t) / (t r^2)) (Y - A)^T diag(W) dA/da, where a is the noisy chunk, A = a + (1 - t) v the chunk
    that it is expected to become, Y and W the guide, and r^2 = (1 - t)^2 / (t^2 + (1 - t)^2). Where the model is
    certain, dA/da is zero and the guidance has no effect.
    """
    with torch.enable_grad():
        noisy = chunk.detach().requires_grad_()
        plain = velocity(noisy, time)
        expected = noisy + (1 - time) * plain
        error = guide.weight * (guide.chunk - expected.detach())
        (towards,) = torch.autograd.grad(expected, noisy, error)
    strength = beta if time == 0 else min(beta, (time**2 + (1 - time) ** 2) / (time * (1 - time)))
    return plain.detach() + strength * towards


def relative(points: torch.Tensor, ee_pose: torch.Tensor) -> torch.Tensor:
    """Set-points (..., rows, 5) [m, rad, 0 to 1 closed] as a chunk (..., rows, 6) for an end effector at (..., 4)."""
    xyz = (points[..., :3] - ee_pose[..., None, :3]) / STEP_SCALE
    turn = points[..., 3:4] - ee_pose[..., None, 3:]
    return torch.cat([xyz, turn.cos(), turn.sin(), 2 * points[..., 4:] - 1], dim=-1)


def absolute(chunk: torch.Tensor, ee_pose: torch.Tensor) -> torch.Tensor:
    """Inverse of `relative`, except that the gripper is rounded to open or closed."""
    xyz = STEP_SCALE * chunk[..., :3] + ee_pose[..., None, :3]
    yaw = torch.atan2(chunk[..., 4:5], chunk[..., 3:4]) + ee_pose[..., None, 3:]
    return torch.cat([xyz, yaw, (chunk[..., 5:] > 0).to(xyz.dtype)], dim=-1)


def guide_of(plan: torch.Tensor, frozen: int, ee_pose: torch.Tensor, chunk: int) -> Guide:
    """The guide for a chunk that continues `plan`.

    Args:
        plan: (rows, 5) absolute set-points at the times of the first rows of the chunk.
        frozen: How many of them will be carried out in any case.
        ee_pose: (4,) current pose of the end effector.
        chunk: Set-points in the chunk.
    """
    rows = min(len(plan), chunk)
    towards = torch.zeros(chunk, CHANNELS, dtype=plan.dtype, device=plan.device)
    towards[:rows] = relative(plan[:rows], ee_pose)
    return Guide(towards, soft_mask(frozen, rows, chunk).to(towards)[:, None])
