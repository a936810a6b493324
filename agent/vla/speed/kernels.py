"""Attention kernels with one signature: those of torch and of other packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import NamedTuple, Protocol

import torch
from torch.nn import functional as F

from vlatency.agent.optimization import Attention
from vlatency.agent.vla.memo import computed_once
from vlatency.sim.errors import UsageError


class Kernel(Protocol):
    """Attention of queries (N, heads, L, d) to keys and values (N, as many heads or fewer, K, d).

    If causal, the last query sees all keys, the one before it all but the last, and so on. A boolean mask `seen` that
    broadcasts to (N, heads, L, K) says instead which keys each query sees.
    """

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        causal: bool,
        seen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns a tensor of the shape of `query`."""


class Bounds(NamedTuple):
    """Where sequences lie that are laid end to end."""

    queries: torch.Tensor
    """(sequences + 1,) int32 on the device: where the queries of each sequence begin, and where the last ones end."""
    keys: torch.Tensor
    """The same of the keys and values."""
    most_queries: int
    """Queries of the longest sequence."""
    most_keys: int
    """Keys of the longest sequence."""


Packed = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Bounds, bool], torch.Tensor]
"""Attention within sequences laid end to end: query (S, heads, d), key, value; bounds; causal as in `Kernel`."""


@computed_once(kept=64)
def _causal(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _as_many_heads(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    repeats = query.shape[1] // key.shape[1]
    if repeats == 1:
        return key, value
    return key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)


def eager(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, seen: torch.Tensor | None = None
) -> torch.Tensor:
    """Plain matrix products, with the softmax in float32; see `Kernel`."""
    key, value = _as_many_heads(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if causal and seen is None:
        seen = _causal(query.shape[2], key.shape[2], query.device)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    weights: torch.Tensor = scores.float().softmax(dim=-1).to(value.dtype)
    return weights @ value


def sdpa(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, seen: torch.Tensor | None = None
) -> torch.Tensor:
    """Call `scaled_dot_product_attention` of torch, except in training on a CPU; see `Kernel`.

    For sequences of 24 to 64 tokens the backward pass of torch's flash kernel for the CPU takes about five times as
    long as that of plain matrix products, so training uses the latter.
    """
    if query.device.type == "cpu" and torch.is_grad_enabled() and query.requires_grad:
        return eager(query, key, value, causal, seen)
    # With `is_causal` of torch the first query would see only one key.
    if causal and seen is None and query.shape[2] != key.shape[2]:
        seen = _causal(query.shape[2], key.shape[2], query.device)
    if seen is None:
        grouped = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped)
    # With a mask and fewer heads of keys torch would use its slow path.
    key, value = _as_many_heads(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen)


def _varlen(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: Bounds, causal: bool) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    window = (-1, 0) if causal else (-1, -1)
    grouped = query.shape[1] != key.shape[1]
    output = varlen_attn(query, key, value, *bounds, window_size=window, enable_gqa=grouped)
    assert isinstance(output, torch.Tensor)
    return output


def _flash(
    package: str, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: Bounds, causal: bool
) -> torch.Tensor:
    output = importlib.import_module(package).flash_attn_varlen_func(
        query,
        key,
        value,
        cu_seqlens_q=bounds.queries,
        cu_seqlens_k=bounds.keys,
        max_seqlen_q=bounds.most_queries,
        max_seqlen_k=bounds.most_keys,
        causal=causal,
    )
    attended: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return attended


def _in_half(kernel: Packed) -> Packed:
    """The kernel for any type. Inputs that are not in half precision are rounded to bfloat16."""

    def run(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: Bounds, causal: bool) -> torch.Tensor:
        dtype = query.dtype if query.dtype in (torch.float16, torch.bfloat16) else torch.bfloat16
        return kernel(query.to(dtype), key.to(dtype), value.to(dtype), bounds, causal).to(query.dtype)

    return run


PACKED: dict[str, Packed] = {
    "varlen": _in_half(_varlen),
    "flash_attention_2": _in_half(partial(_flash, "flash_attn")),
    "flash_attention_4": _in_half(partial(_flash, "flash_attn.cute")),
}
"""Kernels for sequences of unequal lengths. They work in half precision and on CUDA only."""


@computed_once(kept=256)
def bounds_of(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Where sequences of these lengths begin and end when laid end to end: int32 (sequences + 1,)."""
    return torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)


def _padded(kernel: Packed) -> Kernel:
    """The packed kernel for sequences of equal length."""

    def run(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, seen: torch.Tensor | None = None
    ) -> torch.Tensor:
        if seen is not None:
            return sdpa(query, key, value, causal, seen)
        count, _, queries, _ = query.shape
        keys = key.shape[2]
        flat = [tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, key, value)]
        ends = [bounds_of((length,) * count, query.device) for length in (queries, keys)]
        output = kernel(flat[0], flat[1], flat[2], Bounds(ends[0], ends[1], queries, keys), causal)
        padded: torch.Tensor = output.unflatten(0, (count, queries))
        return padded.transpose(1, 2)

    return run


KERNELS: dict[str, Kernel] = {"eager": eager, "sdpa": sdpa} | {name: _padded(kernel) for name, kernel in PACKED.items()}

_PACKAGES = {"flash_attention_2": ("flash_attn", "flash"), "flash_attention_4": ("flash_attn.cute", "flash4")}


def _offers_flash(module: str) -> bool:
    try:
        # Finding it is not enough: one package is installed in a folder with the name of the other.
        return hasattr(importlib.import_module(module), "flash_attn_varlen_func")
    except ImportError:
        return False


def check_kernel(attention: Attention) -> None:
    """UsageError unless the package of the kernel is installed."""
    others = "or use " + ", ".join(name for name in KERNELS if name not in _PACKAGES)
    if attention in _PACKAGES:
        module, extra = _PACKAGES[attention]
        if not _offers_flash(module):
            raise UsageError(f"attention {attention} needs the extra: pip install -e '.[{extra}]', {others}")
    if attention == "varlen":
        try:
            from torch.nn.attention.varlen import varlen_attn

            usable = {"window_size", "enable_gqa"} <= set(signature(varlen_attn).parameters)
        except ImportError:
            usable = False
        if not usable:
            raise UsageError(f"attention varlen needs a newer torch than {torch.__version__}; use eager or sdpa")
