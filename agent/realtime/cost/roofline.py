"""What one encode costs, from the shapes of the model's matrices alone, and the least time that it takes a device.

Counted as arithmetic: every matrix product at two operations per multiply-add, and attention scores and values (half of
them where attention is causal). Counted as traffic: every weight once per call, and the inputs and outputs of every
matrix product and of attention. Not counted: norms, activations, rotary embedding, and logits, which an encode does not
need. A roofline ("Roofline: an insightful visual performance model", Williams et al. 2009) is a lower bound of the
latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlatency.agent.image_size import smart_resize
from vlatency.agent.optimization import CHOICES
from vlatency.agent.realtime.cost.architectures import QWEN2_5_VL_3B, Architecture
from vlatency.agent.realtime.cost.devices import FASTER, WEIGHT_BYTES, Device
from vlatency.sim.errors import UsageError

ONE_CALL = ("joint", "batched")
"""Encodings that read the weights once per encode; the others read them once per view."""
TEXT_TOKENS = 24  # the chat template (19) around a five-token instruction such as "Pick up the blue object"
VALUE_BYTES = 2  # bf16


@dataclass(frozen=True)
class Work:
    """What a computation asks of a device."""

    flop: float
    weights: float
    """Weights read [elements]."""
    values: float
    """Inputs and outputs of its products [elements]."""

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.weights + other.weights, self.values + other.values)

    def times(self, count: int) -> Work:
        """`count` such computations, each with its own weights."""
        return Work(count * self.flop, count * self.weights, count * self.values)

    def batched(self, count: int) -> Work:
        """One such computation on `count` inputs, which share the weights."""
        return Work(count * self.flop, self.weights, count * self.values)

    def gigabytes(self, quant: str = "none") -> float:
        """Memory traffic [1e9 bytes]."""
        return (self.weights * WEIGHT_BYTES[quant] + self.values * VALUE_BYTES) / 1e9

    def roofline_ms(self, device: Device, quant: str = "none") -> float:
        """The latency that no implementation beats [ms]: arithmetic or traffic at peak, whichever takes longer."""
        arithmetic_s = self.flop / (device.tflops * FASTER.get(quant, 1) * 1e12)
        return 1e3 * max(arithmetic_s, self.gigabytes(quant) / device.gb_s)


def resized(res: tuple[int, int], arch: Architecture = QWEN2_5_VL_3B) -> tuple[int, int]:
    """(width, height) that the model sees [px]: transformers' `smart_resize`, whole cells and a bounded area."""
    return smart_resize(*res, arch.cell)


def visual_tokens(res: tuple[int, int], arch: Architecture = QWEN2_5_VL_3B) -> int:
    """Visual tokens of one view of (width, height) [px]."""
    width, height = resized(res, arch)
    return (width // arch.cell) * (height // arch.cell)


def sequences(views: int, res: tuple[int, int], encoding: str, arch: Architecture = QWEN2_5_VL_3B) -> list[int]:
    """Lengths of the sequences that the language model reads [tokens]: one for all views (joint), or one per view.

    Each view is enclosed in two marker tokens, and each sequence holds the text once.

    Raises:
        UsageError: an unknown encoding, or no view.
    """
    if encoding not in CHOICES["encoding"]:
        raise UsageError(f"unknown encoding {encoding!r}; encodings are {', '.join(CHOICES['encoding'])}")
    if views < 1:
        raise UsageError(f"views must be at least 1, not {views}")
    view = visual_tokens(res, arch) + 2
    return [views * view + TEXT_TOKENS] if encoding == "joint" else [view + TEXT_TOKENS] * views


def encode_tflop(views: int, res: tuple[int, int], encoding: str, arch: Architecture = QWEN2_5_VL_3B) -> float:
    """Arithmetic of one encode [TFLOP] of `views` views of (width, height) [px]."""
    return encode_work(views, res, encoding, arch).flop / 1e12


def encode_work(
    views: int,
    res: tuple[int, int],
    encoding: str,
    arch: Architecture = QWEN2_5_VL_3B,
    lengths: Sequence[int] | None = None,
) -> Work:
    """The work of one encode.

    Args:
        views: number of views.
        res: (width, height) of each [px].
        encoding: how they become sequences.
        arch: the model.
        lengths: of the sequences that the language model was seen to read [tokens]; None: as `sequences` plans them.
    """
    planned = sequences(views, res, encoding, arch)
    language = [_language(tokens, arch) for tokens in (lengths or planned)]
    vision = vision_work(res, arch)
    if encoding not in ONE_CALL:
        return sum(language, vision.times(views))
    once = sum(language, vision.batched(views))
    return Work(once.flop, vision.weights + max(work.weights for work in language), once.values)


def vision_work(res: tuple[int, int], arch: Architecture = QWEN2_5_VL_3B) -> Work:
    """The work of vision tower and merger on one view; a still image fills all frames of the temporal patch."""
    width, height = resized(res, arch)
    if arch.light_encoder:
        return Work(2 * arch.light_encoder * width * height / 224**2, 0, 0)
    columns, rows = width // arch.patch, height // arch.patch
    patches, tokens, d, f = columns * rows, visual_tokens(res, arch), arch.vision_hidden, arch.vision_intermediate
    inputs = arch.stem * (arch.patch // 4) ** 2 if arch.stem else 3 * arch.frames * arch.patch**2
    block = _product(patches, d, 3 * d) + _product(patches, d, d) + _feed_forward(patches, d, f, arch.vision_gated)
    merged = arch.merge**2 * d
    merger = _product(tokens, merged, merged) + _product(tokens, merged, arch.hidden)
    pairs = arch.vision_full_attention_layers * patches**2
    pairs += (arch.vision_layers - arch.vision_full_attention_layers) * _window_pairs(columns, rows, arch)
    attention = Work(4 * d * pairs, 0, arch.vision_layers * 4 * patches * d)
    tower = (
        _product(patches, inputs, d) + block.times(arch.vision_layers) + attention + merger.times(1 + arch.deepstack)
    )
    return tower + _stem(width * height, arch.stem) if arch.stem else tower


def _product(tokens: int, inputs: int, outputs: int) -> Work:
    return Work(2 * tokens * inputs * outputs, inputs * outputs, tokens * (inputs + outputs))


def _feed_forward(tokens: int, width: int, inner: int, gated: bool) -> Work:
    return _product(tokens, width, inner).times(2 if gated else 1) + _product(tokens, inner, width)


def _stem(pixels: int, channels: int) -> Work:
    """Two strided convolutions, then three at a quarter of the size (`agent.vla.model.stem`)."""
    half = channels // 2
    convolutions = [_product(pixels // 4, 3 * 16, half), _product(pixels // 16, half * 16, channels)]
    return sum(convolutions, _product(pixels // 16, channels * 9, channels).times(3))


def _window_pairs(columns: int, rows: int, arch: Architecture) -> int:
    """Pairs of patches that attend to each other within windows; windows at the right and bottom edge are cut off."""

    def squares(length: int) -> int:
        whole, rest = divmod(length, arch.window // arch.patch)
        return whole * (arch.window // arch.patch) ** 2 + rest**2

    return squares(columns) * squares(rows)


def _language(tokens: int, arch: Architecture) -> Work:
    """The language model's layers on one sequence."""
    d, kv = arch.hidden, arch.hidden // arch.heads * arch.kv_heads
    block = _product(tokens, d, d).times(2) + _product(tokens, d, kv).times(2)
    attention = Work(2 * tokens**2 * d, 0, 2 * tokens * (d + kv))
    return (block + attention + _feed_forward(tokens, d, arch.intermediate, True)).times(arch.layers)
