"""Light vision encoders in place of Qwen's vision tower: CLIP, MobileNet or EfficientNet with a projector."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.mobilenets import NETWORKS, MobileNet
from vlatency.agent.vla.model.views import normalisation
from vlatency.agent.vla.model.zoo import find_light_encoder
from vlatency.sim.errors import UsageError

WEIGHTS_FILE = "model.safetensors"


class Clip(nn.Module):
    """The image half of CLIP ViT-B: from images (N, 3, H, W) to maps (N, 768, H / patch, W / patch)."""

    channels = 768
    published_names: ClassVar[dict[str, str]] = {"model.": ""}

    def __init__(self, patch_size: int) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        super().__init__()
        self.model = CLIPVisionModel(CLIPVisionConfig(patch_size=patch_size))
        # It is for the class token only, which is not used here.
        self.model.post_layernorm = nn.Identity()
        self.patch_size = patch_size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Last hidden states of the patches. Learned positions are interpolated for sizes other than 224 x 224."""
        hidden = self.model(images, interpolate_pos_encoding=True).last_hidden_state[:, 1:]
        rows = images.shape[2] // self.patch_size
        cells: torch.Tensor = hidden.unflatten(1, (rows, -1))
        return cells.permute(0, 3, 1, 2)


class LightTower(nn.Module):
    """From pixels to visual tokens of the language model's width."""

    def __init__(self, config: PolicyConfig, width: int) -> None:
        super().__init__()
        row = find_light_encoder(config.vision_encoder)
        self.network: MobileNet | Clip = MobileNet(row.name) if row.name in NETWORKS else Clip(row.stride)
        self.merge = row.merge
        self.mean, self.std = row.mean, row.std
        # The statistics of published weights are better than those of a few views that are nearly equal.
        self.fixed_statistics = bool(config.vision_weights)
        inputs = self.network.channels * row.merge**2
        self.projector = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """From pixels (N, H, W, 3) uint8, whole cells, to tokens (N, T, width) in raster order and their grid."""
        scale, shift = normalisation(pixels.device, self.mean, self.std)
        images = ((pixels.float() - 128) * scale + shift).to(next(self.parameters()).dtype)
        # The colours stay innermost in memory, where convolutions are fastest.
        images = images.permute(0, 3, 1, 2)
        cells = F.pixel_unshuffle(self.network(images), self.merge)
        return self.projector(cells.flatten(2).transpose(1, 2)), (cells.shape[2], cells.shape[3])

    def train(self, mode: bool = True) -> Self:
        """As for any module, except that fixed statistics stay fixed."""
        super().train(mode)
        if self.fixed_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def load_published(tower: LightTower, source: str) -> None:
    """Load published weights into the network; the projector stays as it is.

    Args:
        tower: The vision encoder.
        source: Folder or hub id with the weights as safetensors.

    Raises:
        UsageError: There is no such file, or it does not fit.
    """
    path = _weights_file(source)
    try:
        # In a whole CLIP the image half has the same names after this prefix.
        state = {name.removeprefix("vision_model."): tensor for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a readable safetensors file ({error})") from error
    wanted = tower.network.state_dict()
    published = {published_name(name, tower.network.published_names): name for name in wanted}
    # The files of timm leave this counter out, and nothing here reads it.
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    found = {ours: state[theirs] for theirs, ours in published.items() if theirs in state}
    wrong = [name for name in wanted.keys() - counters if name not in found or found[name].shape != wanted[name].shape]
    if wrong:
        raise UsageError(f"{path} does not fit this vision encoder in {len(wrong)} tensors ({min(wrong)})")
    tower.network.load_state_dict(found, strict=False)


def published_name(name: str, published_names: dict[str, str]) -> str:
    """Name of a tensor in files of published weights."""
    for ours, theirs in published_names.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _weights_file(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source) / WEIGHTS_FILE
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, WEIGHTS_FILE))
    except Exception as error:  # the hub has many exceptions of its own
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"no vision weights '{source}': give a folder with {WEIGHTS_FILE}, or a hub id ({reason})"
        ) from error
