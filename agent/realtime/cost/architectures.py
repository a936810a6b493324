"""The dimensions of each model that decide its arithmetic, by the names of `agent.vla.model.zoo`.

Source: each model's `config.json` on the Hugging Face hub and transformers' `modeling_*.py`. A test compares the table
with transformers' own configurations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Architecture:
    """One Qwen-VL model."""

    vision_layers: int
    vision_full_attention_layers: int
    vision_hidden: int
    vision_intermediate: int
    patch: int
    """Side of a vision patch [px]."""
    merge: int
    """merge x merge patches become one token of the language model."""
    window: int
    """Side of an attention window [px], in the layers without full attention."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vision_gated: bool = True
    """Whether the vision tower's feed-forward layers have three matrices, not two."""
    frames: int = 2
    """Video frames that a patch spans; a still image is repeated."""
    deepstack: int = 0
    """Inner vision blocks whose output reaches the language model, each through its own merger."""
    stem: int = 0
    """Channels of the convolutions before the vision tower (`agent.vla.model.stem`); 0 for none."""
    light_encoder: float = 0
    """Multiply-adds on 224 x 224 pixels of the vision encoder in the tower's place; 0 for the tower itself."""

    @property
    def cell(self) -> int:
        """Side of the square that becomes one visual token [px]."""
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
QWEN2_5_VL_7B = Architecture(
    vision_layers=32,
    vision_full_attention_layers=4,
    vision_hidden=1280,
    vision_intermediate=3420,
    patch=14,
    merge=2,
    window=112,
    layers=28,
    hidden=3584,
    heads=28,
    kv_heads=4,
    intermediate=18944,
)
# The vision tower is 1280 wide inside and has no windows.
QWEN2_VL_2B = Architecture(
    vision_layers=32,
    vision_full_attention_layers=32,
    vision_hidden=1280,
    vision_intermediate=5120,
    patch=14,
    merge=2,
    window=112,
    layers=28,
    hidden=1536,
    heads=12,
    kv_heads=2,
    intermediate=8960,
    vision_gated=False,
)
QWEN3_VL_2B = Architecture(
    vision_layers=24,
    vision_full_attention_layers=24,
    vision_hidden=1024,
    vision_intermediate=4096,
    patch=16,
    merge=2,
    window=128,
    layers=28,
    hidden=2048,
    heads=16,
    kv_heads=8,
    intermediate=6144,
    vision_gated=False,
    deepstack=3,
)
TINY = Architecture(
    vision_layers=3,
    vision_full_attention_layers=3,
    vision_hidden=128,
    vision_intermediate=384,
    patch=28,
    merge=1,
    window=112,
    layers=2,
    hidden=128,
    heads=4,
    kv_heads=2,
    intermediate=384,
    frames=1,
    stem=32,
)
TINY_S = Architecture(
    vision_layers=2,
    vision_full_attention_layers=2,
    vision_hidden=96,
    vision_intermediate=288,
    patch=28,
    merge=1,
    window=112,
    layers=2,
    hidden=96,
    heads=4,
    kv_heads=2,
    intermediate=288,
    frames=1,
    stem=32,
)

ARCHITECTURES: dict[str, Architecture] = {
    "tiny": TINY,
    "tiny-s": TINY_S,
    "qwen2-vl-2b": QWEN2_VL_2B,
    "qwen2.5-vl-3b": QWEN2_5_VL_3B,
    "qwen2.5-vl-7b": QWEN2_5_VL_7B,
    "qwen3-vl-2b": QWEN3_VL_2B,
}


def _clip(patch: int) -> float:
    """Multiply-adds of CLIP ViT-B (12 layers, 768 wide) on 224 x 224 pixels, without attention scores."""
    return (224 // patch) ** 2 * (3 * patch**2 * 768 + 12 * 12 * 768**2)


LIGHT_ENCODERS: dict[str, tuple[int, float]] = {
    "clip-b16": (32, _clip(16)),
    "clip-b32": (32, _clip(32)),
    "mobilenetv3-small": (32, 0.056e9),
    "efficientnet-b0": (32, 0.39e9),
    "efficientnet-lite0": (32, 0.407e9),
}
"""Vision encoders in the tower's place: side of the square that becomes one visual token [px], and multiply-adds on
224 x 224 pixels, which grow with the area. Source of the latter: the papers (Radford et al. 2021, Howard et al. 2019,
Tan and Le 2019) and the EfficientNet-lite release. The projector behind them is left out."""


def find_architecture(name: str, vision_encoder: str = "qwen") -> Architecture:
    """The dimensions of a model.

    Args:
        name: of the model.
        vision_encoder: what stands in the vision tower's place; qwen is the tower itself.

    Raises:
        UsageError: an unknown name; the message lists the known ones.
    """
    if name not in ARCHITECTURES:
        raise UsageError(f"unknown model {name!r}; models are {', '.join(ARCHITECTURES)}")
    if vision_encoder == "qwen":
        return ARCHITECTURES[name]
    if vision_encoder not in LIGHT_ENCODERS:
        known = ", ".join(("qwen", *LIGHT_ENCODERS))
        raise UsageError(f"unknown vision encoder {vision_encoder!r}; vision encoders are {known}")
    cell, multiply_adds = LIGHT_ENCODERS[vision_encoder]
    return replace(ARCHITECTURES[name], patch=cell, merge=1, vision_layers=0, stem=0, light_encoder=multiply_adds)
