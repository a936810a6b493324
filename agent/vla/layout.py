"""Batches of token rows as tensors, with M-RoPE positions computed once per layout."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from agent.config import Encoding
from agent.vla.text import Prompts, Row


@dataclass(frozen=True)
class Layout:
    """Rows padded on the right to one length S.

    Under causal attention no token sees the padding behind it, so no mask is needed.
    """

    ids: torch.Tensor
    """(R, S) token ids."""
    positions: torch.Tensor
    """(3, R, S) time, height and width positions of M-RoPE."""
    visual: torch.Tensor
    """Indices of the visual tokens in the flattened (R * S), in the order rows, views, raster."""


class Layouts:
    """Builds and remembers layouts. The rows depend only on text, views and grid, never on pixels."""

    def __init__(self, prompts: Prompts, kept: int = 64) -> None:
        self.prompts = prompts
        self.kept = kept
        self._positions: dict[tuple, torch.Tensor] = {}
        self._rows: dict[tuple, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        self._batches: OrderedDict[tuple, Layout] = OrderedDict()

    # What is kept must also serve training: tensors made in inference mode could not be saved for backward.
    @torch.inference_mode(False)
    def __call__(
        self,
        model: PreTrainedModel,
        instructions: tuple[str, ...],
        cameras: tuple[str, ...],
        grid: tuple[int, int],
        encoding: Encoding,
    ) -> Layout:
        """Layout of `instructions` x `cameras`, `grid` = (rows, columns) of visual tokens in a view."""
        device = next(model.parameters()).device
        key = (instructions, cameras, grid, encoding, device)
        if key in self._batches:
            self._batches.move_to_end(key)
            return self._batches[key]
        rows = [
            self._row(model, row, grid)
            for instruction in instructions
            for row in self.prompts.rows(instruction, cameras, grid[0] * grid[1], encoding)
        ]
        ids = pad_sequence([row[0] for row in rows], batch_first=True)
        positions = pad_sequence([row[1] for row in rows], batch_first=True).permute(2, 0, 1)
        length = ids.shape[1]
        visual = torch.cat([row[2] + index * length for index, row in enumerate(rows)])
        layout = Layout(ids.to(device), positions.contiguous().to(device), visual.to(device))
        self._batches[key] = layout
        if len(self._batches) > self.kept:
            self._batches.popitem(last=False)
        return layout

    def _row(
        self, model: PreTrainedModel, row: Row, grid: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        key = (row.ids, grid)
        if key not in self._rows:
            ids = torch.tensor(row.ids)
            visual = torch.tensor(row.visual)
            self._rows[key] = (ids, self._row_positions(model, row, grid), visual.nonzero().squeeze(1))
        return self._rows[key]

    def _row_positions(self, model: PreTrainedModel, row: Row, grid: tuple[int, int]) -> torch.Tensor:
        """(S, 3) positions from the model's own rule."""
        key = (row.visual, grid)
        if key not in self._positions:
            merge = model.config.vision_config.spatial_merge_size
            views = sum(row.visual) // (grid[0] * grid[1])
            positions, _ = model.get_rope_index(
                torch.tensor([row.ids]),
                # Without the token types transformers falls back to plain one-dimensional positions in silence.
                mm_token_type_ids=torch.tensor([row.visual], dtype=torch.int32),
                image_grid_thw=torch.tensor([[1, grid[0] * merge, grid[1] * merge]] * views),
            )
            self._positions[key] = positions[:, 0].T.contiguous()
        return self._positions[key]
