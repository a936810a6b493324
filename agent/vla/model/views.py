"""From camera images to the patches of Qwen-VL, as `Qwen2VLImageProcessorPil` of transformers does, but faster."""

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
# Qwen2-VL and Qwen2.5-VL normalise as CLIP does.
MEAN, STD = CLIP_NORMALISATION


def rounded_size(width: int, height: int, config: PolicyConfig) -> tuple[int, int]:
    """`(width, height)` [px] of a view for which `width` x `height` is asked; see `smart_resize`."""
    return smart_resize(width, height, config.cell)


def token_grid(width: int, height: int, config: PolicyConfig) -> tuple[int, int]:
    """`(rows, columns)` of visual tokens for a view resized to `width` x `height` [px]."""
    rounded_width, rounded_height = rounded_size(width, height, config)
    return rounded_height // config.cell, rounded_width // config.cell


def resize(image: np.ndarray, width: int, height: int, config: PolicyConfig) -> np.ndarray:
    """Resample (bicubic) a view (H, W, 3) uint8 to `rounded_size`. The image itself is returned if it has that size."""
    return resample(image, rounded_size(width, height, config))


def resample(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample (bicubic) an image (H, W, 3) uint8 to `size`, (width, height) [px]. Itself if it has that size."""
    if image.shape[1::-1] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, resample=Image.Resampling.BICUBIC))


def resize_on_device(images: torch.Tensor, width: int, height: int, config: PolicyConfig) -> torch.Tensor:
    """Do what `resize` does, in float32 on the device of the views (N, H, W, 3) uint8.

    As in PIL, first along the rows and then along the columns, rounded to bytes in between. So no value differs by more
    than `RESIZE_TOLERANCE`, even for random bytes.
    """
    columns, rows = rounded_size(width, height, config)
    if images.shape[1:3] == (rows, columns):
        return images
    resized = images.permute(0, 3, 1, 2).float()
    for size in ((images.shape[1], columns), (rows, columns)):
        resized = F.interpolate(resized, size, mode="bicubic", antialias=True).round().clamp(0, 255)
    return resized.to(torch.uint8).permute(0, 2, 3, 1)


RESIZE_TOLERANCE = 2
"""Greatest difference in grey levels. torch and PIL round the weights of their sums differently."""


def pack(images: torch.Tensor, config: PolicyConfig) -> tuple[torch.Tensor, tuple[int, int]]:
    """Cut still images into patches of bytes. `PatchProjection` has the normalisation in its weights.

    Args:
        images: (N, H, W, 3) uint8, sides multiples of `config.cell`.
        config: Has patch and merge size.

    Returns:
        Patches (N * rows * columns, 3 * P * P) int8, pixel minus 128, in the order of Qwen, in which the patches of a
        visual token are neighbours; and the grid of patches `(rows, columns)`.
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
    """`(scale, shift)`, each (3,): a packed byte b of channel c means `b * scale[c] + shift[c]`."""
    # Computed on the CPU: neither a CUDA graph nor a second stream could wait for the device.
    centre, spread = torch.tensor(mean), torch.tensor(std)
    return (1 / (255 * spread)).to(device), ((128 / 255 - centre) / spread).to(device)


def patchify(
    images: torch.Tensor, config: PolicyConfig, mean: Colour = MEAN, std: Colour = STD
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Normalised patches (N * rows * columns, 3 * T * P * P) float32 of still images (N, H, W, 3), and their grid.

    They equal the `pixel_values` of transformers' image processor: every patch repeats its frame T times.
    """
    packed, grid = pack(images, config)
    scale, shift = normalisation(images.device, mean, std)
    patches = packed.unflatten(1, (3, 1, -1)).float() * scale.view(3, 1, 1) + shift.view(3, 1, 1)
    return patches.expand(-1, -1, config.temporal_patch_size, -1).reshape(len(packed), -1), grid
