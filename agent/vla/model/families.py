"""Adapters for what the Qwen-VL families do differently, so that the encoder need not know which one it has."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, Qwen2_5_VLModel, Qwen2VLModel, Qwen3VLModel
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
    get_vision_window_index,
)

from vlatency.agent.vla.model.layout import Layout
from vlatency.agent.vla.model.zoo import CLIP_NORMALISATION, PLAIN_NORMALISATION
from vlatency.sim.errors import UsageError


class Qwen2VL:
    """Qwen2-VL, and what the other families share with it. Every vision block attends to the whole image."""

    model_class: type[PreTrainedModel] = Qwen2VLModel
    normalisation = CLIP_NORMALISATION

    def plan(
        self, visual: PreTrainedModel, count: int, rows: int, columns: int, device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Inputs of the vision tower that follow from the sizes of `count` images of `rows` x `columns` patches."""
        grid_thw = torch.tensor([[1, rows, columns]] * count)
        return {
            "grid_thw": grid_thw,
            "position_ids": get_vision_position_ids(grid_thw, visual.spatial_merge_size).to(device),
            # On the CPU, where the grouped attention can read them without waiting for the device.
            "cu_seqlens": torch.arange(count + 1, dtype=torch.int32) * (rows * columns),
        }

    def tokens(self, output: Any) -> torch.Tensor:
        """Visual tokens (N * T, width of a token), out of what the vision tower returns."""
        tokens: torch.Tensor = output.pooler_output
        return tokens

    def read(
        self,
        model: PreTrainedModel,
        embeddings: torch.Tensor,
        layout: Layout,
        deeper: list[torch.Tensor],
        cache: Any = None,
        seen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run the language model.

        Args:
            model: The language model.
            embeddings: (R, S, d) of the rows.
            layout: Positions of their tokens, and which of them are visual.
            deeper: What of the visual tokens is not in their embedding; empty in this family.
            cache: `Record` or `Recall`, which gets the keys and values of each layer and returns those to attend to.
            seen: Boolean mask (R, 1, S, keys) of the keys that each token sees; None for plainly causal attention.

        Returns:
            Last hidden states (R, S, d).
        """
        output = model(
            inputs_embeds=embeddings,
            position_ids=layout.positions,
            # None selects the kernel's own causal mask.
            attention_mask={"full_attention": seen, "sliding_attention": seen},
            past_key_values=cache,
            use_cache=False,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


class Qwen25VL(Qwen2VL):
    """Qwen2.5-VL. Most vision blocks attend within windows."""

    model_class = Qwen2_5_VLModel

    def plan(
        self, visual: PreTrainedModel, count: int, rows: int, columns: int, device: torch.device
    ) -> dict[str, torch.Tensor]:
        """The same, and which patches share a window."""
        plan = super().plan(visual, count, rows, columns, device)
        index, bounds = get_vision_window_index(
            plan["grid_thw"], visual.spatial_merge_size, visual.window_size, visual.patch_size
        )
        return {**plan, "window_index": index.to(device), "cu_window_seqlens": bounds}


class Qwen3VL(Qwen2VL):
    """Qwen3-VL, with learned positions that are interpolated, and with "deepstack".

    Tokens of inner vision blocks are added to the hidden states after the first layers of the language model. A visual
    token carries them behind its embedding.
    """

    model_class = Qwen3VLModel
    normalisation = PLAIN_NORMALISATION

    def plan(
        self, visual: PreTrainedModel, count: int, rows: int, columns: int, device: torch.device
    ) -> dict[str, torch.Tensor]:
        """The same, and how the learned positions are interpolated."""
        plan = super().plan(visual, count, rows, columns, device)
        indices, weights = get_vision_interpolation_indices_and_weights(
            plan["grid_thw"],
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
        )
        return {**plan, "interp_indices": indices.to(device), "interp_weights": weights.to(device)}

    def tokens(self, output: Any) -> torch.Tensor:
        """The same, with the tokens of inner blocks behind each."""
        return torch.cat([output.pooler_output, *output.deepstack_features], dim=-1)

    def read(
        self,
        model: PreTrainedModel,
        embeddings: torch.Tensor,
        layout: Layout,
        deeper: list[torch.Tensor],
        cache: Any = None,
        seen: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The same; `deeper` are the tokens of inner blocks."""
        model._deepstack_process = _added_at
        output = model(
            inputs_embeds=embeddings,
            position_ids=layout.positions,
            visual_pos_masks=layout.visual,
            deepstack_visual_embeds=deeper or None,
            attention_mask=seen,
            past_key_values=cache,
            use_cache=False,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


def _added_at(hidden: torch.Tensor, places: torch.Tensor, deeper: torch.Tensor) -> torch.Tensor:
    """Replaces a masked assignment of transformers, which waits for the GPU in every layer and cannot be recorded."""
    return hidden.flatten(0, 1).index_add(0, places, deeper.to(hidden.dtype)).view_as(hidden)


FAMILIES: dict[str, Qwen2VL] = {"qwen2_vl": Qwen2VL(), "qwen2_5_vl": Qwen25VL(), "qwen3_vl": Qwen3VL()}
"""The adapters, by the `model_type` of transformers. They have no state."""


def family_of(model_type: str) -> Qwen2VL:
    """Return the adapter of an architecture. UsageError if there is none."""
    if model_type not in FAMILIES:
        raise UsageError(f"unknown type of backbone '{model_type}'; types are {', '.join(FAMILIES)}")
    return FAMILIES[model_type]
