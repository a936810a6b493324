"""The path through transformers' own code, as the note timed it: image processor, model, logits, all hidden states.

It shares the weights of our model, so that both fit on a device. With the extra [hub] its input is prepared by
qwen-vl-utils and transformers; without it, transformers prepares the views and the tokens are ours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.architectures import find_architecture
from vlatency.agent.realtime.cost.roofline import encode_work, visual_tokens
from vlatency.agent.vla.model.stem import STRIDE, cut
from vlatency.agent.vla.model.text import IMAGE_PAD, Prompts
from vlatency.agent.vla.model.views import resize
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.timing import note_preparation
from vlatency.experiments.timing.encode_stages import INSTRUCTION, Measurement, Samples, check_tokens, request_of
from vlatency.experiments.timing.ladder import prepared_as_in_the_note
from vlatency.experiments.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Inputs = dict[str, torch.Tensor]
"""The arguments of one call of the model."""
Parts = dict[str, Callable[[], list[Any]]]
"""Stages of the preparation. "prepare views" is all of it, and gives the inputs of every call."""


def transformers_model(model: VLA, attention: str) -> PreTrainedModel:
    """The model class of transformers with its output layer, on the weights of `model`.

    Args:
        model: neither quantized nor fused; its weights are shared, not copied.
        attention: kernel, by its name in transformers.
    """
    from transformers import AutoModelForImageTextToText

    backbone = model.encoder.backbone
    config = copy.deepcopy(backbone.config)
    # A model with random weights has a tokenizer of ours, whose tokens have other numbers.
    config.image_token_id = model.tokenizer.token_to_id(IMAGE_PAD)
    dtype, device = backbone.dtype, backbone.device
    with torch.device("meta"):
        theirs = AutoModelForImageTextToText.from_config(config, attn_implementation=attention, dtype=dtype)
    theirs.model.load_state_dict(backbone.state_dict(), assign=True)
    for name, buffer in backbone.named_buffers():
        parent, _, own = name.rpartition(".")
        theirs.model.get_submodule(parent).register_buffer(own, buffer, persistent=False)
    words = theirs.model.language_model.embed_tokens.weight
    if config.tie_word_embeddings:
        theirs.lm_head.weight = words
    else:
        output = torch.empty(theirs.lm_head.weight.shape, dtype=dtype, device=device).normal_(std=0.02)
        theirs.lm_head.weight = torch.nn.Parameter(output)
    return theirs.eval()


def measure_transformers_path(model: VLA, name: str, optimization: Optimization, watch: Stopwatch) -> Measurement:
    """Time transformers' own code on the same images and sequences as ours.

    Args:
        model: whose weights are used.
        name: of the model, in `agent.vla.model.zoo`.
        optimization: encoding joint (all views in one sequence) or separate (one call per view).
        watch: how often, and for how long.

    Raises:
        UsageError: the sequences do not hold all visual tokens.
    """
    theirs = transformers_model(model, optimization.attention)
    each = visual_tokens((optimization.width, optimization.height), find_architecture(name))
    as_in_the_note = prepared_as_in_the_note(name)
    parts = _as_in_the_note(model, optimization) if as_in_the_note else _with_our_tokens(model, optimization, each)
    prepare = parts["prepare views"]
    calls = prepare()
    tokens = sum(int((call["input_ids"] == theirs.config.image_token_id).sum()) for call in calls)
    lengths = tuple(call["input_ids"].shape[1] for call in calls)
    check_tokens(tokens, lengths, len(optimization.cameras), each, optimization.encoding)

    @torch.inference_mode()
    def forward(calls: list[Inputs], whole: bool = True) -> list[torch.Tensor]:
        if not whole:
            return [theirs.model(**call).last_hidden_state for call in calls]
        return [theirs(**call, output_hidden_states=True).hidden_states[-1].mean(dim=1) for call in calls]

    stages: dict[str, Samples] = {part: watch.for_parts().stage(work) for part, work in parts.items()}
    stages["forward"] = watch.for_parts().stage(lambda: forward(calls))
    stages["forward without logits"] = watch.for_parts().stage(lambda: forward(calls, whole=False))
    return Measurement(
        samples_ms=watch.whole(lambda: [features.float().cpu() for features in forward(prepare())]),
        stages=stages,
        visual_tokens=tokens,
        sequences=lengths,
        work=encode_work(
            len(optimization.cameras),
            (optimization.width, optimization.height),
            optimization.encoding,
            find_architecture(name),
            lengths,
        ),
        feature_error=None,
    )


def _as_in_the_note(model: VLA, optimization: Optimization) -> Parts:
    backbone, processor = model.encoder.backbone, note_preparation.processor_of(model)
    images = [Image.fromarray(image) for image in request_of(optimization.cameras).images.values()]
    groups = [images] if optimization.encoding == "joint" else [[image] for image in images]
    size = optimization.width, optimization.height
    messages = [note_preparation.message_of(group, size, INSTRUCTION) for group in groups]

    def prepared() -> list[Inputs]:
        inputs = [note_preparation.inputs_of(processor, message) for message in messages]
        return [each.to(backbone.device, backbone.dtype) for each in inputs]

    return {
        "prepare views": prepared,
        "apply_chat_template": lambda: [note_preparation.chat_text(processor, each) for each in messages],
        "process_vision_info": lambda: [note_preparation.resized_views(processor, each) for each in messages],
    }


def _with_our_tokens(model: VLA, optimization: Optimization, each: int) -> Parts:
    """Views prepared by transformers, or by a tiny model's own stem, and our token rows with `each` tokens a view."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    backbone, config = model.encoder.backbone, model.config
    images = list(request_of(optimization.cameras).images.values())
    size = optimization.width, optimization.height
    vision = backbone.config.vision_config
    processor = Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
    )
    encoding = "joint" if optimization.encoding == "joint" else "batched"
    rows = Prompts(model.tokenizer, config).rows(INSTRUCTION, optimization.cameras, each, encoding)
    texts = [_text(row.ids, row.visual, backbone.device) for row in rows]

    @torch.inference_mode()
    def through_stem(stem: torch.nn.Module) -> Inputs:
        views = torch.from_numpy(np.stack([resize(image, *size, config) for image in images])).to(backbone.device)
        patches, grid = cut(stem(views), config.patch_size // STRIDE, config.merge_size)
        return {"pixel_values": patches, "image_grid_thw": torch.tensor([[1, *grid]] * len(images))}

    def processed() -> Inputs:
        views = [Image.fromarray(image).resize(size) for image in images]
        inputs = processor(images=views, return_tensors="pt")
        pixels = inputs["pixel_values"].to(backbone.device, backbone.dtype)
        return {"pixel_values": pixels, "image_grid_thw": inputs["image_grid_thw"].to(backbone.device)}

    def prepared() -> list[Inputs]:
        stem = model.encoder.stem
        views = processed() if stem is None else through_stem(stem)
        return [
            {**text, **{name: part.chunk(len(texts))[index] for name, part in views.items()}}
            for index, text in enumerate(texts)
        ]

    return {"prepare views": prepared}


def _text(ids: tuple[int, ...], visual: tuple[bool, ...], device: torch.device) -> Inputs:
    inputs = torch.tensor([ids], device=device)
    kinds = torch.tensor([visual], dtype=torch.int32, device=device)
    return {"input_ids": inputs, "mm_token_type_ids": kinds, "attention_mask": torch.ones_like(inputs)}
