"""Applies an optimization to a model, and says what that does to its features."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from agent.config import Optimization, check_device
from agent.vla.attention import use_kernel
from agent.vla.compiled import compiled
from agent.vla.fused import fuse
from agent.vla.prefix import Prefixes
from agent.vla.quantize import quantize

if TYPE_CHECKING:
    from agent.realtime.requests import Encode
    from agent.vla.encoder import VLEncoder
    from agent.vla.policy import VLAPolicy


def tune(encoder: VLEncoder, optimization: Optimization) -> None:
    """Kernels, quantization, compilation and shortcuts of the encoder, in place.

    Raises:
        UsageError: the device, or what is installed, lacks something; the line says what works instead.
        ValueError: the weights were already fused or quantized for another optimization.
    """
    device = encoder.backbone.device
    check_device(optimization, device.type)
    use_kernel(encoder.backbone, optimization.attention)
    weights = (optimization.quant, "fused" in optimization.shortcuts)
    if encoder.weights not in (weights, PLAIN):
        raise ValueError(f"the weights are already {encoder.weights}, not {weights}: load the policy again")
    if encoder.weights != weights:
        for part in (encoder.backbone.visual, encoder.backbone.language_model):
            if "fused" in optimization.shortcuts:
                fuse(part)
            if optimization.quant != "none":
                quantize(part, optimization.quant)
        encoder.weights = weights
    encoder.prefixes = Prefixes() if "prefix" in optimization.shortcuts else None
    how = optimization.compile
    encoder.launch = None if how == "none" else compiled(encoder.views_read, how, device)


PLAIN = ("none", False)
"""Weights as loaded: not quantized, not fused."""


def plain(optimization: Optimization) -> Optimization:
    """What `optimization` is measured against: the same views and sequences, nothing approximated."""
    return replace(optimization, attention="sdpa", quant="none", compile="none", shortcuts=())


def feature_error(policy: VLAPolicy, optimization: Optimization, requests: Sequence[Encode]) -> float:
    """Norm of the change of the features over the norm of the features, under the `plain` reference at the same
    precision; `policy`, which has no optimization of its own yet, stays as it is."""
    from agent.vla.policy import VLAPolicy

    def features(chosen: Optimization) -> np.ndarray:
        answers = VLAPolicy(copy.deepcopy(policy.model), chosen).encode(requests)
        return np.stack([answer.newest.views for answer in answers]).astype(np.float64)

    reference = features(plain(optimization))
    return float(np.linalg.norm(features(optimization) - reference) / np.linalg.norm(reference))
