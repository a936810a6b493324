"""How much arithmetic one encode of Qwen2.5-VL costs, from the shapes of its matrices alone.

Counted: every matrix product, two operations per multiply-add; attention scores and values, causal ones by half.
Not counted: norms, activations, rotary embedding, and logits, which an encode does not need.
Source of the figures: `config.json` of Qwen/Qwen2.5-VL-3B-Instruct and transformers' `modeling_qwen2_5_vl.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.errors import UsageError

ENCODINGS = ("joint", "batched", "separate", "streams")
TEXT_TOKENS = 24  # the chat template (19) around a five-token instruction such as "Pick up the blue object"
MIN_PIXELS, MAX_PIXELS = 56 * 56, 28 * 28 * 1280  # the area the view preparation keeps to, transformers' default


@dataclass(frozen=True)
class Architecture:
    """The figures of one Qwen2.5-VL model that decide its arithmetic."""

    vision_layers: int
    vision_full_attention_layers: int
    vision_hidden: int
    vision_intermediate: int
    patch: int
    """Side of a vision patch [pixels]."""
    merge: int
    """merge x merge patches become one token of the language model."""
    window: int
    """Side of an attention window [pixels], in the layers without full attention."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int

    @property
    def cell(self) -> int:
        """Side of the square that becomes one visual token [pixels]."""
        return self.patch * self.merge


QWEN2_5_VL_3B = Architecture(
    vision_layers=32,
    vision_full_attention_layers=4,
    vision_hidden=1280,
    vision_intermediate=3420,
    patch=14,
    merge=2,
    window=112,
    layers=36,
    hidden=2048,
    heads=16,
    kv_heads=2,
    intermediate=11008,
)


def resized(res: tuple[int, int], arch: Architecture = QWEN2_5_VL_3B) -> tuple[int, int]:
    """(width, height) the model sees [pixels]: transformers' `smart_resize`, whole cells and a bounded area."""
    width, height = (round(side / arch.cell) * arch.cell for side in res)
    if width * height > MAX_PIXELS:
        scale = math.sqrt(MAX_PIXELS / (res[0] * res[1]))
        width, height = (max(1, math.floor(side * scale / arch.cell)) * arch.cell for side in res)
    elif width * height < MIN_PIXELS:
        scale = math.sqrt(MIN_PIXELS / (res[0] * res[1]))
        width, height = (math.ceil(side * scale / arch.cell) * arch.cell for side in res)
    return width, height


def visual_tokens(res: tuple[int, int], arch: Architecture = QWEN2_5_VL_3B) -> int:
    """Tokens that one view of (width, height) [pixels] gives the language model."""
    width, height = resized(res, arch)
    return (width // arch.cell) * (height // arch.cell)


def sequences(views: int, res: tuple[int, int], encoding: str, arch: Architecture = QWEN2_5_VL_3B) -> list[int]:
    """Lengths [tokens] of the sequences the language model reads: one for all views (joint), or one a view.

    Two marks enclose every view; each sequence has the text once. UsageError for an unknown encoding or no view.
    """
    if encoding not in ENCODINGS:
        raise UsageError(f"unknown encoding {encoding!r}; encodings are {', '.join(ENCODINGS)}")
    if views < 1:
        raise UsageError(f"views must be at least 1, not {views}")
    view = visual_tokens(res, arch) + 2
    return [views * view + TEXT_TOKENS] if encoding == "joint" else [view + TEXT_TOKENS] * views


def encode_tflop(views: int, res: tuple[int, int], encoding: str, arch: Architecture = QWEN2_5_VL_3B) -> float:
    """Arithmetic of one encode of `views` views of (width, height) [pixels] [TFLOP]."""
    vision = views * _vision_flop(res, arch)
    return (vision + sum(_language_flop(tokens, arch) for tokens in sequences(views, res, encoding, arch))) / 1e12


def _vision_flop(res: tuple[int, int], arch: Architecture) -> float:
    """The vision tower and the merger on one view; a still image fills both frames of the temporal patch."""
    columns, rows = (side // arch.patch for side in resized(res, arch))
    patches, tokens, d = columns * rows, visual_tokens(res, arch), arch.vision_hidden
    embed = 3 * 2 * arch.patch**2 * d
    block = 4 * d**2 + 3 * d * arch.vision_intermediate
    merged = arch.merge**2 * d
    merger = merged**2 + merged * arch.hidden
    pairs = arch.vision_full_attention_layers * patches**2
    pairs += (arch.vision_layers - arch.vision_full_attention_layers) * _window_pairs(columns, rows, arch)
    return 2 * patches * (embed + arch.vision_layers * block) + 2 * tokens * merger + 4 * d * pairs


def _window_pairs(columns: int, rows: int, arch: Architecture) -> int:
    """Patch pairs that attend to each other when windows tile the grid; those at the right and bottom are cut off."""

    def squares(length: int) -> int:
        whole, rest = divmod(length, arch.window // arch.patch)
        return whole * (arch.window // arch.patch) ** 2 + rest**2

    return squares(columns) * squares(rows)


def _language_flop(tokens: int, arch: Architecture) -> float:
    """The language model's layers on one sequence."""
    d = arch.hidden
    block = 2 * d**2 + 2 * d * (d // arch.heads) * arch.kv_heads + 3 * d * arch.intermediate
    return arch.layers * (2 * tokens * block + 2 * tokens**2 * d)
