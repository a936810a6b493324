"""A training can start from a policy with another vision encoder."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vlatency.agent.vla.model.mobilenets import MobileNet
from vlatency.agent.vla.model.towers import LightTower, published_name
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.training.initial_model import early_layers, with_vision_encoder
from vlatency.sim.errors import UsageError


def test_a_new_vision_encoder_leaves_what_is_behind_it_as_it_was() -> None:
    model = VLA.tiny()
    other = with_vision_encoder(model, "mobilenetv3-small", "")
    assert other.config.vision_encoder == "mobilenetv3-small"
    mine, theirs = model.state_dict(), other.state_dict()
    behind = [name for name in theirs if not name.startswith("encoder.backbone.visual.")]
    assert any(name.startswith("head.") for name in behind)
    assert all(torch.equal(mine[name], theirs[name]) for name in behind)
    with pytest.raises(UsageError, match="resnet"):
        with_vision_encoder(model, "resnet", "")
    with pytest.raises(UsageError, match="mobilenetv3-small.*qwen"):
        with_vision_encoder(other, "qwen", "")


def test_early_layers_stay_as_published_where_weights_were_published(tmp_path: Path) -> None:
    model = VLA.tiny()
    untaught = with_vision_encoder(model, "mobilenetv3-small", "")
    assert early_layers(model) == early_layers(untaught) == []
    tower = untaught.encoder.backbone.visual
    assert isinstance(tower, LightTower) and isinstance(tower.network, MobileNet)
    network = tower.network
    published = {published_name(name, network.published_names): value for name, value in network.state_dict().items()}
    save_file(published, tmp_path / "model.safetensors")
    taught = with_vision_encoder(model, "mobilenetv3-small", str(tmp_path))
    kept = {id(parameter) for parameter in early_layers(taught)}
    names = {name for name, parameter in taught.encoder.backbone.visual.named_parameters() if id(parameter) in kept}
    assert {name.split(".")[1] for name in names} == {"conv_stem", "bn1", "blocks"}
    assert {name.split(".")[2] for name in names if ".blocks." in name} == {"0", "1", "2"}
