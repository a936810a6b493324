"""Laws of the light vision encoders."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, EfficientNetConfig, EfficientNetModel

from vlatency.agent.optimization import Encoding, Optimization
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.mobilenets import NETWORKS, MobileNet
from vlatency.agent.vla.model.towers import Clip, LightTower, load_published, published_name
from vlatency.agent.vla.model.views import rounded_size, token_grid
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.model.zoo import LIGHT_ENCODERS, tiny_policy_config
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.experiments import convert
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.readings import Readings

pytestmark = pytest.mark.slow

ENCODERS = list(LIGHT_ENCODERS)
Requests = Callable[..., Encode]


def tower(name: str, weights: str = "") -> LightTower:
    return LightTower(tiny_policy_config("tiny", name, weights), 128)


@pytest.mark.parametrize("name", ENCODERS)
@torch.inference_mode()
def test_a_view_becomes_a_grid_of_tokens_in_raster_order(name: str) -> None:
    """Seven by seven cells of 32 pixels at 224; a change in one cell moves the tokens around it most."""
    config = tiny_policy_config("tiny", name)
    assert token_grid(224, 224, config) == (7, 7)
    assert rounded_size(640, 360, config) == (640, 352)
    pixels = torch.full((2, 128, 224, 3), 100, dtype=torch.uint8)
    pixels[1, 64:96, 160:192] = 255
    moved = torch.zeros(4, 7)
    for seed in range(8):  # with some random weights a token farther away moves most, so those of several count
        torch.manual_seed(seed)
        tokens, grid = tower(name).eval()(pixels)
        assert grid == (4, 7)
        assert tokens.shape == (2, 28, 128)
        assert tokens.isfinite().all()
        distance = (tokens[1] - tokens[0]).norm(dim=-1).view(grid)
        moved += distance / distance.sum()
    row, column = divmod(int(moved.argmax()), 7)
    assert abs(row - 2) <= 1
    assert abs(column - 5) <= 1


def test_networks_have_their_published_number_of_parameters() -> None:
    """Without the classifier: 1,281,000 of EfficientNet's parameters, and 1,615,848 of MobileNetV3-Small's."""
    published = {"mobilenetv3-small": 2_542_856 - 1_615_848, "efficientnet-b0": 5_288_548 - 1_281_000}
    published |= {"efficientnet-lite0": 4_652_008 - 1_281_000}
    counts = {name: sum(p.numel() for p in MobileNet(name).parameters()) for name in NETWORKS}
    assert counts == published
    with torch.device("meta"):
        clip = [sum(p.numel() for p in Clip(patch).parameters()) for patch in (16, 32)]
    # OpenAI's 86.2 M and 87.8 M with the class token's last normalisation and projection, which are not built.
    assert clip == [85_799_424 - 1536, 87_456_000 - 1536]


@torch.inference_mode()
def test_efficientnet_equals_that_of_transformers() -> None:
    config = EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280, batch_norm_momentum=0.01
    )
    theirs = EfficientNetModel(config).eval()
    for name, tensor in theirs.state_dict().items():
        if "running_mean" in name:
            tensor.normal_(0, 0.1)
        elif "running_var" in name:
            tensor.uniform_(0.5, 2)
    ours = MobileNet("efficientnet-b0").eval()
    # Both list their tensors in the order in which an image meets them.
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    images = torch.randn(1, 3, 96, 160)
    torch.testing.assert_close(ours(images), theirs(images).last_hidden_state, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module", params=["mobilenetv3-small", "clip-b32"])
def light(request: pytest.FixtureRequest) -> VLA:
    """An untrained policy with a convolutional and with a transformer encoder."""
    torch.manual_seed(0)
    return VLA.tiny(tiny_policy_config("tiny-s", request.param)).eval()


@pytest.mark.parametrize("encoding", ["batched", "joint"])
def test_a_policy_with_a_light_encoder_answers_requests(
    light: VLA, request_of: Requests, readings: Readings, encoding: Encoding
) -> None:
    policy = VLAPolicy(light, Optimization(CAMERA_ORDER[:2], 128, 96, encoding))
    (features,) = policy.encode([request_of(0)])
    assert features.newest.views.shape == (2, 96 + 4)
    assert np.isfinite(features.newest.views).all()
    other, text = policy.encode([request_of(1), request_of(0, "Pick up the blue ball")])
    assert not np.allclose(features.newest.views, other.newest.views)
    assert not np.allclose(features.newest.views, text.newest.views)
    (chunk,) = policy.act([Act(features=features, readings=readings, age_ns=0)])
    assert chunk.shape == (8, 5)
    assert np.isfinite(chunk).all()


def test_a_saved_policy_sees_the_same(light: VLA, request_of: Requests, tmp_path: Path) -> None:
    model = copy.deepcopy(light)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # More than float16 holds, as variances and counters can be.
            assert module.running_var is not None
            module.running_var[0], module.num_batches_tracked = 1e5, torch.tensor(70_000)
    optimization = Optimization(CAMERA_ORDER[:1], 128, 96)
    VLAPolicy(model, optimization).save_pretrained(tmp_path)
    again = VLAPolicy.from_pretrained(tmp_path, optimization)
    assert again.model.config == model.config
    for name, buffer in model.named_buffers():
        assert torch.equal(again.model.get_buffer(name), buffer), name
    ours, theirs = (p.encode([request_of(0)])[0].newest.views for p in (VLAPolicy(model, optimization), again))
    np.testing.assert_allclose(theirs, ours, atol=0.05)


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_every_part(light: VLA, autocast: bool) -> None:
    model = copy.deepcopy(light).train()
    pixels = torch.randint(0, 256, (2, 2, 128, 96, 3), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        tokens, _ = model.encoder.vision(pixels.flatten(0, 1))
        dense = model.encoder.dense(tokens)
        readout = model.encoder(pixels, ["Lift it"] * 2, CAMERA_ORDER[:2], "batched")
    loss = readout.features.square().sum() + readout.heat.square().sum() + readout.offset.square().sum()
    (loss + sum(value.float().square().sum() for value in dense.values())).backward()
    untouched = [name for name, p in model.encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # A constant added to a layer's keys cancels in the softmax.
    assert [name for name in untouched if not name.endswith("k_proj.bias")] == []


def published_file(network: MobileNet, folder: Path) -> dict[str, torch.Tensor]:
    """Writes the network's weights as they are published, beside other tensors; returns them."""
    names = network.published_names
    state = {published_name(name, names): torch.rand_like(value) for name, value in network.state_dict().items()
             if value.dtype.is_floating_point}  # fmt: skip
    save_file({**state, "classifier.weight": torch.zeros(3)}, folder / "model.safetensors")
    return state


