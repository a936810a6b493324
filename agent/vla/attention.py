"""Attention for many short sequences: one call for all of them, and the kernel that is fast for the case."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AttentionInterface
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLVisionAttention, apply_rotary_pos_emb_vision

IMPLEMENTATION = "vlatency"


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool) -> torch.Tensor:
    """Attention over (N, heads, L, d); grouped queries where key and value have fewer heads.

    The backward pass of torch's flash kernel for the CPU is about five times slower on sequences of
    24 to 64 tokens than that of plain matrix products, so training takes the latter.
    """
    grouped = query.shape[1] != key.shape[1]
    if query.device.type != "cpu" or not (torch.is_grad_enabled() and query.requires_grad):
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped)
    if grouped:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if causal:
        length = scores.shape[-1]
        future = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    return scores.float().softmax(dim=-1).to(value.dtype) @ value


def _text_attention(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: None, **_: object
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface; only whole causal sequences, which is all that an encode needs."""
    if mask is not None:
        raise ValueError("an attention mask is not supported: pad rows on the right")
    return attend(query, key, value, causal=True).transpose(1, 2), None


def register() -> str:
    """Makes `attend` known to transformers; returns the name for `attn_implementation`."""
    AttentionInterface.register(IMPLEMENTATION, _text_attention)
    return IMPLEMENTATION


@lru_cache(maxsize=256)
@torch.inference_mode(False)
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
    """`Qwen2_5_VLVisionAttention` with one attention call per distinct sequence length, bit-equal to its loop.

    transformers' path without flash attention calls the kernel once per image or window, in Python.
    """

    def __init__(self, attention: Qwen2_5_VLVisionAttention) -> None:
        super().__init__()
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
        """Hidden states (S, d) of sequences laid end to end; `cu_seqlens` (best on the CPU) holds their bounds."""
        total = hidden_states.shape[0]
        query, key, value = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).unbind(1)
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        lengths = tuple((cu_seqlens[1:] - cu_seqlens[:-1]).tolist())
        if len(set(lengths)) == 1:
            shape = (len(lengths), lengths[0], self.num_heads, -1)
            output = self._attend(query.reshape(shape), key.reshape(shape), value.reshape(shape))
        else:
            groups, inverse = _groups(lengths, hidden_states.device)
            output = torch.cat([self._attend(query[group], key[group], value[group]) for group in groups])[inverse]
        return self.proj(output)

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """(N, L, heads, d) each to (N * L, heads * d)."""
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
        return attend(query, key, value, causal=False).transpose(1, 2).flatten(2).flatten(0, 1)
