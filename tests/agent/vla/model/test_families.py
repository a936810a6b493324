"""Laws of the Qwen-VL families: each, at a tiny size, computes what transformers' own model computes end to end."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tests.builders.reference import hidden_states
from vlatency.agent.optimization import Encoding, Optimization
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla.model.backbones import (
    config_for_backbone,
    published_config,
    random_backbone,
    set_vision_encoder,
)
from vlatency.agent.vla.model.families import FAMILIES, family_of
from vlatency.agent.vla.model.text import instruction_corpus, train_tokenizer
from vlatency.agent.vla.model.views import patchify
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.model.zoo import Published, with_vision_encoder
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.agent.vla.speed.apply_optimization import apply_optimization
from vlatency.agent.vla.speed.attention import register
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.readings import Readings

TEXT: dict[str, Any] = dict(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
)
MINIATURES = {
    row.model_type: row
    for row in (
        Published("mini", "mini", "qwen2_vl", dict(depth=2, embed_dim=32, hidden_size=64, num_heads=2), TEXT),
        Published(
            "mini",
            "mini",
            "qwen2_5_vl",
            dict(
                depth=2,
                hidden_size=32,
                intermediate_size=48,
                num_heads=2,
                out_hidden_size=64,
                window_size=56,
                fullatt_block_indexes=[1],
            ),
            TEXT,
        ),
        Published(
            "mini",
            "mini",
            "qwen3_vl",
            dict(
                depth=4,
                hidden_size=32,
                intermediate_size=48,
                num_heads=2,
                out_hidden_size=64,
                num_position_embeddings=16,
                deepstack_visual_indexes=[0, 2],
            ),
            {
                **TEXT,
                "head_dim": 16,
                "rope_parameters": {**TEXT["rope_parameters"], "mrope_interleaved": True},
            },
        ),
    )
}


@pytest.fixture(scope="module", params=list(MINIATURES))
def pair(request: pytest.FixtureRequest) -> tuple[VLA, PreTrainedModel]:
    """Our model on a miniature of a family, and transformers' own with the same weights."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(instruction_corpus())
    shape = published_config(MINIATURES[request.param])
    shape.image_token_id = tokenizer.token_to_id("<|image_pad|>")
    model_class = family_of(request.param).model_class
    plain = model_class._from_config(copy.deepcopy(shape), attn_implementation="sdpa").eval()
    # Biases are zero at first, and position embeddings small: neither could then be told from a mistake.
    for parameter in plain.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    config = config_for_backbone("mini", shape.vision_config)
    ours = model_class._from_config(shape, attn_implementation=register())
    ours.load_state_dict(plain.state_dict())
    return VLA(config, tokenizer, set_vision_encoder(ours, config)).eval(), plain