@pytest.mark.parametrize("name", ["mobilenetv3-small", "efficientnet-lite0"])
def test_published_weights_load_under_their_own_names(name: str, tmp_path: Path) -> None:
    state = published_file(MobileNet(name), tmp_path)
    eyes = VLA.tiny(tiny_policy_config("tiny-s", name, str(tmp_path))).encoder.backbone.visual
    ours = eyes.network.state_dict()
    assert all(torch.equal(ours[n], state[published_name(n, eyes.network.published_names)])
               for n in ours if not n.endswith("num_batches_tracked"))  # fmt: skip


def test_clip_loads_from_a_whole_clip_or_from_its_vision_half(tmp_path: Path) -> None:
    theirs = CLIPVisionModel(CLIPVisionConfig(patch_size=32)).eval()
    eyes = tower("clip-b32").eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs(images).last_hidden_state[:, 1:].transpose(1, 2).view(1, 768, 7, 7)
        for prefix in ("vision_model.", ""):
            save_file({prefix + n: t for n, t in theirs.state_dict().items()}, tmp_path / "model.safetensors")
            load_published(eyes, str(tmp_path))
            torch.testing.assert_close(eyes.network(images), expected, rtol=1e-4, atol=1e-4)


def test_statistics_of_published_weights_stay_and_others_adapt(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    for weights, fixed in (("somewhere", True), ("", False)):
        eyes = tower("mobilenetv3-small", weights).train()
        assert isinstance(eyes.network, MobileNet)
        mean = eyes.network.bn1.running_mean
        assert mean is not None
        before = mean.clone()
        eyes(pixels)
        assert torch.equal(before, mean) is fixed


def test_wrong_weights_are_reported_in_one_line(tmp_path: Path) -> None:
    eyes = tower("mobilenetv3-small")
    published_file(MobileNet("efficientnet-b0"), tmp_path)
    with pytest.raises(UsageError, match="does not fit this vision encoder"):
        load_published(eyes, str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(UsageError, match="not a readable safetensors"):
        load_published(eyes, str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="not a readable safetensors"):
        load_published(eyes, str(tmp_path))


def test_a_pickle_of_tensors_converts_and_any_other_is_refused(tmp_path: Path) -> None:
    # As in the package, the colours are innermost in memory.
    source = {
        name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in MobileNet("efficientnet-lite0").state_dict().items()
    }
    torch.save({**source, "_fc.weight": torch.zeros(3)}, tmp_path / "lite0.pth")
    convert.main(convert.Args(out=tmp_path / "out", weights=tmp_path / "lite0.pth"))
    eyes = tower("efficientnet-lite0", "x")
    load_published(eyes, str(tmp_path / "out"))
    assert all(torch.equal(value, source[name]) for name, value in eyes.network.state_dict().items())
    assert "conv_head.weight" in load_file(tmp_path / "out" / "model.safetensors")

    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save(PolicyConfig(), tmp_path / "object.pth")
    (tmp_path / "text.pth").write_text("tensors")
    for name in ("other.pth", "object.pth", "text.pth", "none.pth"):
        with pytest.raises(UsageError, match=name):
            convert.main(convert.Args(out=tmp_path / "bad", weights=tmp_path / name))
    assert not (tmp_path / "bad").exists()
