"""The configuration of a policy: all that is needed to build its modules before the weights are loaded."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, COLOUR_NAMES, SHAPE_NAMES

TINY = "tiny"
Sense = Literal["age", "motion", "wrench"]
SENSES: tuple[Sense, ...] = get_args(Sense)
"""Inputs that a head can be trained without, to see what they contribute: feature age, an earlier look, wrench."""
QWEN = "qwen"
"""Name of the vision encoder that belongs to the backbone."""


@dataclass(frozen=True)
class VisionDims:
    """Dimensions of the tiny vision tower (names as in transformers' `Qwen2_5_VLVisionConfig`)."""

    depth: int = 3
    hidden_size: int = 128
    num_heads: int = 4
    intermediate_size: int = 384


@dataclass(frozen=True)
class TextDims:
    """Dimensions of the tiny language model (names as in transformers' `Qwen2_5_VLTextConfig`)."""

    num_hidden_layers: int = 2
    hidden_size: int = 128
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    intermediate_size: int = 384


@dataclass(frozen=True)
class PolicyConfig:
    """Configuration of a `VLA`, stored as `config.json` beside its weights."""

    backbone: str = TINY
    """`"tiny"`: built from the dimensions here and trained with the head. Or the hub id or local folder of a pretrained
    Qwen-VL, whose own configuration decides the dimensions."""
    vision: VisionDims = VisionDims()
    text: TextDims = TextDims()
    stem_channels: int = 32
    """Channels of the convolutions before the vision tower; 0 for no such convolutions, as in Qwen."""
    vision_encoder: str = QWEN
    """`"qwen"`, the backbone's own, or one of `zoo.LIGHT_ENCODERS` in its place."""
    vision_weights: str = ""
    """Folder or hub id of the weights from which a light vision encoder was trained; empty for random ones."""
    patch_size: int = 28
    """Side of a vision patch [px]. With `merge_size` 1 a view has as many visual tokens as in Qwen (14 px, merged by 2)
    from a quarter of the patches."""
    merge_size: int = 1
    """Patches along each side of a visual token."""
    temporal_patch_size: int = 1
    """Frames in a patch; a still image is repeated."""
    prompt: str = "<|im_start|>{instruction}"
    """Start of every sequence. Text precedes the images, so that visual tokens can read it under causal attention."""
    view_prompt: str = " {camera}<|vision_start|>"
    """What precedes the visual tokens of one view."""
    chunk: int = 8
    """Set-points in a chunk, 100 ms apart."""
    view_width: int = 256
    """Width of a view's features in the head, before and after pooling."""
    trunk_width: int = 320
    """Width of the action head's hidden layers."""
    sensor_width: int = 64
    """Width of the encoded sensor readings."""
    without: tuple[Sense, ...] = ()
    """Inputs that the head does not get."""
    flow_width: int = 0
    """Width of the flow head's hidden layers; 0 for a policy without that head."""
    colours: tuple[str, ...] = COLOUR_NAMES
    shapes: tuple[str, ...] = SHAPE_NAMES
    cameras: tuple[str, ...] = CAMERA_ORDER
    """Known views. The index of a view is its id."""

    @property
    def cell(self) -> int:
        """Side of the square that becomes one visual token [px]."""
        return self.patch_size * self.merge_size

    def view_ids(self, cameras: tuple[str, ...]) -> list[int]:
        """Ids of the views. UsageError for one that the policy does not know."""
        for camera in cameras:
            if camera not in self.cameras:
                raise UsageError(f"the policy does not know camera {camera!r}: choose from {', '.join(self.cameras)}")
        return [self.cameras.index(camera) for camera in cameras]

    def to_json(self) -> str:
        """The configuration as the content of `config.json`."""
        return json.dumps({"model_type": "vlatency", **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PolicyConfig:
        """Inverse of `to_json`. UsageError if the text is no such configuration."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("model_type", None) != "vlatency":
                raise UsageError('not a policy of this project: "model_type" is not "vlatency"')
            unknown = set(data) - {field.name for field in fields(cls)}
            if unknown:
                raise UsageError(f"unknown keys {', '.join(sorted(unknown))}")
            data["vision"] = VisionDims(**data["vision"])
            data["text"] = TextDims(**data["text"])
            for name in ("colours", "shapes", "cameras", "without"):
                data[name] = tuple(data[name])
            return cls(**data)
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise UsageError(f"not a policy configuration ({type(error).__name__}: {error})") from error
