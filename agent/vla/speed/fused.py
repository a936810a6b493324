"""Projections of the same input as one matrix product: query, key and value, and the two of a gated MLP."""

from __future__ import annotations

import torch
from torch import nn

TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of layers that modules of transformers call in this order on the same input."""


class _Joined(nn.Module):
    """One linear layer with the weights of several."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.sizes = [layer.out_features for layer in layers]
        biased = layers[0].bias is not None
        weight = layers[0].weight
        self.linear = nn.Linear(
            layers[0].in_features, sum(self.sizes), bias=biased, device=weight.device, dtype=weight.dtype
        )
        with torch.no_grad():
            torch.cat([layer.weight for layer in layers], out=self.linear.weight)
            if biased:
                torch.cat([layer.bias for layer in layers], out=self.linear.bias)
        self._left: list[torch.Tensor] = []

    def part(self, hidden: torch.Tensor, index: int) -> torch.Tensor:
        """Output of layer `index`. The first call computes all; each layer must be called once, in order."""
        if index == 0:
            self._left = list(self.linear(hidden).split(self.sizes, dim=-1))
        return self._left.pop(0)


class _Part(nn.Module):
    """Takes the place of one of the layers. The first one owns the joined layer."""

    def __init__(self, joined: _Joined, index: int) -> None:
        super().__init__()
        self.index = index
        if index == 0:
            self.joined = joined
        else:
            self._joined = [joined]  # in a list, so that torch does not count its weights again

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        joined = self.joined if self.index == 0 else self._joined[0]
        return joined.part(hidden, self.index)


def fuse(model: nn.Module) -> int:
    """Join these layers everywhere in `model`, in place, and return the number of products that this saves.

    The numbers are the same but their tensors are not: a fused model is for inference and cannot be saved.
    """
    saved = 0
    for module in list(model.modules()):
        for names in TOGETHER:
            # Not a subclass: what is quantized already has no weights to join.
            layers = [layer for name in names if type(layer := getattr(module, name, None)) is nn.Linear]
            if len(layers) == len(names):
                joined = _Joined(layers)
                for index, name in enumerate(names):
                    setattr(module, name, _Part(joined, index))
                saved += len(names) - 1
    return saved
