"""Published Qwen-VL weights from a local folder or from the hub, with every tensor accounted for."""

from __future__ import annotations

import copy
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging

from vlatency.agent.vla.model.families import FAMILIES
from vlatency.agent.vla.model.zoo import MODELS, Published
from vlatency.agent.vla.speed.attention import register
from vlatency.sim.errors import UsageError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def backbone_location(name: str) -> str:
    """Where a backbone is: the absolute path of a local folder, or a hub id. Nothing local is ever asked of a network.

    Args:
        name: Name in `zoo.MODELS`, local folder or hub id (OWNER/NAME).

    Raises:
        UsageError: It is neither a folder that exists nor of the form of a hub id.
    """
    row = MODELS.get(name)
    if isinstance(row, Published):
        return row.hub_id
    if name and Path(name).is_dir():
        return str(Path(name).resolve())
    if not _HUB_ID.fullmatch(name) or name.startswith("."):
        raise UsageError(
            f"there is no backbone folder {name!r}; give a local Qwen-VL folder or a hub id such as "
            "Qwen/Qwen2.5-VL-3B-Instruct"
        )
    return name


def pretrained_backbone(name: str, dtype: torch.dtype = torch.bfloat16) -> tuple[PreTrainedModel, Tokenizer]:
    """Load a Qwen-VL and its tokenizer.

    A prefix before all tensor names, as trainers of whole policies write it, is left out, with a note on stderr.

    Args:
        name: As in `backbone_location`.
        dtype: Type of its weights.

    Raises:
        UsageError: There is no such model, it is not a Qwen-VL, it is an adapter, or its files lack tensors of the
            model or hold others; only an output layer (lm_head) may be left over.
    """
    name = backbone_location(name)
    folder = Path(name) if Path(name).is_dir() else None
    if folder:
        _check_files(folder)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        model_type = config.model_type
        if model_type not in FAMILIES:
            raise UsageError(f"backbone {name!r} is a {model_type}; expected one of {', '.join(FAMILIES)}")
        if folder:
            _check_size(folder, FAMILIES[model_type].model_class, config)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json" if folder else _from_hub(name)))
        model, info = _load(name, model_type, dtype, None)
        for prefix in _prefixes(folder) if folder and info["missing_keys"] else ():
            other, again = _load(name, model_type, dtype, {f"^{re.escape(prefix)}": ""})
            if not again["missing_keys"]:
                print(f"note: all tensor names in {name} begin with {prefix!r}, which is left out", file=sys.stderr)
                model, info = other, again
                break
    except UsageError:
        raise
    except Exception as error:  # hub, file system and parsers each have their own exceptions
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UsageError(
            f"cannot load backbone {name!r}: give a local Qwen-VL folder or a hub id such as "
            f"Qwen/Qwen2.5-VL-3B-Instruct ({reason})"
        ) from error
    _check_tensors(name, info)
    check_finite(f"backbone {name}", model.state_dict())
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.get_vocab_size() > rows:
        raise UsageError(f"backbone {name}: tokenizer.json has {tokenizer.get_vocab_size()} tokens, the model {rows}")
    return model, tokenizer


def _load(name: str, model_type: str, dtype: torch.dtype, mapping: dict[str, str] | None) -> tuple[Any, dict[str, Any]]:
    """The model, and what its files lacked or held beside it, which transformers itself would report on the screen."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        found: tuple[Any, dict[str, Any]] = FAMILIES[model_type].model_class.from_pretrained(
            name,
            dtype=dtype,
            attn_implementation=register(),
            use_safetensors=True,
            output_loading_info=True,
            key_mapping=mapping,
            ignore_mismatched_sizes=True,  # to be told of them
        )
        return found
    finally:
        logging.set_verbosity(level)


def _check_files(folder: Path) -> None:
    """UsageError for a folder that transformers would load otherwise than one thinks, or fail on without a name."""
    weights = any(folder.glob("*.safetensors")) and not all(
        path.name.startswith("adapter") for path in folder.glob("*.safetensors")
    )
    if (folder / "adapter_config.json").is_file():
        beside = "an adapter beside whole weights" if weights else "an adapter, not a model"
        raise UsageError(
            f"backbone {folder} holds {beside}: merge the adapter into its base model, and give that folder"
        )
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UsageError(f"backbone {folder} has no {name}")
    if not weights:
        pickles = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
        found = f"; {pickles} is a pickle and is never loaded" if pickles else ""
        raise UsageError(f"backbone {folder} has no weights (*.safetensors){found}")


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """What the weights of a folder hold, by name. UsageError for whole numbers, and for a name that is there twice."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                tensor = file.get_slice(name)
                if name in found:
                    raise UsageError(f"backbone {folder} has {name} twice, in {path.name} and in another file")
                if not tensor.get_dtype().startswith(("F", "BF")):
                    raise UsageError(f"backbone {folder} has whole numbers in {name}: is it quantized?")
                found[name] = tuple(tensor.get_shape())
    return found


def _check_size(folder: Path, model_class: Any, config: Any) -> None:
    """UsageError for a config.json of a far larger model than the files: building that could take all memory."""
    shapes = _shapes(folder)
    stored = sum(math.prod(shape) for shape in shapes.values())
    layers = max(getattr(config.get_text_config(), "num_hidden_layers", 0), getattr(config.vision_config, "depth", 0))
    if layers <= len(shapes):
        with torch.device("meta"):
            asked = sum(tensor.numel() for tensor in model_class._from_config(copy.deepcopy(config)).parameters())
        if asked <= 4 * stored:
            return
    raise UsageError(
        f"backbone {folder}: config.json is of a far larger model than its weights, which hold {stored:,} numbers"
    )


def _prefixes(folder: Path) -> list[str]:
    """What all tensor names of a folder begin with, dot by dot: "vlm." and "vlm.model." of vlm.model.layers.0 ..."""
    common: list[str] = []
    for parts in zip(*(name.split(".") for name in _shapes(folder)), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(f"{parts[0]}.")
    return ["".join(common[: count + 1]) for count in range(len(common))]


def _check_tensors(name: str, info: dict[str, Any]) -> None:
    """UsageError unless the files held exactly the tensors of the model, and perhaps an output layer."""
    lacking = sorted(info["missing_keys"])
    others = sorted(key for key in info["unexpected_keys"] if "lm_head" not in key)
    wrong = sorted(str(each[0]) for each in info.get("mismatched_keys") or ())
    said = [
        f"{what} {len(names)} tensor{'s' * (len(names) > 1)} ({names[0]}{', ...' * (len(names) > 1)})"
        for what, names in (("lacks", lacking), ("has no place for", others), ("has other shapes in", wrong))
        if names
    ]
    if said:
        raise UsageError(f"backbone {name} is not the whole of one model: it {', and '.join(said)}")


def check_finite(where: str, state: Mapping[str, torch.Tensor]) -> None:
    """UsageError, naming `where` they are from, if a tensor holds something that is not a finite number."""
    floating = ((name, tensor) for name, tensor in state.items() if tensor.is_floating_point() and tensor.numel())
    wrong = [name for name, tensor in floating if not torch.stack(torch.aminmax(tensor)).isfinite().all()]
    if wrong:
        raise UsageError(f"{where} has numbers that are not finite in {len(wrong)} tensors ({wrong[0]})")


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, "tokenizer.json"))
