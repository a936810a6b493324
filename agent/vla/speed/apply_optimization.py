"""Applies an optimization to a model, and says what that does to its features."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vlatency.agent.optimization import Optimization, check_device
from vlatency.agent.vla.speed.attention import use_kernel
from vlatency.agent.vla.speed.compiled import CudaGraphs, compile_layers
from vlatency.agent.vla.speed.fused import fuse
from vlatency.agent.vla.speed.prefix import Prefixes
from vlatency.agent.vla.speed.quantize import quantize

if TYPE_CHECKING:
    from vlatency.agent.realtime.requests import Encode
    from vlatency.agent.vla.model.encoder import VLEncoder
    from vlatency.agent.vla.policy import VLAPolicy


def tune(encoder: VLEncoder, optimization: Optimization) -> None:
    """Kernels, quantization, compilation and shortcuts of the encoder, in place.

    Raises:
        UsageError: the device, or what is installed, lacks something; the line says what works instead.
        ValueError: the layers were already quantized, fused or compiled for another optimization.
    """
    device = encoder.backbone.device
    check_device(optimization, device.type)
    use_kernel(encoder.backbone, optimization.attention)
    layers = (optimization.quant, "fused" in optimization.shortcuts, optimization.compile == "compile")
    if encoder.layers not in (layers, PLAIN):
        raise ValueError(f"the layers are already {encoder.layers}, not {layers}: load the policy again")
    if encoder.layers != layers:
        for part in (encoder.backbone.visual, encoder.backbone.language_model):
            if "fused" in optimization.shortcuts:
                fuse(part)
            if optimization.quant != "none":
                quantize(part, optimization.quant)
        if optimization.compile == "compile":
            compile_layers(encoder.backbone)
        encoder.layers = layers
    encoder.prefixes = Prefixes() if "prefix" in optimization.shortcuts else None
    recorded = optimization.compile != "none" and device.type == "cuda"
    encoder.launch = CudaGraphs(encoder.views_read) if recorded else None


PLAIN = ("none", False, False)
"""Layers as loaded: not quantized, fused or compiled."""


def plain(optimization: Optimization) -> Optimization:
    """What `optimization` is measured against: the same views and sequences, nothing approximated."""
    return replace(optimization, attention="sdpa", quant="none", compile="none", shortcuts=())


def feature_distance(policy: VLAPolicy, reference: VLAPolicy, requests: Sequence[Encode]) -> float:
    """Norm of the difference of their features over the norm of the reference's."""

    def features(of: VLAPolicy) -> np.ndarray:
        return np.stack([answer.newest.views for answer in of.encode(requests)]).astype(np.float64)

    expected = features(reference)
    return float(np.linalg.norm(features(policy) - expected) / np.linalg.norm(expected))


def feature_error(policy: VLAPolicy, optimization: Optimization, requests: Sequence[Encode]) -> float:
    """`feature_distance` of the same model under `optimization` from itself at the same precision with nothing
    approximated; `policy`, whose weights must not be quantized or fused, stays as it is."""
    from vlatency.agent.vla.policy import VLAPolicy

    tuned, reference = (
        VLAPolicy(copy.deepcopy(policy.model), chosen) for chosen in (optimization, plain(optimization))
    )
    return feature_distance(tuned, reference, requests)
