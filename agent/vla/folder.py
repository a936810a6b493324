"""The folder of a policy: configuration, weights (safetensors, never pickle) and tokenizer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from vlatency.agent.vla.model.backbones import config_for_backbone, set_vision_encoder
from vlatency.agent.vla.model.config import QWEN, TINY, PolicyConfig
from vlatency.agent.vla.model.pretrained import backbone_location, check_finite, pretrained_backbone
from vlatency.agent.vla.model.vla import VLA
from vlatency.sim.errors import UsageError

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"
_BACKBONE, _VISION = "encoder.backbone.", "encoder.backbone.visual."


def load(folder: Path, device: str) -> VLA:
    """Load the model that `save` wrote. A tiny one needs no network. UsageError if it cannot be read."""
    if not folder.is_dir():
        raise UsageError(
            f"no policy folder {folder}: give a folder with {CONFIG_FILE}, {WEIGHTS_FILE} and {TOKENIZER_FILE}"
        )
    try:
        config, state = PolicyConfig.from_json(_read(folder, CONFIG_FILE)), _load_weights(folder)
        if config.backbone == TINY:
            tokenizer = _load_tokenizer(folder)
            with torch.device("meta"):  # nothing is allocated for a configuration that is not that of the weights
                _check_fits(VLA(config, tokenizer), state)
            model = VLA(config, tokenizer)
        else:
            backbone, tokenizer = pretrained_backbone(config.backbone, _backbone_dtype(device))
            model = VLA(config, tokenizer, set_vision_encoder(backbone, config))
            _check_fits(model, state)
    except UsageError as error:
        raise UsageError(f"policy {folder}: {error}") from error
    except Exception as error:  # numbers that do not go together: torch and transformers each have their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"policy {folder}: {CONFIG_FILE} describes no model ({reason})") from error
    stored = _stored(model)
    model.load_state_dict({name: tensor.to(stored[name].dtype) for name, tensor in state.items()}, strict=False)
    return model.to(device)


def load_backbone(name: str, device: str) -> VLA:
    """Load a pretrained Qwen-VL (name, hub id or folder) and add an untrained head. UsageError if there is none."""
    backbone, tokenizer = pretrained_backbone(name, _backbone_dtype(device))
    config = config_for_backbone(backbone_location(name), backbone.config.vision_config)
    return VLA(config, tokenizer, set_vision_encoder(backbone, config)).to(device)


def save(model: VLA, folder: Path) -> None:
    """Write configuration, weights (float16) and tokenizer. Of a pretrained backbone only its place is stored.

    All three are whole on disk before the first of them gets its name, so that a full disk or a kill during a write
    leaves the policy that was there.
    """
    part = folder / f".{os.getpid()}.part"
    part.mkdir(parents=True, exist_ok=True)
    learnt = {name for name, _ in model.named_parameters()}
    state = {
        # The statistics of a normalisation may not fit into float16.
        name: tensor.detach().to("cpu", torch.float16 if name in learnt else tensor.dtype).contiguous()
        for name, tensor in _stored(model).items()
    }
    try:
        save_file(state, part / WEIGHTS_FILE)
        (part / CONFIG_FILE).write_text(model.config.to_json())
        (part / TOKENIZER_FILE).write_text(model.tokenizer.to_str(pretty=True) + "\n")
        for name in (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE):
            (part / name).replace(folder / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _stored(model: VLA) -> dict[str, torch.Tensor]:
    """The tensors that are in the policy's own files, as all are but those of a pretrained backbone."""
    own_vision = model.config.vision_encoder != QWEN
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if model.config.backbone == TINY or not name.startswith(_BACKBONE) or (own_vision and name.startswith(_VISION))
    }


def _backbone_dtype(device: str) -> torch.dtype:
    return torch.float32 if device == "cpu" else torch.bfloat16


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {name} ({error})") from error


def _load_tokenizer(folder: Path) -> Tokenizer:
    text = _read(folder, TOKENIZER_FILE)
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise UsageError(f"{TOKENIZER_FILE} is not a tokenizer ({' '.join(str(error).split())})") from error


def _load_weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickles = sorted(file.name for suffix in ("bin", "pt", "pth", "pkl") for file in folder.glob(f"*.{suffix}"))
        found = f"; pickles are never loaded ({', '.join(pickles)})" if pickles else ""
        raise UsageError(f"{WEIGHTS_FILE} is missing{found}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{WEIGHTS_FILE} is not a readable safetensors file ({error})") from error


def _check_fits(model: VLA, state: dict[str, torch.Tensor]) -> None:
    """UsageError unless `state` has what the model stores, and all of it are numbers that it can compute with."""
    expected = _stored(model)
    wrong = sorted(set(expected) ^ set(state)) or [
        name
        for name, tensor in expected.items()
        if tensor.shape != state[name].shape or tensor.is_floating_point() != state[name].is_floating_point()
    ]
    if wrong:
        raise UsageError(f"{WEIGHTS_FILE} does not fit {CONFIG_FILE} in {len(wrong)} tensors ({wrong[0]})")
    check_finite(WEIGHTS_FILE, state)
