"""The complete state of a training in one safetensors file, written atomically."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from vlatency.experiments.shared.files import replacing
from vlatency.sim.errors import UsageError

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write the weights, the optimizer's moments and the number of the next step."""
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key in _MOMENTS:
            if key in optimizer.state.get(parameter, {}):
                tensors[f"optimizer.{key}.{name}"] = optimizer.state[parameter][key]
    with replacing(path) as file:
        file.write(to_bytes(tensors, {"step": str(step)}))


def load(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save` wrote into `model` and `optimizer`.

    Returns:
        The number of the next step.

    Raises:
        UsageError: the file is damaged or of another model.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            step = int(file.metadata()["step"])
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError) as error:
        raise UsageError(f"cannot resume from {path}: {str(error).splitlines()[0]}; delete it to start anew") from error
    for name, parameter in model.named_parameters():
        stored = {key: tensors.get(f"optimizer.{key}.{name}") for key in _MOMENTS}
        if all(value is not None for value in stored.values()):
            optimizer.state[parameter] = stored
    return step
