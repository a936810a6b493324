"""The faster parts compute what Qwen2.5-VL of transformers computes."""

import pytest
import torch
from transformers import Qwen2_5_VLModel

from tests.builders.reference import hidden_states
from vlatency.agent.optimization import Encoding
from vlatency.agent.vla.model.backbones import tiny_config
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.encoder import VLEncoder
from vlatency.agent.vla.model.stem import Stem, cut
from vlatency.agent.vla.model.views import normalisation, patchify
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.speed.attention import GroupedVisionAttention
from vlatency.agent.vla.speed.kernels import sdpa

CAMERAS = ("top", "wrist", "front", "left", "right")


@pytest.fixture(scope="module")
def original(model: VLA) -> Qwen2_5_VLModel:
    """transformers' own model, with the weights of the tiny one."""
    config = tiny_config(model.config, model.tokenizer)
    plain = Qwen2_5_VLModel._from_config(config, attn_implementation="sdpa").eval()
    plain.load_state_dict(model.encoder.backbone.state_dict())
    return plain


@pytest.mark.parametrize("lengths", [[64, 64, 64], [16, 4, 16, 9, 4, 16]])
@torch.inference_mode()
def test_grouped_attention_is_bit_equal_to_the_loop(original: Qwen2_5_VLModel, lengths: list[int]) -> None:
    attention = original.visual.blocks[0].attn
    bounds = torch.tensor([0, *lengths]).cumsum(0).int()
    hidden = torch.randn(sum(lengths), 128)
    angles = torch.randn(sum(lengths), 32)
    rope = (angles.cos(), angles.sin())
    grouped = GroupedVisionAttention(attention)
    assert torch.equal(grouped(hidden, bounds, rope), attention(hidden, bounds, position_embeddings=rope))


@pytest.mark.parametrize("causal", [False, True])
def test_training_and_inference_attention_agree(causal: bool) -> None:
    query = torch.randn(3, 4, 24, 32, requires_grad=True)
    key, value = torch.randn(2, 3, 2, 24, 32)
    with torch.inference_mode():
        expected = sdpa(query, key, value, causal)
    torch.testing.assert_close(sdpa(query, key, value, causal), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("views", [1, 3, 5])
@pytest.mark.parametrize("size", [(112, 112), (224, 224), (252, 448)])
@pytest.mark.parametrize("encoding", ["batched", "joint"])
@torch.inference_mode()
def test_hidden_states_equal_those_of_the_original_model(
    model: VLA, original: Qwen2_5_VLModel, views: int, size: tuple[int, int], encoding: Encoding
) -> None:
    """The whole path, against `Qwen2_5_VLModel.forward` on the processor's pixel values and our token rows."""
    encoder, cameras, text = model.encoder, CAMERAS[:views], "Pick up the red cube"
    pixels = torch.randint(0, 256, (views, *size, 3), dtype=torch.uint8)
    tokens, grid = encoder.vision(pixels)
    ours = encoder.language(tokens[None], [text], cameras, encoding, grid)

    assert encoder.stem is not None
    patches, (rows, columns) = cut(encoder.stem(pixels), 7, 1)
    expected = hidden_states(original, model, patches, (rows, columns), text, cameras, encoding)
    torch.testing.assert_close(ours[0], expected, rtol=1e-3, atol=1e-3)


def test_encoder_is_small(model: VLA) -> None:
    assert isinstance(model.encoder, VLEncoder)
    assert 1.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 2.2e6


@pytest.mark.parametrize("merge", [1, 2])
def test_an_image_is_cut_as_by_the_processor_of_qwen(merge: int) -> None:
    pixels = torch.randint(0, 256, (2, 112, 168, 3), dtype=torch.uint8)
    config = PolicyConfig(stem_channels=0, patch_size=28, merge_size=merge, temporal_patch_size=1)
    expected, grid = patchify(pixels, config)
    scale, shift = normalisation()
    images = (pixels.permute(0, 3, 1, 2).float() - 128) * scale.view(3, 1, 1) + shift.view(3, 1, 1)
    patches, cut_grid = cut(images, 28, merge)
    assert cut_grid == grid
    torch.testing.assert_close(patches, expected)


def test_what_moves_by_one_cell_moves_the_maps_of_the_stem_by_one_cell() -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (1, 112, 112, 3), dtype=torch.uint8)
    with torch.inference_mode():
        stem = Stem(8)
        a, b = stem(pixels), stem(pixels.roll(4, dims=2))
    torch.testing.assert_close(a[..., 8:-8, 8:-9], b[..., 8:-8, 9:-8])
