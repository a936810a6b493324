"""Applies an optimization to a model: kernels, quantization, compilation, shortcuts."""

from __future__ import annotations

from vlatency.agent.optimization import Optimization, check_device
from vlatency.agent.vla.model.encoder import PLAIN, VLEncoder, one_after_another
from vlatency.agent.vla.speed.attention import use_kernel
from vlatency.agent.vla.speed.compiled import CudaGraphs, compile_layers
from vlatency.agent.vla.speed.fused import fuse
from vlatency.agent.vla.speed.prefix import Prefixes
from vlatency.agent.vla.speed.quantize import quantize
from vlatency.agent.vla.speed.streams import on_streams


def apply_optimization(encoder: VLEncoder, optimization: Optimization) -> None:
    """Change the encoder in place, so that it computes the way `optimization` says.

    Kernels, shortcuts and the way of launching can be changed again by another call. Layers are quantized, fused or
    compiled once and for all.

    Raises:
        UsageError: The device or the installed packages lack something. The message says what works instead.
        ValueError: The layers were already quantized, fused or compiled for another optimization.
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
    encoder.run_views = on_streams if optimization.encoding == "streams" else one_after_another
    recorded = optimization.compile != "none" and device.type == "cuda"
    encoder.launch = CudaGraphs(encoder.views_read) if recorded else None
