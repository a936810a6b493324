"""What transformers' own model computes from our token rows."""

import torch
from transformers import PreTrainedModel

from vlatency.agent.optimization import Encoding
from vlatency.agent.vla.model.text import Prompts
from vlatency.agent.vla.model.vla import VLA


def hidden_states(
    original: PreTrainedModel,
    model: VLA,
    patches: torch.Tensor,
    size: tuple[int, int],
    text: str,
    cameras: tuple[str, ...],
    encoding: Encoding,
) -> torch.Tensor:
    """Last hidden states (V, T, d) of the visual tokens of V views, each `size` (rows, columns) of the `patches`."""
    rows, columns = size
    count = rows * columns // model.config.merge_size**2
    sequences = Prompts(model.tokenizer, model.config).rows(text, cameras, count, encoding)
    per_row = len(cameras) // len(sequences)
    share = patches.shape[0] // len(sequences)
    hidden = []
    for index, row in enumerate(sequences):
        visual = torch.tensor(row.visual)
        output = original(
            input_ids=torch.tensor([row.ids]),
            mm_token_type_ids=visual.int()[None],
            pixel_values=patches[index * share : (index + 1) * share],
            image_grid_thw=torch.tensor([[1, rows, columns]] * per_row),
        ).last_hidden_state
        hidden.append(output[0, visual].view(per_row, count, -1))
    return torch.cat(hidden)
