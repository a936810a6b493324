"""Shape of a policy: everything needed to build its modules before the weights are read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, COLOUR_NAMES, SHAPE_NAMES

TINY = "tiny"
Sense = Literal["age", "motion", "wrench"]
SENSES: tuple[Sense, ...] = get_args(Sense)
"""What a head can be trained without, to see what it is worth: the features' age, an earlier look, force and torque."""
QWEN = "qwen"
"""The vision encoder that belongs to the backbone."""


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
    """Configuration of a `VLA`, stored as `config.json` beside its weights.

    `backbone` is `"tiny"` (built from the dimensions here and trained with the head) or a hub id or
    local folder of a pretrained Qwen-VL, whose own configuration then decides the dimensions.
    """

    backbone: str = TINY
    vision: VisionDims = VisionDims()
    text: TextDims = TextDims()
    stem_channels: int = 32
    """Width of the convolutions before the vision tower; 0 for none, as in Qwen."""
    vision_encoder: str = QWEN
    """The backbone's own (`"qwen"`), or one of `zoo.LIGHT_ENCODERS` in its place."""
    vision_weights: str = ""
    """Folder or hub id of the weights from which the training of a light vision encoder began; empty: from nothing."""
    patch_size: int = 28
    """Side of a vision patch [px]. With `merge_size` 1 a view has as many visual tokens as in Qwen (14 px, merged
    by 2), from a quarter of the patches."""
    merge_size: int = 1
    """Patches a visual token spans along each side."""
    temporal_patch_size: int = 1
    """Frames a patch spans; a still image is repeated."""
    prompt: str = "<|im_start|>{instruction}"
    """Opening of every sequence. Text precedes the image so that causal attention lets visual tokens read it."""
    view_prompt: str = " {camera}<|vision_start|>"
    """What precedes the visual tokens of one view."""
    chunk: int = 8
    """Set-points an action chunk holds, at 10 Hz."""
    view_width: int = 256
    """Width of a view's features in the head, before and after pooling."""
    trunk_width: int = 320
    """Width of the action head's hidden layers."""
    sensor_width: int = 64
    """Width of the encoded sensor readings."""
    without: tuple[Sense, ...] = ()
    """Inputs that the head never gets."""
    flow_width: int = 0
    """Width of the flow head's hidden layers; 0 for a policy without that head."""
    colours: tuple[str, ...] = COLOUR_NAMES
    shapes: tuple[str, ...] = SHAPE_NAMES
    cameras: tuple[str, ...] = CAMERA_ORDER
    """Known views; a view's index here is its id."""

    @property
    def cell(self) -> int:
        """Side of the square that becomes one visual token [px]."""
        return self.patch_size * self.merge_size

    def view_ids(self, cameras: tuple[str, ...]) -> list[int]:
        """Ids of the named views. Raises `UsageError` for a view the policy does not know."""
        for camera in cameras:
            if camera not in self.cameras:
                raise UsageError(f"the policy does not know camera {camera!r}: choose from {', '.join(self.cameras)}")
        return [self.cameras.index(camera) for camera in cameras]

    def to_json(self) -> str:
        """The configuration as the text of `config.json`."""
        return json.dumps({"model_type": "vlatency", **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> PolicyConfig:
        """Inverse of `to_json`. Raises `UsageError` if the text is not such a configuration."""
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
