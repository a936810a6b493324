"""The shortcut `prefix`: text before the views is read once, because under causal attention no view can change it."""

from __future__ import annotations

from collections import OrderedDict

import torch
from transformers import PreTrainedModel

from vlatency.agent.vla.model.families import Qwen2VL
from vlatency.agent.vla.model.kv_cache import Record
from vlatency.agent.vla.model.layout import Layout, LayoutKey, Layouts


class Prefixes:
    """Keys and values of the text before the first view, computed once for each instruction and set of views.

    They are valid for the weights that computed them.

    Args:
        kept: How many of them to keep, the most recently used.
    """

    def __init__(self, kept: int = 64) -> None:
        self.kept = kept
        self._states: OrderedDict[tuple[object, ...], torch.Tensor] = OrderedDict()

    def __call__(
        self, model: PreTrainedModel, family: Qwen2VL, layouts: Layouts, key: LayoutKey
    ) -> tuple[Layout, torch.Tensor, torch.Tensor | None]:
        """What is left to read, and what is known of the text before it.

        Returns:
            The layout of the rest; keys and values (layers, 2, R, heads, P, d) of the text before it; and which of both
            each token of the rest sees, boolean (R, 1, S, P + S), or None if that is plainly causal.
        """
        before, rest, seen = layouts.parted(model, key)
        known = (key.instructions, key.cameras, key.encoding, before.ids.device)
        if known not in self._states:
            self._states[known] = self._read(model, family, before)
            if len(self._states) > self.kept:
                self._states.popitem(last=False)
        self._states.move_to_end(known)
        return rest, self._states[known], seen

    def _read(self, model: PreTrainedModel, family: Qwen2VL, before: Layout) -> torch.Tensor:
        record = Record()
        text = model.language_model
        family.read(text, text.embed_tokens(before.ids), before, [], record)
        return torch.stack(record.layers)
