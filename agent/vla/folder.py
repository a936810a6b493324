"""The folder of a policy: configuration, weights (safetensors, never pickle) and tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from vlatency.agent.vla.model.backbones import config_for_backbone, set_vision_encoder
from vlatency.agent.vla.model.config import QWEN, TINY, PolicyConfig
from vlatency.agent.vla.model.pretrained import backbone_location, pretrained_backbone
from vlatency.agent.vla.model.vla import VLA
from vlatency.sim.errors import UsageError

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"
_BACKBONE, _VISION = "encoder.backbone.", "encoder.backbone.visual."


def load(folder: Path, device: str) -> VLA:
    """Load the model that `save` wrote. A tiny one needs no network. UsageError if it cannot be read."""
    config = PolicyConfig.from_json(_read(folder, CONFIG_FILE))
    state = _load_weights(folder)
    if config.backbone == TINY:
        model = VLA(config, _load_tokenizer(folder))
    else:
        backbone, tokenizer = pretrained_backbone(config.backbone, _backbone_dtype(device))
        model = VLA(config, tokenizer, set_vision_encoder(backbone, config))
    _fill(model, state, folder)
    return model.to(device)


def load_backbone(name: str, device: str) -> VLA:
    """Load a pretrained Qwen-VL (name, hub id or folder) and add an untrained head. UsageError if there is none."""
    backbone, tokenizer = pretrained_backbone(name, _backbone_dtype(device))
    config = config_for_backbone(backbone_location(name), backbone.config.vision_config)
    return VLA(config, tokenizer, set_vision_encoder(backbone, config)).to(device)


def save(model: VLA, folder: Path) -> None:
    """Write configuration, weights (float16) and tokenizer. Of a pretrained backbone only its place is stored."""
    folder.mkdir(parents=True, exist_ok=True)
    learnt = {name for name, _ in model.named_parameters()}
    state = {
        # The statistics of a normalisation may not fit into float16.
        name: tensor.detach().to("cpu", torch.float16 if name in learnt else tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
        if _stored(name, model.config)
    }
    save_file(state, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(model.config.to_json())
    (folder / TOKENIZER_FILE).write_text(model.tokenizer.to_str(pretty=True) + "\n")


def _stored(name: str, config: PolicyConfig) -> bool:
    """Whether the tensor is in the policy's own files, as all are but those of a pretrained backbone."""
    own_vision = config.vision_encoder != QWEN and name.startswith(_VISION)
    return config.backbone == TINY or own_vision or not name.startswith(_BACKBONE)


def _backbone_dtype(device: str) -> torch.dtype:
    return torch.float32 if device == "cpu" else torch.bfloat16


def _read(folder: Path, name: str) -> str:
    if not folder.is_dir():
        raise UsageError(
            f"no policy folder {folder}: give a folder with {CONFIG_FILE}, {WEIGHTS_FILE} and {TOKENIZER_FILE}"
        )
    try:
        return (folder / name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"policy {folder}: cannot read {name} ({error})") from error


def _load_tokenizer(folder: Path) -> Tokenizer:
    text = _read(folder, TOKENIZER_FILE)
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise UsageError(f"policy {folder}: {TOKENIZER_FILE} is not a tokenizer ({error})") from error


def _load_weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickles = sorted(file.name for suffix in ("bin", "pt", "pth", "pkl") for file in folder.glob(f"*.{suffix}"))
        found = f"; pickles are never loaded ({', '.join(pickles)})" if pickles else ""
        raise UsageError(f"policy {folder}: {WEIGHTS_FILE} is missing{found}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"policy {folder}: {WEIGHTS_FILE} is not a readable safetensors file ({error})") from error


def _fill(model: VLA, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Load `state` into the parameters that are stored, at the precision of the model."""
    expected = {name: tensor for name, tensor in model.state_dict().items() if _stored(name, model.config)}
    wrong = sorted(set(expected) ^ set(state)) or [
        name for name, tensor in expected.items() if tensor.shape != state[name].shape
    ]
    if wrong:
        raise UsageError(
            f"policy {folder}: {WEIGHTS_FILE} does not fit {CONFIG_FILE} in {len(wrong)} tensors ({wrong[0]})"
        )
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()}, strict=False)
