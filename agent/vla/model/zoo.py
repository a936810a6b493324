"""The models and vision encoders that have a name, one row each. No torch, so that command lines can import it quickly.

The figures are from the public config.json of each model. A test counts the parameters that follow from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from vlatency.agent.vla.model.config import QWEN, TINY, PolicyConfig, TextDims, VisionDims
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Tiny:
    """A stand-in that is small enough to be trained on a CPU: Qwen2.5-VL of transformers with these dimensions."""

    name: str
    vision: VisionDims = VisionDims()
    text: TextDims = TextDims()


@dataclass(frozen=True)
class Published:
    """A model with published weights.

    Attributes:
        name: its name on the command line.
        hub_id: its name on the Hugging Face hub.
        model_type: name of its architecture in transformers.
        vision: fields of its `vision_config` that differ from the defaults of transformers.
        text: fields of its `text_config` that differ from the defaults of transformers.
    """

    name: str
    hub_id: str
    model_type: str
    vision: dict[str, Any] = field(hash=False)
    text: dict[str, Any] = field(hash=False)


# Rotary frequencies of Qwen2-VL and Qwen2.5-VL: 16 for time, 24 for height, 24 for width.
_ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}

MODELS: dict[str, Tiny | Published] = {
    row.name: row
    for row in (
        Tiny(TINY),
        Tiny(
            "tiny-s",
            VisionDims(depth=2, hidden_size=96, intermediate_size=288),
            TextDims(num_hidden_layers=2, hidden_size=96, intermediate_size=288),
        ),
        Published(
            "qwen2-vl-2b",
            "Qwen/Qwen2-VL-2B-Instruct",
            "qwen2_vl",
            vision=dict(hidden_size=1536),
            text=dict(
                vocab_size=151936,
                hidden_size=1536,
                intermediate_size=8960,
                num_hidden_layers=28,
                num_attention_heads=12,
                num_key_value_heads=2,
                rms_norm_eps=1e-6,
                rope_parameters=_ROPE,
            ),
        ),
        Published(
            "qwen2.5-vl-3b",
            "Qwen/Qwen2.5-VL-3B-Instruct",
            "qwen2_5_vl",
            vision=dict(hidden_size=1280, out_hidden_size=2048),
            text=dict(
                vocab_size=151936,
                hidden_size=2048,
                intermediate_size=11008,
                num_hidden_layers=36,
                num_attention_heads=16,
                num_key_value_heads=2,
                rms_norm_eps=1e-6,
                rope_parameters=_ROPE,
            ),
        ),
        Published(
            "qwen2.5-vl-7b",
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "qwen2_5_vl",
            vision=dict(hidden_size=1280),
            text=dict(
                hidden_size=3584,
                intermediate_size=18944,
                num_hidden_layers=28,
                num_attention_heads=28,
                num_key_value_heads=4,
                rms_norm_eps=1e-6,
                rope_parameters=_ROPE,
            ),
        ),
        Published(
            "qwen3-vl-2b",
            "Qwen/Qwen3-VL-2B-Instruct",
            "qwen3_vl",
            vision=dict(
                depth=24,
                hidden_size=1024,
                intermediate_size=4096,
                out_hidden_size=2048,
                deepstack_visual_indexes=[5, 11, 17],
            ),
            text=dict(
                hidden_size=2048,
                intermediate_size=6144,
                num_hidden_layers=28,
                num_attention_heads=16,
                num_key_value_heads=8,
                rope_parameters={
                    "rope_type": "default",
                    "rope_theta": 5e6,
                    "mrope_section": [24, 20, 20],
                    "mrope_interleaved": True,
                },
            ),
        ),
    )
}

_NEVER_PUBLISHED = ("2.5-vl-2b", "qwen2.5-vl-2b", "0.5b", "2.5-vl-0.5b", "qwen2.5-vl-0.5b")


def find_model(name: str) -> Tiny | Published:
    """Return the model of that name. UsageError, which lists the names, if there is none."""
    if name in MODELS:
        return MODELS[name]
    known = f"models are {', '.join(MODELS)}"
    if name.lower() in _NEVER_PUBLISHED:
        raise UsageError(f"there is no model '{name}': the smallest Qwen2.5-VL is qwen2.5-vl-3b; {known}")
    raise UsageError(f"unknown model '{name}'; {known}")


@dataclass(frozen=True)
class LightEncoder:
    """A vision encoder that can replace Qwen's vision tower.

    All of them give 7 x 7 visual tokens for 224 x 224 pixels.

    Attributes:
        name: its name on the command line.
        hub_id: repository on the Hugging Face hub whose `model.safetensors` has weights with matching names.
        stride: pixels along each side of a position of its last feature map.
        merge: positions along each side of a visual token.
        mean: mean of the colours that the published weights expect, from 0 to 1.
        std: their standard deviation.
    """

    name: str
    hub_id: str
    stride: int
    merge: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CLIP_NORMALISATION = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET_NORMALISATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN_NORMALISATION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

LIGHT_ENCODERS: dict[str, LightEncoder] = {
    row.name: row
    for row in (
        LightEncoder("clip-b16", "openai/clip-vit-base-patch16", 16, 2, *CLIP_NORMALISATION),
        LightEncoder("clip-b32", "openai/clip-vit-base-patch32", 32, 1, *CLIP_NORMALISATION),
        LightEncoder("mobilenetv3-small", "timm/tf_mobilenetv3_small_100.in1k", 32, 1, *PLAIN_NORMALISATION),
        LightEncoder("efficientnet-b0", "timm/tf_efficientnet_b0.in1k", 32, 1, *IMAGENET_NORMALISATION),
        LightEncoder("efficientnet-lite0", "timm/tf_efficientnet_lite0.in1k", 32, 1, *PLAIN_NORMALISATION),
    )
}


def find_light_encoder(name: str) -> LightEncoder:
    """Return the light vision encoder of that name. UsageError, which lists the names, if there is none."""
    if name not in LIGHT_ENCODERS:
        raise UsageError(f"unknown vision encoder '{name}'; vision encoders are {', '.join((QWEN, *LIGHT_ENCODERS))}")
    return LIGHT_ENCODERS[name]


def with_vision_encoder(config: PolicyConfig, name: str, weights: str = "") -> PolicyConfig:
    """Change the vision encoder of a configuration.

    Args:
        config: The configuration.
        name: The new vision encoder.
        weights: Folder or hub id of the weights from which its training starts; empty for random ones.

    Raises:
        UsageError: There is no such vision encoder, or there are weights for the backbone's own.
    """
    if name == QWEN and not weights:
        return config
    if name == QWEN:
        raise UsageError(f"vision weights need a vision encoder of {', '.join(LIGHT_ENCODERS)}")
    row = find_light_encoder(name)
    return replace(
        config,
        vision_encoder=name,
        vision_weights=weights,
        stem_channels=0,
        patch_size=row.stride,
        merge_size=row.merge,
    )


def tiny_policy_config(size: str = TINY, vision_encoder: str = QWEN, vision_weights: str = "") -> PolicyConfig:
    """Configuration of an untrained policy of that size with that vision encoder. UsageError if there is none."""
    row = MODELS.get(size)
    if not isinstance(row, Tiny):
        sizes = ", ".join(name for name, model in MODELS.items() if isinstance(model, Tiny))
        raise UsageError(f"unknown size '{size}'; sizes trained here are {sizes}")
    return with_vision_encoder(PolicyConfig(vision=row.vision, text=row.text), vision_encoder, vision_weights)
