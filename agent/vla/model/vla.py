"""The model: an encoder of views and instruction, and heads that turn its features into set-points."""

from __future__ import annotations

from dataclasses import replace

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from vlatency.agent.vla.model.backbones import (
    config_for_backbone,
    published_config,
    random_backbone,
    tiny_backbone,
)
from vlatency.agent.vla.model.config import QWEN, PolicyConfig, Sense
from vlatency.agent.vla.model.encoder import VLEncoder
from vlatency.agent.vla.model.flow import FlowHead
from vlatency.agent.vla.model.heads import ActionHead
from vlatency.agent.vla.model.text import Prompts, instruction_corpus, train_tokenizer
from vlatency.agent.vla.model.towers import load_published
from vlatency.agent.vla.model.zoo import Tiny, find_model, tiny_policy_config, with_vision_encoder


class VLA(nn.Module):
    """A vision-language-action model: `encoder`, which is slow, and `head`, which is fast.

    Args:
        config: Its configuration.
        tokenizer: Tokenizer of the instructions.
        backbone: The Qwen-VL; by default a tiny one with random weights.

    Attributes:
        flow: a second head, which samples chunks; None if the configuration has none.
    """

    def __init__(self, config: PolicyConfig, tokenizer: Tokenizer, backbone: PreTrainedModel | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        backbone = tiny_backbone(config, tokenizer) if backbone is None else backbone
        self.encoder = VLEncoder(config, backbone, Prompts(tokenizer, config))
        self.head = ActionHead(config, self.encoder.feature_width)
        self.flow = FlowHead(config, self.head.condition_width) if config.flow_width else None

    @classmethod
    def tiny(cls, config: PolicyConfig | None = None) -> VLA:
        """An untrained tiny model, with a tokenizer trained on the instructions.

        Raises:
            UsageError: The weights of the vision encoder that the configuration names cannot be loaded.
        """
        config = config or PolicyConfig()
        model = cls(config, train_tokenizer(instruction_corpus()))
        if config.vision_weights:
            load_published(model.encoder.backbone.visual, config.vision_weights)
        return model

    @classmethod
    def random(
        cls,
        name: str,
        vision_encoder: str = QWEN,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
    ) -> VLA:
        """A model with random weights, for timing, without a download. It has the tokenizer of the tiny policy.

        Args:
            name: Name in `zoo.MODELS`.
            vision_encoder: The backbone's own, or a name in `zoo.LIGHT_ENCODERS`.
            device: Where it is made.
            dtype: Type of a published backbone. A tiny one is always in float32.

        Raises:
            UsageError: There is no such model or vision encoder.
        """
        row = find_model(name)
        if isinstance(row, Tiny):
            return cls.tiny(tiny_policy_config(name, vision_encoder)).to(device)
        config = config_for_backbone(row.hub_id, published_config(row).vision_config)
        config = with_vision_encoder(config, vision_encoder)
        backbone = random_backbone(row, config, device, dtype)
        return cls(config, train_tokenizer(instruction_corpus()), backbone).to(device)

    def renew_head(self, without: tuple[Sense, ...] = ()) -> None:
        """Replace the action head by an untrained one that does not get the inputs `without`."""
        self.config = replace(self.config, without=without)
        self.head = ActionHead(self.config, self.encoder.feature_width)

    def add_flow(self, width: int = 288) -> FlowHead:
        """Add an untrained flow head, in place of any that the model has, and return it."""
        self.config = replace(self.config, flow_width=width)
        self.flow = FlowHead(self.config, self.head.condition_width)
        return self.flow
