"""Text and views prepared by qwen-vl-utils and transformers, with the calls of `vl_optimization_note.md`.

Needs the extra [hub], which `ladder.prepared_as_in_the_note` looks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer

from vlatency.agent.vla.model.families import family_of
from vlatency.agent.vla.model.vla import VLA
from vlatency.sim.errors import UsageError

CHAT = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The chat template of Qwen2-VL and Qwen2.5-VL, as far as images and text need it."""

Message = dict[str, Any]


def processor_of(model: VLA) -> Any:
    """The processor that `AutoProcessor` makes of the model's configuration and tokenizer. Nothing is downloaded.

    Raises:
        UsageError: The extra [hub] is installed, but cannot be imported.
    """
    _process_vision_info()
    from transformers import AutoProcessor, PreTrainedTokenizerFast, Qwen2VLImageProcessor

    config = model.encoder.backbone.config
    vision, (mean, std) = config.vision_config, family_of(config.model_type).normalisation
    images = Qwen2VLImageProcessor(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        image_mean=mean,
        image_std=std,
    )
    # A copy: in the model's own, the special tokens of a text are plain text.
    words = Tokenizer.from_str(model.tokenizer.to_str())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<|endoftext|>", chat_template=CHAT)
    with TemporaryDirectory() as folder:
        for part in (config, images, tokenizer):
            part.save_pretrained(folder)
        return AutoProcessor.from_pretrained(folder)


def message_of(images: Sequence[Image.Image], size: tuple[int, int], instruction: str) -> Message:
    """What a user says: camera images, each to be resized to about `size` (width, height) [px], and an instruction."""
    width, height = size
    views = [{"type": "image", "image": image, "resized_width": width, "resized_height": height} for image in images]
    return {"role": "user", "content": [*views, {"type": "text", "text": instruction}]}


def chat_text(processor: Any, message: Message) -> str:
    """The text of a prompt, with one placeholder for each image."""
    text: str = processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    return text


def resized_views(processor: Any, message: Message) -> list[Image.Image]:
    """The images of a message, resized."""
    views: list[Image.Image] = _process_vision_info()([message], image_patch_size=processor.image_processor.patch_size)[
        0
    ]
    return views


def inputs_of(processor: Any, message: Message) -> Any:
    """What the model takes, on the CPU: tokens, patches, and the grid of each image."""
    text, views = chat_text(processor, message), resized_views(processor, message)
    return processor(text=[text], images=views, return_tensors="pt")


def _process_vision_info() -> Any:
    try:
        from qwen_vl_utils import process_vision_info
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"qwen-vl-utils cannot be imported beside torch {torch.__version__} ({error}): "
            "install the versions of constraints.txt, or uninstall it"
        ) from error
    return process_vision_info
