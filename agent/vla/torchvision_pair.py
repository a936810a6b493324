"""A workaround for one pair of versions: torchvision as PyPI has it, built for CUDA, beside the CPU build of torch.

torchvision's operators are then in a library that does not load, and `import torchvision` fails when it describes two
of them ("operator torchvision::nms does not exist"). transformers imports it wherever it is installed, and fails, too.
Here these two are declared, without an implementation, before torchvision is imported. Neither is needed to load and
resize images, which is all that transformers and qwen-vl-utils do with it.

Tried with `PAIR` only, and done for no other pair. To be deleted when PyPI has a torchvision for torch's CPU build.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PAIR = ("2.13.0+cpu", "0.28.0+cu130")
"""The versions of torch and torchvision, by their own names; those in constraints.txt."""
_OPERATORS = ("nms", "qnms")
_kept: list[object] = []
"""The declarations, which last as long as this object."""


class _Watch:
    """A finder that finds nothing. The first search for torchvision reaches it before torchvision is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def declare_when_imported() -> None:
    """Declare the operators as soon as anything looks for torchvision. Until then it costs nothing, not even torch."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


def _declare() -> None:
    spec = PathFinder.find_spec("torchvision")
    version = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    if version is None or not version.is_file() or f"'{PAIR[1]}'" not in version.read_text():
        return
    torch = importlib.import_module("torch")
    if torch.__version__ == PAIR[0]:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
