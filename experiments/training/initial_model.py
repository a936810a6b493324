"""The model that a training starts from."""

from pathlib import Path

import torch

from vlatency.agent.vla.model import zoo
from vlatency.agent.vla.model.config import QWEN
from vlatency.agent.vla.model.mobilenets import MobileNet
from vlatency.agent.vla.model.towers import LightTower
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.sim.errors import UsageError


def initial_model(size: str, start_from: Path | None, vision_encoder: str, vision_weights: str) -> VLA:
    """A new model, or the one of a trained policy.

    Args:
        size: of a new model: tiny or tiny-s.
        start_from: folder of a policy; None starts from random weights.
        vision_encoder: name of the vision encoder; empty: the policy's own, or qwen.
        vision_weights: folder or hub id of weights for a new vision encoder; empty: random.

    Raises:
        UsageError: one of them does not exist, or they do not go together.
    """
    config = zoo.tiny_policy_config(size, vision_encoder or QWEN, vision_weights)
    if start_from is None:
        return VLA.tiny(config)
    model = VLAPolicy.from_pretrained(start_from).model
    if vision_encoder in ("", model.config.vision_encoder):
        return model
    return with_vision_encoder(model, vision_encoder, vision_weights)


def with_vision_encoder(model: VLA, name: str, weights: str) -> VLA:
    """The model with an untrained vision encoder. All other parts keep what they have learned.

    Raises:
        UsageError: there is no such encoder, or its weights cannot be loaded.
    """
    if name == QWEN:
        raise UsageError(f"a policy with the vision encoder {model.config.vision_encoder} cannot go back to {QWEN}")
    other = VLA.tiny(zoo.with_vision_encoder(model.config, name, weights))
    tower = "encoder.backbone.visual."
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(tower)}
    other.load_state_dict(kept, strict=False)  # a stem, which only qwen has, is left out
    return other


def early_layers(model: VLA) -> list[torch.nn.Parameter]:
    """The parameters before the last two stages of a convolutional vision encoder with published weights; else none.

    They stay as published: edges and textures are the same everywhere, and the gradients of these layers would take
    three quarters of a step on a CPU.
    """
    tower = model.encoder.backbone.visual
    if not (isinstance(tower, LightTower) and isinstance(tower.network, MobileNet) and tower.fixed_statistics):
        return []
    network = tower.network
    return [
        parameter for part in (network.conv_stem, network.bn1, network.blocks[:-2]) for parameter in part.parameters()
    ]
