"""Qwen-VL backbones: a tiny one from a configuration, a published one with its own weights or with random ones."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, Qwen2_5_VLConfig, Qwen2_5_VLModel
from transformers.initialization import no_init_weights

from vlatency.agent.vla.model.config import QWEN, PolicyConfig
from vlatency.agent.vla.model.families import family_of
from vlatency.agent.vla.model.stem import STRIDE
from vlatency.agent.vla.model.towers import LightTower
from vlatency.agent.vla.model.views import Colour, normalisation
from vlatency.agent.vla.model.zoo import Published
from vlatency.agent.vla.speed.attention import GroupedVisionAttention, register


class PatchProjection(nn.Module):
    """Qwen's patch embedding as a matrix product, with the same weights.

    Its input is the bytes of still images. Normalisation and the sum over repeated frames are applied to the weights
    once instead of to every pixel, and bytes are exact in bfloat16.
    """

    def __init__(self, embed: nn.Module, mean: Colour, std: Colour) -> None:
        super().__init__()
        assert isinstance(embed.proj, nn.Conv3d)
        self.proj = embed.proj
        self.mean, self.std = mean, std

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """From patches (S, 3 * P * P) int8 of `views.pack`, or normalised ones (S, C * T * P * P), to (S, hidden)."""
        weight: torch.Tensor = self.proj.weight
        bias: torch.Tensor | None = self.proj.bias
        dtype, device = weight.dtype, weight.device.type
        if patches.dtype == torch.int8:
            scale, shift = normalisation(weight.device, self.mean, self.std)
            still = weight.float().sum(dim=2).flatten(2)
            moved = still.sum(dim=2) @ shift
            bias = (moved if bias is None else moved + bias.float()).to(dtype)
            weight = (still * scale.view(3, 1)).to(dtype)
        # Straight to the type of the product: a detour through float32 would cost more than the product itself.
        patches = patches.to(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype)
        embedded = F.linear(patches, weight.flatten(1), bias)
        # Otherwise autocast would round the residual stream to bfloat16 at every block.
        return embedded.to(dtype)


def speed_up(model: PreTrainedModel) -> PreTrainedModel:
    """Replace the slow parts of the vision tower in place. Weights and their names stay."""
    normal = family_of(model.config.model_type).normalisation
    model.visual.patch_embed = PatchProjection(model.visual.patch_embed, *normal)
    for block in model.visual.blocks:
        block.attn = GroupedVisionAttention(block.attn)
    return model


def set_vision_encoder(model: PreTrainedModel, config: PolicyConfig) -> PreTrainedModel:
    """Give the backbone the vision encoder that the configuration names, in place, and return the backbone."""
    if config.vision_encoder == QWEN:
        return speed_up(model)
    model.visual = LightTower(config, model.config.text_config.hidden_size).to(model.device, model.dtype)
    return model


def tiny_config(config: PolicyConfig, tokenizer: Tokenizer) -> Qwen2_5_VLConfig:
    """Configuration of the tiny backbone for transformers. Every vision block attends to the whole image."""
    vision, text = config.vision, config.text
    half = text.hidden_size // text.num_attention_heads // 2
    patch = config.patch_size // STRIDE if config.stem_channels else config.patch_size
    # Qwen splits the rotary frequencies between time, height and width as 16:24:24.
    side = half * 3 // 8
    # A light vision encoder replaces the tower, so none is built.
    depth = vision.depth if config.vision_encoder == QWEN else 0
    return Qwen2_5_VLConfig(
        vision_config=dict(
            depth=depth,
            hidden_size=vision.hidden_size,
            num_heads=vision.num_heads,
            intermediate_size=vision.intermediate_size,
            out_hidden_size=text.hidden_size,
            in_channels=config.stem_channels or 3,
            patch_size=patch,
            spatial_merge_size=config.merge_size,
            temporal_patch_size=config.temporal_patch_size,
            window_size=patch * config.merge_size * 4,
            fullatt_block_indexes=list(range(depth)),
        ),
        text_config=dict(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=text.hidden_size,
            intermediate_size=text.intermediate_size,
            num_hidden_layers=text.num_hidden_layers,
            num_attention_heads=text.num_attention_heads,
            num_key_value_heads=text.num_key_value_heads,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [half - 2 * side, side, side],
            },
            bos_token_id=None,
            eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        ),
        image_token_id=tokenizer.token_to_id("<|image_pad|>"),
        video_token_id=tokenizer.token_to_id("<|video_pad|>"),
        vision_start_token_id=tokenizer.token_to_id("<|vision_start|>"),
        vision_end_token_id=tokenizer.token_to_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def tiny_backbone(config: PolicyConfig, tokenizer: Tokenizer) -> PreTrainedModel:
    """A tiny Qwen2.5-VL with random weights."""
    model = Qwen2_5_VLModel._from_config(tiny_config(config, tokenizer), attn_implementation=register())
    return set_vision_encoder(model, config)


def published_config(model: Published) -> PreTrainedConfig:
    """Configuration of a published model for transformers, without a download."""
    return AutoConfig.for_model(model.model_type, vision_config=dict(model.vision), text_config=dict(model.text))


def random_backbone(
    model: Published, config: PolicyConfig, device: torch.device | str, dtype: torch.dtype = torch.bfloat16
) -> PreTrainedModel:
    """A published model with random weights, made on `device`. It takes exactly as long as the trained one."""
    shape = published_config(model)
    if config.vision_encoder != QWEN:
        shape.vision_config.depth = 0
    with torch.device(device), no_init_weights():
        backbone = family_of(model.model_type).model_class._from_config(
            shape, dtype=dtype, attn_implementation=register()
        )
    _fill(backbone)
    return set_vision_encoder(backbone, config)


@torch.no_grad()
def _fill(model: nn.Module) -> None:
    """Fill in random weights of the usual size, in place, by repeating one block of drawn numbers.

    Drawing billions of numbers would take minutes on a CPU. The length of the block is a prime number, so that the rows
    of a matrix differ.
    """
    block: torch.Tensor | None = None
    for name, tensor in model.named_parameters():
        if tensor.ndim == 1:
            tensor.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        if block is None:
            block = torch.empty(1_000_003, dtype=tensor.dtype, device=tensor.device).normal_(std=0.02)
        flat = tensor.view(-1)
        for piece in flat.split(len(block)):
            piece.copy_(block[: len(piece)])


def config_for_backbone(name: str, vision: PreTrainedConfig) -> PolicyConfig:
    """Configuration of a policy with a published backbone: its patch sizes, and the layout of Qwen's chats."""
    return PolicyConfig(
        backbone=name,
        stem_channels=0,
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        prompt="<|im_start|>user\n{instruction}",
        view_prompt=" {camera}:<|vision_start|>",
    )
