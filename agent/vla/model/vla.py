"""The model: an encoder of views and instruction, and the heads that act on what it says."""

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
    """Vision-language-action model: `encoder` (slow) and `head` (fast)."""

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
        """Untrained tiny model with a tokenizer trained on the instructions.

        Raises:
            UsageError: the configuration names weights of a vision encoder that cannot be loaded.
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
        """A model of `zoo.MODELS` with random weights, to be timed; no download.

        `dtype` is that of a published backbone; a tiny one stays in float32. Words are cut by the tiny tokenizer.

        Raises:
            UsageError: no such model or vision encoder.
        """
        row = find_model(name)
        if isinstance(row, Tiny):
            return cls.tiny(tiny_policy_config(name, vision_encoder)).to(device)
        config = config_for_backbone(row.hub_id, published_config(row).vision_config)
        config = with_vision_encoder(config, vision_encoder)
        backbone = random_backbone(row, config, device, dtype)
        return cls(config, train_tokenizer(instruction_corpus()), backbone).to(device)

    def renew_head(self, without: tuple[Sense, ...] = ()) -> None:
        """An untrained action head, that never gets the inputs named, in place of the one there is."""
        self.config = replace(self.config, without=without)
        self.head = ActionHead(self.config, self.encoder.feature_width)

    def add_flow(self, width: int = 288) -> FlowHead:
        """Gives the model a flow head, untrained; what it had of that kind is lost."""
        self.config = replace(self.config, flow_width=width)
        self.flow = FlowHead(self.config, self.head.condition_width)
        return self.flow
