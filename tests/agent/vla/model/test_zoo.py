"""The named models have their published sizes, and an unknown name is refused with the valid ones."""

import pytest
import torch

from vlatency.agent.vla.model.backbones import config_for_backbone, published_config, random_backbone
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.families import family_of
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.model.zoo import MODELS, Published, find_light_encoder, find_model, tiny_policy_config
from vlatency.sim.errors import UsageError

PARAMETERS = {
    "qwen2-vl-2b": 2_208_985_600,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen2.5-vl-7b": 8_292_166_656,
    "qwen3-vl-2b": 2_127_532_032,
}
"""In the public safetensors files."""
UNTIED_OUTPUT = {"qwen2.5-vl-7b": 152_064 * 3584}
"""Weights of the output layer, which an encoder does not have; the other models share theirs with the embedding."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_published_model_has_its_published_number_of_parameters(name: str) -> None:
    row = find_model(name)
    assert isinstance(row, Published)
    with torch.device("meta"):
        model = family_of(row.model_type).model_class(published_config(row))
    assert sum(p.numel() for p in model.parameters()) + UNTIED_OUTPUT.get(name, 0) == PARAMETERS[name]
    if name == "qwen2.5-vl-3b":
        assert sum(p.numel() for p in model.visual.parameters()) == pytest.approx(668.7e6, abs=5e4)


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if isinstance(row, Published)])
def test_a_published_model_is_built_whole_with_random_weights(name: str) -> None:
    """On the meta device, where nothing is computed or stored."""
    model = VLA.random(name, device="meta")
    row = find_model(name)
    assert isinstance(row, Published)
    assert model.config.backbone == row.hub_id
    assert model.encoder.width == row.text["hidden_size"]
    assert {p.dtype for p in model.encoder.backbone.parameters()} == {torch.bfloat16}
    light = VLA.random(name, "efficientnet-b0", device="meta")
    assert sum(p.numel() for p in light.parameters()) < sum(p.numel() for p in model.parameters()) - 250e6


@torch.inference_mode()
def test_random_weights_are_finite_and_differ_from_row_to_row() -> None:
    sides = dict(hidden_size=64, intermediate_size=128)
    heads = dict(num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, vocab_size=151936)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    vision = dict(depth=2, num_heads=2, out_hidden_size=64, fullatt_block_indexes=[1], **sides)
    row = Published("mini", "nobody/mini", "qwen2_5_vl", vision, dict(rope_parameters=rope, **heads, **sides))
    config = config_for_backbone("nobody/mini", published_config(row).vision_config)
    torch.manual_seed(0)
    model = random_backbone(row, config, "cpu")
    assert all(tensor.isfinite().all() for tensor in (*model.parameters(), *model.buffers()))
    words = model.language_model.embed_tokens.weight
    assert words.float().std() == pytest.approx(0.02, rel=0.05)
    assert len(words[:1000].unique(dim=0)) == 1000
    torch.manual_seed(0)
    again = random_backbone(row, config, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_smaller_tiny_model_is_smaller() -> None:
    sizes = [
        sum(p.numel() for p in VLA.tiny(tiny_policy_config(name)).encoder.backbone.parameters())
        for name in ("tiny", "tiny-s")
    ]
    assert tiny_policy_config("tiny") == PolicyConfig()
    assert sizes[1] < 0.55 * sizes[0]


@pytest.mark.parametrize("name", ["2.5-VL-2B", "qwen2.5-vl-2b", "0.5B", "qwen2.5-vl-0.5b"])
def test_a_model_that_was_never_published_is_said_not_to_exist(name: str) -> None:
    with pytest.raises(UsageError, match=r"no model .*qwen2\.5-vl-3b"):
        find_model(name)


def test_unknown_names_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"tiny, tiny-s, qwen2-vl-2b, qwen2\.5-vl-3b, qwen2\.5-vl-7b, qwen3-vl-2b"):
        find_model("gpt")
    with pytest.raises(UsageError, match="qwen, clip-b16, clip-b32, mobilenetv3-small, efficientnet-b0"):
        find_light_encoder("resnet")
    with pytest.raises(UsageError, match="sizes trained here are tiny, tiny-s"):
        tiny_policy_config("qwen2.5-vl-3b")
    with pytest.raises(UsageError, match="vision weights"):
        tiny_policy_config(vision_weights="somewhere")
