"""The slow part of the policy: from views and instruction to a few numbers per view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from vlatency.agent.optimization import Encoding, Quant
from vlatency.agent.vla.model.config import QWEN, PolicyConfig
from vlatency.agent.vla.model.families import Qwen2VL, family_of
from vlatency.agent.vla.model.kv_cache import Recall
from vlatency.agent.vla.model.layout import Layout, LayoutKey, Layouts
from vlatency.agent.vla.model.stem import STRIDE, Stem, cut
from vlatency.agent.vla.model.text import Prompts
from vlatency.agent.vla.model.views import pack

POINT_WIDTH = 4
"""Features of a view besides a hidden state: two coordinates and two probabilities."""
Grid = tuple[int, int]
"""(rows, columns) of visual tokens in a view."""
Text = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""What decides how visual tokens are read: the tensors of a layout; keys and values of text read before it, and which
tokens of both each token of the layout sees. The last two are None if all text is in the layout."""
Prefix = Callable[
    [PreTrainedModel, Qwen2VL, Layouts, LayoutKey], tuple[Layout, torch.Tensor | None, torch.Tensor | None]
]
"""Splits a layout into what is known of the text before the views and what is left to read."""
Job = Callable[[], torch.Tensor]
PLAIN: tuple[Quant, bool, bool] = ("none", False, False)
"""Layers as loaded: not quantized, not fused, not compiled."""


@dataclass(frozen=True)
class ViewReadout:
    """What the encoder says about each view, for B instructions, V views and T visual tokens."""

    heat: torch.Tensor
    """(B, V, T + 1) logits of the cell with the instructed object; the last one is "not in this view"."""
    offset: torch.Tensor
    """(B, V, T, 2) of the object from the centre of each cell, to the right and down [cells]."""
    features: torch.Tensor
    """(B, V, F) hidden state pooled by heat, image coordinates u, v in [-1, 1], probabilities of absence and of the
    peak."""


def cell_centres(grid: Grid, device: torch.device | None = None) -> torch.Tensor:
    """(T, 2) centres of the cells in raster order, right and down from the upper left corner of the image [cells]."""
    rows, columns = grid
    down, right = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([right, down], dim=-1).reshape(-1, 2) + 0.5


class DenseHead(nn.Module):
    """Predicts what is in each cell, for any instruction: an auxiliary task for the vision tower."""

    def __init__(self, width: int, config: PolicyConfig) -> None:
        super().__init__()
        self.sizes = [1, 2, len(config.colours), len(config.shapes)]
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, sum(self.sizes))
        # Nearly all cells are empty. Without this the first training steps would learn nothing else.
        nn.init.constant_(self.out.bias[:1], -4.0)

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """From tokens (N, T, d) to logits of objectness (N, T), colour and shape, and offsets (N, T, 2) [cells]."""
        tokens = tokens.to(self.out.weight.dtype)
        objectness, offset, colour, shape = self.out(self.norm(tokens)).split(self.sizes, dim=-1)
        return {"objectness": objectness.squeeze(-1), "offset": offset, "colour": colour, "shape": shape}


class Readout(nn.Module):
    """Soft-argmax over the visual tokens next to the hottest one, with a class for "not in this view"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell = nn.Linear(width, 3)
        self.absent = nn.Linear(width, 1)

    def forward(self, hidden: torch.Tensor, grid: Grid) -> ViewReadout:
        """From hidden states (B, V, T, d) of visual tokens in raster order to the readout."""
        hidden = hidden.to(self.cell.weight.dtype)
        cells = self.cell(hidden).float()
        absent = self.absent(hidden.mean(dim=2)).float()
        logits, offset = cells[..., 0], cells[..., 1:]
        heat = torch.cat([logits, absent], dim=-1)
        rows, columns = grid
        # Only next to the peak: the mean of two distant candidates would be where neither of them is.
        weights = logits.masked_fill(~_near_peak(logits, grid), -torch.inf).softmax(dim=-1)
        places = cell_centres(grid, hidden.device) + offset
        place = (weights.unsqueeze(-1) * places).sum(dim=2)
        coordinates = place * place.new_tensor([2 / columns, 2 / rows]) - 1
        pooled = (weights.unsqueeze(2) @ hidden.float()).squeeze(2)
        probability = heat.softmax(dim=-1)
        peak = probability[..., :-1].amax(dim=-1, keepdim=True)
        return ViewReadout(heat, offset, torch.cat([pooled, coordinates, probability[..., -1:], peak], dim=-1))


def _near_peak(logits: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Mask (B, V, T) of the cell with the highest logit and of those that touch it."""
    rows, columns = grid
    peak = F.one_hot(logits.argmax(dim=-1), rows * columns).view(-1, 1, rows, columns).float()
    return (F.max_pool2d(peak, 3, stride=1, padding=1) > 0).view(logits.shape)


