"""The hash of the code changes with everything that can change an episode, and with nothing else."""

import ast
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.shared.source_hash import FOLDERS, MODULES, defined, source_sha256

EXECUTION = "agent/realtime/execution.py"
NOW = source_sha256.__wrapped__(ROOT)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the code that counts, for a test to edit."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    for path in (*paths, *(ROOT / name for name in MODULES)):
        there = tmp_path / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)
    return tmp_path


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Change a file, and make sure that it changed."""
    before = path.read_text()
    after = change(before)
    assert before != after
    path.write_text(after)


def replace(old: str, new: str) -> Callable[[str], str]:
    """Replace the first match of a regular expression."""
    return lambda text: re.sub(old, new, text, count=1, flags=re.MULTILINE)


def move(root: Path, old: str, new: str) -> None:
    """Move a module, and mend all imports of it."""
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)
    (was, name), (now, other) = ((*path[:-3].replace("/", ".").rpartition("."),)[::2] for path in (old, new))
    for path in root.rglob("*.py"):
        text = path.read_text().replace(f"vlatency.{was}.{name} import", f"vlatency.{now}.{other} import")
        if f"from vlatency.{was} import {name}\n" in text:
            text = text.replace(f"from vlatency.{was} import {name}\n", f"from vlatency.{now} import {other}\n")
            text = re.sub(rf"\b{name}\.(?=[a-z_]+\()", f"{other}.", text)
        path.write_text(text)


def test_a_copy_of_the_code_has_its_hash(copy: Path) -> None:
    assert source_sha256(copy) == NOW


def test_words_do_not_count(copy: Path) -> None:
    edit(copy / EXECUTION, replace(r'^"""', '"""In other words. '))
    edit(copy / EXECUTION, replace(r'^    """', '    """In other words. '))
    edit(copy / EXECUTION, replace(r"^@dataclass", "# Why.\n\n@dataclass"))
    assert source_sha256(copy) == NOW


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (EXECUTION, "agent/realtime/chunks/following.py"),
        ("sim/clock.py", "sim/nanoseconds.py"),
        ("sim/gl.py", "agent/opengl.py"),  # imported as a module, too
    ],
)
def test_a_place_does_not_count(copy: Path, old: str, new: str) -> None:
    move(copy, old, new)
    assert source_sha256(copy) == NOW


def test_where_a_module_is_imported_does_not_count(copy: Path) -> None:
    edit(copy / EXECUTION, replace(r"^(import numpy as np)$", r"if TYPE_CHECKING:\n    \1"))
    assert source_sha256(copy) == NOW


@pytest.mark.parametrize("path", [EXECUTION, *MODULES])
def test_a_constant_counts(copy: Path, path: str) -> None:
    tree = ast.parse((copy / path).read_text())
    counted = [node for node in tree.body if not MODULES.get(path) or MODULES[path] & set(defined(node))]
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    first = next(
        node for top in counted for node in ast.walk(top) if isinstance(node, ast.Constant) and node not in texts
    )
    first.value = 12345
    (copy / path).write_text(ast.unparse(tree))
    assert source_sha256(copy) != NOW


def test_a_line_of_a_function_counts(copy: Path) -> None:
    edit(copy / EXECUTION, replace(r"chunk = chunks\[-1\]", "chunk = chunks[0]"))
    assert source_sha256(copy) != NOW


def test_the_module_that_a_name_comes_from_counts(copy: Path) -> None:
    edit(copy / EXECUTION, replace("from vlatency.sim.errors import", "from vlatency.sim.kinematics import"))
    assert source_sha256(copy) != NOW


def test_what_only_prints_does_not_count(copy: Path) -> None:
    edit(copy / "experiments/evaluation/feature_ages.py", lambda text: f"{text}\n\nTITLE = 'feature age'\n")
    assert source_sha256(copy) == NOW


def test_the_hash_takes_half_a_second_once_a_process() -> None:
    def seconds() -> float:
        began = time.process_time()
        source_sha256.__wrapped__(ROOT)
        return time.process_time() - began

    assert min(seconds() for _ in range(3)) < 0.5
    assert source_sha256() is source_sha256()
