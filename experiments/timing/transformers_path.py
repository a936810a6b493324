"""The path through transformers' own code, as the note timed it: image processor, model, logits, all hidden states.

It shares the weights of our model, so that both fit on a device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.architectures import find_architecture
from vlatency.agent.realtime.cost.roofline import encode_work, visual_tokens
from vlatency.agent.vla.model.stem import STRIDE, cut
from vlatency.agent.vla.model.text import Prompts
from vlatency.agent.vla.model.views import resize
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.timing.encode_stages import INSTRUCTION, Measurement, Samples, check_tokens, request_of
from vlatency.experiments.timing.stopwatch import Stopwatch

Inputs = dict[str, torch.Tensor]


def transformers_model(model: VLA, attention: str) -> PreTrainedModel:
    """The model class of transformers with its output layer, on the weights of `model`.

    Args:
        model: neither quantized nor fused; its weights are shared, not copied.
        attention: kernel, by its name in transformers.
    """
    backbone = model.encoder.backbone
    config = copy.deepcopy(backbone.config)
    dtype, device = backbone.dtype, backbone.device
    with torch.device("meta"):
        theirs = AutoModelForImageTextToText.from_config(config, attn_implementation=attention, dtype=dtype)
    theirs.model.load_state_dict(backbone.state_dict(), assign=True)
    for name, buffer in backbone.named_buffers():
        parent, _, own = name.rpartition(".")
        theirs.model.get_submodule(parent).register_buffer(own, buffer, persistent=False)
    words = theirs.model.language_model.embed_tokens.weight
    if config.tie_word_embeddings or config.text_config.tie_word_embeddings:
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
    prepare = _preparation(model, optimization)
    each = visual_tokens((optimization.width, optimization.height), find_architecture(name))
    rows = Prompts(model.tokenizer, model.config).rows(
        INSTRUCTION, optimization.cameras, each, "joint" if optimization.encoding == "joint" else "batched"
    )
    texts = [_text(row.ids, row.visual, watch.device) for row in rows]
    tokens = sum(sum(row.visual) for row in rows)
    lengths = tuple(len(row.ids) for row in rows)
    check_tokens(tokens, lengths, len(optimization.cameras), each, optimization.encoding)

    @torch.inference_mode()
    def forward(views: Inputs, whole: bool = True) -> list[torch.Tensor]:
        shares = [_share(views, index, len(texts)) for index in range(len(texts))]
        if not whole:
            return [theirs.model(**text, **share).last_hidden_state for text, share in zip(texts, shares, strict=True)]
        return [
            theirs(**text, **share, output_hidden_states=True).hidden_states[-1].mean(dim=1)
            for text, share in zip(texts, shares, strict=True)
        ]

    views = prepare()
    parts: dict[str, Callable[[], object]] = {
        "prepare views": prepare,
        "forward": lambda: forward(views),
        "forward without logits": lambda: forward(views, whole=False),
    }
    stages: dict[str, Samples] = {part: watch.for_parts().stage(work) for part, work in parts.items()}
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


def _preparation(model: VLA, optimization: Optimization) -> Callable[[], Inputs]:
    """A function from camera images to the model's input on its device; a tiny model's own stem comes before it."""
    backbone, config = model.encoder.backbone, model.config
    images = list(request_of(optimization.cameras).images.values())
    size = optimization.width, optimization.height
    vision = backbone.config.vision_config
    processor = Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
    )

    @torch.inference_mode()
    def through_stem() -> Inputs:
        stem = model.encoder.stem
        assert stem is not None
        views = torch.from_numpy(np.stack([resize(image, *size, config) for image in images])).to(backbone.device)
        patches, grid = cut(stem(views), config.patch_size // STRIDE, config.merge_size)
        return {"pixel_values": patches, "image_grid_thw": torch.tensor([[1, *grid]] * len(images))}

    def processed() -> Inputs:
        views = [Image.fromarray(image).resize(size) for image in images]
        inputs = processor(images=views, return_tensors="pt")
        pixels = inputs["pixel_values"].to(backbone.device, backbone.dtype)
        return {"pixel_values": pixels, "image_grid_thw": inputs["image_grid_thw"].to(backbone.device)}

    return processed if model.encoder.stem is None else through_stem


def _text(ids: tuple[int, ...], visual: tuple[bool, ...], device: torch.device) -> Inputs:
    inputs = torch.tensor([ids], device=device)
    kinds = torch.tensor([visual], dtype=torch.int32, device=device)
    return {"input_ids": inputs, "mm_token_type_ids": kinds, "attention_mask": torch.ones_like(inputs)}


def _share(views: Inputs, index: int, of: int) -> Inputs:
    """The part of the views that belongs to call `index` of `of`."""
    return {name: tensor.chunk(of)[index] for name, tensor in views.items()}
