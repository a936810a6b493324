"""Keys and values of text that need not be read again, in the form of the caches that transformers' layers call."""

from __future__ import annotations

import torch


class Record:
    """Keeps the keys and values of the text that is read now."""

    def __init__(self) -> None:
        self.layers: list[torch.Tensor] = []
        """One tensor (2, R, heads, P, d) per layer so far: keys and values."""

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (R, heads, P, d) of a layer, which are returned as they are."""
        assert layer == len(self.layers)
        self.layers.append(torch.stack([key, value]))
        return key, value


class Recall:
    """Puts recorded keys and values before those of the tokens that are read now. It does not grow.

    Args:
        states: (layers, 2, R, heads, P, d) keys and values, as `Record` keeps them.
    """

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (R, heads, S, d) of a layer to (R, heads, P + S, d)."""
        old_key, old_value = self.states[layer]
        return torch.cat([old_key, key], dim=2), torch.cat([old_value, value], dim=2)
