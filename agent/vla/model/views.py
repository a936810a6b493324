"""From camera images to Qwen-VL's patches, equal to transformers' `Qwen2VLImageProcessorPil` but faster."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from vlatency.agent.image_size import smart_resize
from vlatency.agent.vla.memo import computed_once
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.zoo import CLIP_NORMALISATION

Colour = tuple[float, float, float]
# Qwen2-VL and Qwen2.5-VL use CLIP's.
MEAN, STD = CLIP_NORMALISATION


def rounded_size(width: int, height: int, config: PolicyConfig) -> tuple[int, int]:
    """`(width, height)` [px] of a view asked for as `width` x `height`, see `smart_resize`."""
    return smart_resize(width, height, config.cell)


def token_grid(width: int, height: int, config: PolicyConfig) -> tuple[int, int]:
    """`(rows, columns)` of visual tokens for a view resized to `width` x `height` [px]."""
    rounded_width, rounded_height = rounded_size(width, height, config)
    return rounded_height // config.cell, rounded_width // config.cell


def resize(image: np.ndarray, width: int, height: int, config: PolicyConfig) -> np.ndarray:
    """View `image` (H, W, 3) uint8 resampled (bicubic) to `rounded_size(width, height)`; itself if it has that size."""
    return resample(image, rounded_size(width, height, config))


def resample(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Image (H, W, 3) uint8 resampled (bicubic) to `size` (width, height) [px]; itself if it has that size."""
    if image.shape[1::-1] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, resample=Image.Resampling.BICUBIC))


def resize_on_device(images: torch.Tensor, width: int, height: int, config: PolicyConfig) -> torch.Tensor:
    """What `resize` does to views (N, H, W, 3) uint8, on the device where they are, in float32.

    As PIL does, first along the rows, then along the columns, with bytes between: no value differs by more than
    RESIZE_TOLERANCE, also of random bytes.
    """
    columns, rows = rounded_size(width, height, config)
    if images.shape[1:3] == (rows, columns):
        return images
    resized = images.permute(0, 3, 1, 2).float()
    for size in ((images.shape[1], columns), (rows, columns)):
        resized = F.interpolate(resized, size, mode="bicubic", antialias=True).round().clamp(0, 255)
    return resized.to(torch.uint8).permute(0, 2, 3, 1)


RESIZE_TOLERANCE = 2
"""Grey levels: torch and PIL round the weights of their sums differently, in either direction."""


def pack(images: torch.Tensor, config: PolicyConfig) -> tuple[torch.Tensor, tuple[int, int]]:
    """Patches of still images as bytes; `PatchProjection` folds the normalisation into its weights.

    Args:
        images: (N, H, W, 3) uint8, sides whole multiples of `patch_size * merge_size`.
        config: gives patch and merge size.

    Returns:
        Patches (N * rows * columns, 3 * P * P) int8, pixel minus 128, in Qwen's order (the patches of one
        visual token are neighbours), and the patch grid `(rows, columns)`.
    """
    count, height, width, channels = images.shape
    patch, merge, cell = config.patch_size, config.merge_size, config.cell
    if height % cell or width % cell or channels != 3 or images.dtype != torch.uint8:
        raise ValueError(f"{images.dtype} {tuple(images.shape)}: need uint8 (N, H, W, 3), sides multiples of {cell}")
    rows, columns = height // patch, width // patch
    blocks = (images ^ 128).view(torch.int8)
    blocks = blocks.reshape(count, rows // merge, merge, patch, columns // merge, merge, patch, 3)
    blocks = blocks.permute(0, 1, 4, 2, 5, 7, 3, 6)
    return blocks.reshape(count * rows * columns, 3 * patch * patch), (rows, columns)


@computed_once(kept=64)
def normalisation(
    device: torch.device | None = None, mean: Colour = MEAN, std: Colour = STD
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(scale, shift)`, each (3,): a packed byte b of channel c stands for `b * scale[c] + shift[c]`."""
    # Once, and not on the device: neither a CUDA graph nor a second stream could wait for it.
    centre, spread = torch.tensor(mean), torch.tensor(std)
    return (1 / (255 * spread)).to(device), ((128 / 255 - centre) / spread).to(device)


def patchify(
    images: torch.Tensor, config: PolicyConfig, mean: Colour = MEAN, std: Colour = STD
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Normalised patches (N * rows * columns, 3 * T * P * P) float32 of still images (N, H, W, 3), and their grid.

    These are the `pixel_values` that transformers' processor makes: every patch repeats its frame T times.
    """
    packed, grid = pack(images, config)
    scale, shift = normalisation(images.device, mean, std)
    patches = packed.unflatten(1, (3, 1, -1)).float() * scale.view(3, 1, 1) + shift.view(3, 1, 1)
    return patches.expand(-1, -1, config.temporal_patch_size, -1).reshape(len(packed), -1), grid
