"""Attention in vision tower and language model: few calls for many short sequences, by the kernel that is asked for."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLVisionAttention, apply_rotary_pos_emb_vision

from vlatency.agent.optimization import Attention
from vlatency.agent.vla.memo import computed_once
from vlatency.agent.vla.speed.kernels import KERNELS, PACKED, Bounds, Kernel, bounds_of, check_kernel


def _text_attention(
    kernel: Kernel,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """A kernel in the form that transformers calls. Without a mask it is causal, which is enough for most encodes."""
    return kernel(query, key, value, True, mask).transpose(1, 2), None


def register(attention: Attention = "sdpa") -> str:
    """Register a kernel with transformers, and return its name for `attn_implementation`."""
    # A name with "flash" in it would get other inputs from transformers.
    name = f"vlatency-{attention.replace('flash_attention_', 'fa')}"
    AttentionInterface.register(name, partial(_text_attention, KERNELS[attention]))
    return name


def use_kernel(backbone: PreTrainedModel, attention: Attention) -> None:
    """Make vision tower and language model use a kernel from now on. UsageError if it is not installed."""
    check_kernel(attention)
    backbone.language_model.config._attn_implementation = register(attention)
    for module in backbone.visual.modules():
        if isinstance(module, GroupedVisionAttention):
            module.attention = attention


@computed_once(kept=256)
def _groups(lengths: tuple[int, ...], device: torch.device) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Token indices (sequences, length) for each distinct length, and the permutation that undoes the grouping."""
    ends = torch.tensor(lengths).cumsum(0).tolist()
    groups = []
    for length in sorted(set(lengths)):
        starts = torch.tensor([end - length for end, own in zip(ends, lengths, strict=True) if own == length])
        groups.append(starts[:, None] + torch.arange(length))
    inverse = torch.cat([group.flatten() for group in groups]).argsort()
    return [group.to(device) for group in groups], inverse.to(device)


class GroupedVisionAttention(nn.Module):
    """`Qwen2_5_VLVisionAttention` with one call of the kernel per distinct sequence length, and the same bits.

    Without flash attention transformers calls the kernel once per image or window, in a Python loop. A packed kernel is
    called once here.
    """

    def __init__(self, attention: Qwen2_5_VLVisionAttention) -> None:
        super().__init__()
        self.attention: Attention = "sdpa"
        self.qkv = attention.qkv
        self.proj = attention.proj
        self.num_heads = attention.num_heads

    def forward(
        self,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        **_: object,
    ) -> torch.Tensor:
        """Attend within sequences that are laid end to end.

        Args:
            hidden_states: (S, d) of all sequences.
            cu_seqlens: Where the sequences begin and end; reading it is fastest if it is on the CPU.
            position_embeddings: Cosine and sine of the rotary embedding.
        """
        total = hidden_states.shape[0]
        query, key, value = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).unbind(1)
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        lengths = tuple((cu_seqlens[1:] - cu_seqlens[:-1]).tolist())
        if self.attention in PACKED:
            ends, longest = bounds_of(lengths, hidden_states.device), max(lengths)
            bounds = Bounds(ends, ends, longest, longest)
            output = PACKED[self.attention](query, key, value, bounds, False).flatten(1)
        elif len(set(lengths)) == 1:
            shape = (len(lengths), lengths[0], self.num_heads, -1)
            output = self._attend(query.reshape(shape), key.reshape(shape), value.reshape(shape))
        else:
            groups, inverse = _groups(lengths, hidden_states.device)
            output = torch.cat([self._attend(query[group], key[group], value[group]) for group in groups])[inverse]
        projected: torch.Tensor = self.proj(output)
        return projected

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """From query, key and value (N, L, heads, d) to (N * L, heads * d)."""
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
        return KERNELS[self.attention](query, key, value, False).transpose(1, 2).flatten(2).flatten(0, 1)
