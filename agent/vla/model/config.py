"""The configuration of a policy: all that is needed to build its modules before the weights are loaded."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, COLOUR_NAMES, SHAPE_NAMES

TINY = "tiny"
Sense = Literal["age", "motion", "wrench"]
SENSES: tuple[Sense, ...] = get_args(Sense)
"""Inputs that a head can be trained without, to see what they contribute: feature age, an earlier look, wrench."""
QWEN = "qwen"
"""Name of the vision encoder that belongs to the backbone."""

Width = Annotated[int, Field(ge=1, le=2**14)]
Layers = Annotated[int, Field(ge=0, le=2**9)]
Some = Annotated[int, Field(ge=0, le=2**14)]
"""A width, or 0 for nothing of that kind."""
AS_WRITTEN = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True)
class VisionDims:
    """Dimensions of the tiny vision tower (names as in transformers' `Qwen2_5_VLVisionConfig`)."""

    __pydantic_config__: ClassVar = AS_WRITTEN

    depth: Layers = 3
    hidden_size: Width = 128
    num_heads: Width = 4
    intermediate_size: Width = 384


@dataclass(frozen=True)
class TextDims:
    """Dimensions of the tiny language model (names as in transformers' `Qwen2_5_VLTextConfig`)."""

    __pydantic_config__: ClassVar = AS_WRITTEN

    num_hidden_layers: Layers = 2
    hidden_size: Width = 128
    num_attention_heads: Width = 4
    num_key_value_heads: Width = 2
    intermediate_size: Width = 384


@dataclass(frozen=True)
class PolicyConfig:
    """Configuration of a `VLA`, stored as `config.json` beside its weights."""

    __pydantic_config__: ClassVar = AS_WRITTEN

    backbone: str = TINY
    """`"tiny"`: built from the dimensions here and trained with the head. Or the hub id or local folder of a pretrained
    Qwen-VL, whose own configuration decides the dimensions."""
    vision: VisionDims = VisionDims()
    text: TextDims = TextDims()
    stem_channels: Some = 32
    """Channels of the convolutions before the vision tower; 0 for no such convolutions, as in Qwen."""
    vision_encoder: str = QWEN
    """`"qwen"`, the backbone's own, or one of `zoo.LIGHT_ENCODERS` in its place."""
    vision_weights: str = ""
    """Folder or hub id of the weights from which a light vision encoder was trained; empty for random ones."""
    patch_size: Width = 28
    """Side of a vision patch [px]. With `merge_size` 1 a view has as many visual tokens as in Qwen (14 px, merged by 2)
    from a quarter of the patches."""
    merge_size: Width = 1
    """Patches along each side of a visual token."""
    temporal_patch_size: Width = 1
    """Frames in a patch; a still image is repeated."""
    prompt: str = "<|im_start|>{instruction}"
    """Start of every sequence. Text precedes the images, so that visual tokens can read it under causal attention."""
    view_prompt: str = " {camera}<|vision_start|>"
    """What precedes the visual tokens of one view."""
    chunk: Width = 8
    """Set-points in a chunk, 100 ms apart."""
    view_width: Width = 256
    """Width of a view's features in the head, before and after pooling."""
    trunk_width: Width = 320
    """Width of the action head's hidden layers."""
    sensor_width: Width = 64
    """Width of the encoded sensor readings."""
    without: tuple[Sense, ...] = ()
    """Inputs that the head does not get."""
    flow_width: Some = 0
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
            values = json.loads(text)
            if not isinstance(values, dict) or values.pop("model_type", None) != "vlatency":
                raise UsageError('not a policy of this project: "model_type" is not "vlatency"')
            return TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise UsageError(f"not a policy configuration ({place}: {first['msg']})") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"not a policy configuration ({error})") from None