@pytest.mark.parametrize("encoding", ["batched", "joint"])
@pytest.mark.parametrize("size", [(192, 192), (128, 320)])
@torch.inference_mode()
def test_hidden_states_equal_those_of_the_original_model(
    pair: tuple[VLA, PreTrainedModel], encoding: Encoding, size: tuple[int, int]
) -> None:
    """From pixel values and input ids to the last hidden states of the visual tokens."""
    model, original = pair
    encoder, views, text = model.encoder, 3, "Pick up the red cube"
    unit = model.config.patch_size * model.config.merge_size
    height, width = (side // unit * unit for side in size)
    pixels = torch.randint(0, 256, (views, height, width, 3), dtype=torch.uint8)
    tokens, grid = encoder.vision(pixels)
    ours = encoder.language(tokens[None], [text], CAMERA_ORDER[:views], encoding, grid)

    # Qwen3-VL's processor has a normalisation of its own, the older ones have CLIP's.
    half = (0.5, 0.5, 0.5)
    normalisation = (half, half) if original.config.model_type == "qwen3_vl" else ()
    patches, (rows, columns) = patchify(pixels, model.config, *normalisation)
    expected = hidden_states(original, model, patches, (rows, columns), text, CAMERA_ORDER[:views], encoding)
    torch.testing.assert_close(ours[0], expected, rtol=1e-4, atol=1e-4)


def pixels_of(model: VLA, *shape: int) -> torch.Tensor:
    """Random views of four by four visual tokens."""
    side = 4 * model.config.patch_size * model.config.merge_size
    return torch.randint(0, 256, (*shape, side, side, 3), dtype=torch.uint8)


@pytest.mark.parametrize("encoding", ["batched", "joint"])
@torch.inference_mode()
def test_a_batch_of_instructions_gives_what_each_gives_alone(
    pair: tuple[VLA, PreTrainedModel], encoding: Encoding
) -> None:
    encoder, cameras = pair[0].encoder, CAMERA_ORDER[:2]
    pixels = pixels_of(pair[0], 2, 2)
    texts = ["Lift it", "Pick up the blue ball from the moving conveyor belt"]
    together = encoder(pixels, texts, cameras, encoding)
    for index, text in enumerate(texts):
        alone = encoder(pixels[index : index + 1], [text], cameras, encoding)
        torch.testing.assert_close(together.features[index], alone.features[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoding", ["batched", "joint", "separate"])
@pytest.mark.parametrize("changes", [{"shortcuts": ("prefix", "fused")}, {"attention": "eager"}], ids=str)
@torch.inference_mode()
def test_an_exact_optimization_gives_the_features_of_the_plain_encode(
    pair: tuple[VLA, PreTrainedModel], encoding: Encoding, changes: dict[str, Any]
) -> None:
    """Windows, deepstack, norms of heads and biases included; within 1e-5 of the norm."""
    encoder, cameras = copy.deepcopy(pair[0].encoder), CAMERA_ORDER[:3]
    pixels = pixels_of(pair[0], 2, 3)
    texts = ["Lift it", "Pick up the blue ball from the moving conveyor belt"]
    expected = encoder.hidden(pixels, texts, cameras, "batched" if encoding == "separate" else encoding)
    apply_optimization(encoder, Optimization(cameras, **changes))
    for _ in range(2):
        ours = encoder.hidden(pixels, texts, cameras, encoding)
        assert (ours - expected).norm() < 1e-5 * expected.norm()


def test_gradients_reach_every_part(pair: tuple[VLA, PreTrainedModel]) -> None:
    model = copy.deepcopy(pair[0]).train()
    readout = model.encoder(pixels_of(model, 1, 2), ["Lift it"], CAMERA_ORDER[:2], "batched")
    (readout.features.square().sum() + readout.heat.square().sum()).backward()
    untouched = [
        name
        for name, parameter in model.encoder.backbone.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    # A constant added to a layer's keys cancels in the softmax.
    assert [name for name in untouched if not name.endswith("k_proj.bias")] == []


@pytest.mark.parametrize("encoding", ["batched", "joint"])
def test_a_policy_on_any_family_answers_requests(
    pair: tuple[VLA, PreTrainedModel], readings: Readings, encoding: Encoding
) -> None:
    policy = VLAPolicy(copy.deepcopy(pair[0]), Optimization(CAMERA_ORDER[:2], 128, 128, encoding))
    images = {name: np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8) for name in CAMERA_ORDER}
    (features,) = policy.encode([Encode(images=images, instruction="Lift it", readings=readings)])
    assert features.newest.views.shape == (2, 64 + 4)
    assert np.isfinite(features.newest.views).all()
    (chunk,) = policy.act([Act(features=features, readings=readings, age_ns=0)])
    assert chunk.shape == (8, 5)
    assert np.isfinite(chunk).all()


def test_a_light_encoder_takes_the_place_of_any_tower(pair: tuple[VLA, PreTrainedModel]) -> None:
    """Its tokens carry an embedding only, also where the family would inject more."""
    tokenizer = train_tokenizer(instruction_corpus())
    config = with_vision_encoder(pair[0].config, "mobilenetv3-small")
    backbone = copy.deepcopy(pair[1])
    backbone.set_attn_implementation(register())
    model = VLA(config, tokenizer, set_vision_encoder(backbone, config)).eval()
    with torch.inference_mode():
        readout = model.encoder(pixels_of(model, 1, 2), ["Lift it"], CAMERA_ORDER[:2], "joint")
    assert readout.features.shape == (1, 2, 68)
    assert readout.features.isfinite().all()


def test_a_published_model_with_random_weights_runs() -> None:
    row = MINIATURES["qwen3_vl"]
    config = config_for_backbone("mini", published_config(row).vision_config)
    backbone = random_backbone(row, config, "cpu", torch.bfloat16)
    model = VLA(config, train_tokenizer(instruction_corpus()), backbone).eval()
    with torch.inference_mode():
        readout = model.encoder(pixels_of(model, 1, 2), ["Lift it"], CAMERA_ORDER[:2], "batched")
    assert readout.features.isfinite().all()
    assert readout.features.dtype == torch.float32


def test_another_architecture_is_refused() -> None:
    with pytest.raises(UsageError, match="qwen2_vl, qwen2_5_vl, qwen3_vl"):
        family_of("llava")
    assert list(FAMILIES) == list(MINIATURES)
