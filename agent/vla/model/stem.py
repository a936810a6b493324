"""Convolutions before the tiny vision tower, which learn to recognise small shapes.

With Qwen's linear patch embedding the policy only guessed the shape of an object 12 pixels wide. It learns shapes from
an auxiliary loss on these maps, with one prediction per cell of 4 x 4 pixels. See "Early Convolutions Help Transformers
See Better" (Xiao et al., 2021).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from vlatency.agent.vla.model.views import normalisation

STRIDE = 4
"""Pixels along each side of a cell of the maps."""


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + F.relu(self.conv(maps))


class Stem(nn.Module):
    """From images to maps of a quarter of their size. Each cell depends on 34 x 34 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, channels // 2, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 2, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            *(_Residual(channels) for _ in range(3)),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """From images (N, H, W, 3) uint8, sides multiples of 4, to maps (N, C, H / 4, W / 4)."""
        scale, shift = normalisation(pixels.device)
        images = (pixels.permute(0, 3, 1, 2).float() - 128) * scale.view(3, 1, 1) + shift.view(3, 1, 1)
        maps: torch.Tensor = self.convs(images.to(next(self.parameters()).dtype))
        return maps


def cut(maps: torch.Tensor, patch: int, merge: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """Cut maps (N, C, h, w) into patches in the order of Qwen, in which the patches of a visual token are neighbours.

    Args:
        maps: The maps.
        patch: Side of a patch, in cells of the maps.
        merge: Patches along each side of a visual token.

    Returns:
        Patches (N * rows * columns, C * patch * patch) and their grid (rows, columns).
    """
    count, channels, height, width = maps.shape
    rows, columns = height // patch, width // patch
    blocks = maps.reshape(count, channels, rows // merge, merge, patch, columns // merge, merge, patch)
    blocks = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7)
    return blocks.reshape(count * rows * columns, channels * patch * patch), (rows, columns)
