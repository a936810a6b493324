"""Batches of token rows as tensors, with their M-RoPE positions, computed once each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from vlatency.agent.optimization import Encoding
from vlatency.agent.vla.model.text import Prompts, Row

K = TypeVar("K")


@dataclass(frozen=True)
class Layout:
    """R rows, padded on the right to a common length S.

    Under causal attention no token sees the padding behind it, so no mask is needed.
    """

    ids: torch.Tensor
    """(R, S) token ids."""
    positions: torch.Tensor
    """(3, R, S) time, height and width positions of M-RoPE."""
    visual: torch.Tensor
    """Indices of the visual tokens in the flattened rows (R * S): in the order of rows, then views, then raster."""


_Row = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Ids (S,), positions (S, 3) and indices of the visual tokens of one row."""


def _stacked(rows: list[_Row], device: torch.device) -> Layout:
    ids = pad_sequence([row[0] for row in rows], batch_first=True)
    positions = pad_sequence([row[1] for row in rows], batch_first=True).permute(2, 0, 1)
    visual = torch.cat([row[2] + index * ids.shape[1] for index, row in enumerate(rows)])
    return Layout(ids.to(device), positions.contiguous().to(device), visual.to(device))


def _seen(starts: list[int], rest: int, device: torch.device) -> torch.Tensor | None:
    """Which tokens of both parts each token of the second part sees, boolean (R, 1, S, P + S).

    It sees the `starts` tokens of its row in the first part, not their padding to P, and the second part causally.

    Returns:
        The mask, or None if nothing is padded.
    """
    longest = max(starts)
    if min(starts) == longest:
        return None
    before = torch.arange(longest) < torch.tensor(starts)[:, None, None]
    causal = torch.ones(rest, rest, dtype=torch.bool).tril()
    return torch.cat([before.expand(-1, rest, -1), causal.expand(len(starts), -1, -1)], dim=2)[:, None].to(device)


@dataclass(frozen=True)
class LayoutKey:
    """All that a layout depends on; never pixels."""

    instructions: tuple[str, ...]
    cameras: tuple[str, ...]
    grid: tuple[int, int]
    """(rows, columns) of visual tokens in a view."""
    encoding: Encoding


class Layouts:
    """Builds layouts and keeps them.

    Args:
        prompts: Turns instructions and cameras into token rows.
        kept: How many layouts to keep, the most recently used.
    """

    def __init__(self, prompts: Prompts, kept: int = 64) -> None:
        self.prompts = prompts
        self.kept = kept
        self._positions: dict[tuple[object, ...], torch.Tensor] = {}
        self._rows: dict[tuple[object, ...], _Row] = {}
        self._batches: OrderedDict[tuple[object, ...], Layout] = OrderedDict()
        self._parted: OrderedDict[tuple[object, ...], tuple[Layout, Layout, torch.Tensor | None]] = OrderedDict()

    # What is kept must also serve training: tensors made in inference mode could not be saved for backward.
    @torch.inference_mode(False)
    def __call__(self, model: PreTrainedModel, key: LayoutKey) -> Layout:
        """Rows of every instruction with every camera."""
        device = next(model.parameters()).device
        return self._latest(self._batches, (key, device), lambda: _stacked(self._rows_of(model, key), device))

    @torch.inference_mode(False)
    def parted(self, model: PreTrainedModel, key: LayoutKey) -> tuple[Layout, Layout, torch.Tensor | None]:
        """The same in two parts: the text before the first view, P tokens at most, and the rest, S at most.

        Returns:
            Both layouts, and which tokens of both each token of the rest sees, boolean (R, 1, S, P + S), or None if
            that is plainly causal.
        """
        device = next(model.parameters()).device

        def parts() -> tuple[Layout, Layout, torch.Tensor | None]:
            rows = self._rows_of(model, key)
            starts = [int(visual[0]) for _, _, visual in rows]
            before = [(row[0][:start], row[1][:start], row[2][:0]) for row, start in zip(rows, starts, strict=True)]
            rest = [(row[0][start:], row[1][start:], row[2] - start) for row, start in zip(rows, starts, strict=True)]
            layout = _stacked(rest, device)
            return _stacked(before, device), layout, _seen(starts, layout.ids.shape[1], device)

        return self._latest(self._parted, (key, device), parts)

    def _latest(self, store: OrderedDict[tuple[object, ...], K], key: tuple[object, ...], make: Callable[[], K]) -> K:
        """What `store` holds under `key`, made if it is missing; the least recently used entry makes room."""
        if key not in store:
            store[key] = make()
            if len(store) > self.kept:
                store.popitem(last=False)
        store.move_to_end(key)
        return store[key]

    def _rows_of(self, model: PreTrainedModel, key: LayoutKey) -> list[_Row]:
        tokens = key.grid[0] * key.grid[1]
        return [
            self._row(model, row, key.grid)
            for instruction in key.instructions
            for row in self.prompts.rows(instruction, key.cameras, tokens, key.encoding)
        ]

    def _row(self, model: PreTrainedModel, row: Row, grid: tuple[int, int]) -> _Row:
        key = (row.ids, grid)
        if key not in self._rows:
            ids = torch.tensor(row.ids)
            visual = torch.tensor(row.visual)
            self._rows[key] = (ids, self._row_positions(model, row, grid), visual.nonzero().squeeze(1))
        return self._rows[key]

    def _row_positions(self, model: PreTrainedModel, row: Row, grid: tuple[int, int]) -> torch.Tensor:
        """(S, 3) positions by the rule of the model itself."""
        key = (row.visual, grid)
        if key not in self._positions:
            merge = model.config.vision_config.spatial_merge_size
            views = sum(row.visual) // (grid[0] * grid[1])
            positions, _ = model.get_rope_index(
                torch.tensor([row.ids]),
                # Without token types transformers silently falls back to one-dimensional positions.
                mm_token_type_ids=torch.tensor([row.visual], dtype=torch.int32),
                image_grid_thw=torch.tensor([[1, grid[0] * merge, grid[1] * merge]] * views),
            )
            self._positions[key] = positions[:, 0].T.contiguous()
        return self._positions[key]