def one_after_another(jobs: Sequence[Job]) -> list[torch.Tensor]:
    """Results of the jobs, each started when the last one has returned."""
    return [job() for job in jobs]


class VLEncoder(nn.Module):
    """Vision tower, language model and readout. Each can be called alone, so instructions can share a vision pass."""

    def __init__(self, config: PolicyConfig, backbone: PreTrainedModel, prompts: Prompts) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.family = family_of(backbone.config.model_type)
        self.layouts = Layouts(prompts)
        self.width: int = backbone.config.text_config.hidden_size
        self.feature_width = self.width + POINT_WIDTH
        self.stem = Stem(config.stem_channels) if config.stem_channels else None
        self.dense_stem = DenseHead(config.stem_channels, config) if config.stem_channels else None
        self.dense_head = DenseHead(self.width, config)
        self.readout_head = Readout(self.width)
        # What follows is set by `speed.apply_optimization`.
        self.prefixes: Prefix | None = None
        """If set, text before the views is not read again as long as the weights stay."""
        self.launch: Callable[..., torch.Tensor] | None = None
        """If set, it is called in place of `views_read`."""
        self.run_views: Callable[[Sequence[Job]], list[torch.Tensor]] = one_after_another
        """Runs the calls of views that are encoded one call each."""
        self.layers = PLAIN
        """How the backbone's layers are quantized, and whether they are fused and compiled."""
        self._vision_plans: dict[tuple[object, ...], dict[str, torch.Tensor]] = {}

    def vision(self, pixels: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        """From pixels (N, H, W, 3) uint8, whole cells, to tokens (N, T, D) in raster order and their grid.

        D is `width`, or a multiple of it if the family gives the language model more than an embedding.
        """
        if self.config.vision_encoder != QWEN:
            light: tuple[torch.Tensor, Grid] = self.backbone.visual(pixels)
            return light
        if self.stem is not None:
            return self.vision_of(self.stem(pixels))
        patches, size = pack(pixels, self.config)
        return self._tower(patches, len(pixels), size)

    def vision_of(self, maps: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        """The same as `vision` from the maps (N, C, h, w) of the stem."""
        patches, size = cut(maps, self.config.patch_size // STRIDE, self.config.merge_size)
        return self._tower(patches, len(maps), size)

    def _tower(self, patches: torch.Tensor, count: int, size: tuple[int, int]) -> tuple[torch.Tensor, Grid]:
        rows, columns = size
        plan = self._vision_plan(count, rows, columns, patches.device)
        tokens = self.family.tokens(self.backbone.visual(patches, **plan))
        merge = self.config.merge_size
        return tokens.unflatten(0, (count, -1)), (rows // merge, columns // merge)

    # What is kept must also serve training, which cannot use tensors made in inference mode.
    @torch.inference_mode(False)
    def _vision_plan(self, count: int, rows: int, columns: int, device: torch.device) -> dict[str, torch.Tensor]:
        """The family's inputs of the vision tower beside the patches, computed once."""
        key = (count, rows, columns, device)
        if key not in self._vision_plans:
            self._vision_plans[key] = self.family.plan(self.backbone.visual, *key)
        return dict(self._vision_plans[key])

    def dense(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """Auxiliary predictions for every cell; see `DenseHead`."""
        predictions: dict[str, torch.Tensor] = self.dense_head(tokens[..., : self.width])
        return predictions

    def language(
        self,
        tokens: torch.Tensor,
        instructions: Sequence[str],
        cameras: tuple[str, ...],
        encoding: Encoding,
        grid: Grid,
    ) -> torch.Tensor:
        """Hidden states (B, V, T, d) of the visual tokens (B, V, T, D) after reading B instructions."""
        return self._read(tokens, self._text(instructions, cameras, encoding, grid))

    def _text(self, instructions: Sequence[str], cameras: tuple[str, ...], encoding: Encoding, grid: Grid) -> Text:
        key = LayoutKey(tuple(instructions), cameras, grid, encoding)
        if self.prefixes is None or torch.is_grad_enabled():
            layout = self.layouts(self.backbone, key)
            return layout.ids, layout.positions, layout.visual, None, None
        layout, states, seen = self.prefixes(self.backbone, self.family, self.layouts, key)
        return layout.ids, layout.positions, layout.visual, states, seen

    def _read(self, tokens: torch.Tensor, text: Text) -> torch.Tensor:
        ids, positions, visual, states, seen = text
        model = self.backbone.language_model
        embeddings = model.embed_tokens(ids)
        flat = embeddings.flatten(0, 1)
        own, *deeper = tokens.flatten(0, -2).to(flat.dtype).split(self.width, dim=-1)
        flat = flat.index_copy(0, visual, own)
        cache = None if states is None else Recall(states)
        hidden = self.family.read(model, flat.view_as(embeddings), Layout(ids, positions, visual), deeper, cache, seen)
        return hidden.flatten(0, 1).index_select(0, visual).view(*tokens.shape[:-1], self.width)

    def views_read(
        self,
        pixels: torch.Tensor,
        ids: torch.Tensor,
        positions: torch.Tensor,
        visual: torch.Tensor,
        states: torch.Tensor | None,
        seen: torch.Tensor | None,
    ) -> torch.Tensor:
        """Hidden states (B, V, T, d) of the visual tokens of pixels (B, V, H, W, 3); the other arguments are a `Text`.

        A function of tensors whose shapes alone decide what is launched, so that `CudaGraphs` can record it.
        """
        tokens, _ = self.vision(pixels.flatten(0, 1))
        return self._read(tokens.unflatten(0, pixels.shape[:2]), (ids, positions, visual, states, seen))

    def hidden(
        self, pixels: torch.Tensor, instructions: Sequence[str], cameras: tuple[str, ...], encoding: Encoding
    ) -> torch.Tensor:
        """Hidden states (B, V, T, d) of the visual tokens of pixels (B, V, H, W, 3) after reading B instructions."""
        if encoding in ("separate", "streams"):
            jobs = [
                partial(self.hidden, pixels[:, [view]], instructions, (camera,), "batched")
                for view, camera in enumerate(cameras)
            ]
            return torch.cat(self.run_views(jobs), dim=1)
        text = self._text(instructions, cameras, encoding, self.grid_of(pixels))
        return (self.launch or self.views_read)(pixels, *text)

    def grid_of(self, pixels: torch.Tensor) -> Grid:
        """Grid of each view in pixels (B, V, H, W, 3)."""
        cell = self.config.cell
        return pixels.shape[2] // cell, pixels.shape[3] // cell

    def readout(self, hidden: torch.Tensor, grid: Grid) -> ViewReadout:
        """Features of each view; see `Readout`."""
        readout: ViewReadout = self.readout_head(hidden, grid)
        return readout

    def forward(
        self, pixels: torch.Tensor, instructions: Sequence[str], cameras: tuple[str, ...], encoding: Encoding
    ) -> ViewReadout:
        """From pixels (B, V, H, W, 3) uint8 and B instructions to the readout of every view."""
        return self.readout(self.hidden(pixels, instructions, cameras, encoding), self.grid_of(pixels))
