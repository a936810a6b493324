"""What the language model keeps of the text before the views: under causal attention no view can change it."""

from __future__ import annotations

from collections import OrderedDict

import torch
from transformers import PreTrainedModel

from vlatency.agent.optimization import Encoding
from vlatency.agent.vla.model.families import Qwen2VL
from vlatency.agent.vla.model.layout import Layout, Layouts


class _Record:
    """Passes keys and values through, and keeps them: what transformers calls a cache, before anything is in it."""

    def __init__(self) -> None:
        self.layers: list[torch.Tensor] = []

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (R, heads, P, d) of a layer."""
        assert layer == len(self.layers)
        self.layers.append(torch.stack([key, value]))
        return key, value


class Recall:
    """Puts kept keys and values before those of what is read now: a cache of transformers that does not grow."""

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (R, heads, S, d) of a layer to (R, heads, P + S, d)."""
        old_key, old_value = self.states[layer]
        return torch.cat([old_key, key], dim=2), torch.cat([old_value, value], dim=2)


class Prefixes:
    """Keys and values of the text before the first view, computed once for each instruction and set of views.

    They hold for the weights they were computed with.
    """

    def __init__(self, kept: int = 64) -> None:
        self.kept = kept
        self._states: OrderedDict[tuple, torch.Tensor] = OrderedDict()

    def __call__(
        self,
        model: PreTrainedModel,
        family: Qwen2VL,
        layouts: Layouts,
        instructions: tuple[str, ...],
        cameras: tuple[str, ...],
        grid: tuple[int, int],
        encoding: Encoding,
    ) -> tuple[Layout, torch.Tensor, torch.Tensor | None]:
        """The layout of the rest, keys and values (layers, 2, R, heads, P, d) of the text before it, and who of the
        rest sees whom of both (R, 1, S, P + S), None if that is plainly causal."""
        before, rest, seen = layouts.parted(model, instructions, cameras, grid, encoding)
        key = (instructions, cameras, encoding, before.ids.device)
        if key not in self._states:
            self._states[key] = self._read(model, family, before)
            if len(self._states) > self.kept:
                self._states.popitem(last=False)
        self._states.move_to_end(key)
        return rest, self._states[key], seen

    def _read(self, model: PreTrainedModel, family: Qwen2VL, before: Layout) -> torch.Tensor:
        record = _Record()
        text = model.language_model
        family.read(text, text.embed_tokens(before.ids), before, [], record)
        return torch.stack(record.layers)
