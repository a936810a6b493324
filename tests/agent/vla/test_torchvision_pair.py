"""With torchvision beside a CPU build of torch, everything here still imports, and nothing is loaded earlier for it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from vlatency.agent.vla.torchvision_pair import PAIR
from vlatency.experiments.shared.files import ROOT

FAKE = """
import torch
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda dets, scores, iou_threshold: dets)
"""
"""How torchvision describes its operators."""
IMPORTING = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for folder in ("agent", "experiments")
    for path in (ROOT / folder).rglob("*.py")
    if "from transformers" in path.read_text()
)
"""The modules that import transformers."""


def runs(code: str, *path: Path) -> bool:
    lines = [f"import sys; sys.path[:0] = {[str(each) for each in path]}", code]
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, timeout=250).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ != PAIR[0], reason=f"the workaround is for torch {PAIR[0]}")
def test_a_torchvision_without_its_operators_can_be_imported_after_our_package_and_only_then(tmp_path: Path) -> None:
    fake = tmp_path / "torchvision"
    fake.mkdir()
    (fake / "__init__.py").write_text(FAKE)
    (fake / "version.py").write_text(f"__version__ = '{PAIR[1]}'\n")
    assert not runs("import torchvision", tmp_path)
    assert runs("import vlatency.agent.vla, torchvision", tmp_path)
    (fake / "version.py").write_text("__version__ = '0.28.0+cpu'\n")
    assert not runs("import vlatency.agent.vla, torchvision", tmp_path)


def test_the_workaround_does_not_load_torch() -> None:
    assert runs("import vlatency.agent.vla; assert 'torch' not in sys.modules")


def test_the_pair_is_the_one_of_the_constraints() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    for name, version in zip(("torch", "torchvision"), PAIR, strict=True):
        assert f"{name}=={version.partition('+')[0]}" in pins


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None, reason="needs the extra [hub]")
@pytest.mark.parametrize("module", IMPORTING)
def test_with_torchvision_installed_every_module_that_needs_transformers_can_be_imported_first(module: str) -> None:
    assert runs(f"import vlatency.{module}; from transformers import Qwen2_5_VLModel")
