"""A hash of the code that decides what an episode does: of its meaning, not of its wording or its place.

Measured episodes are used again only under the same hash. So it must change with everything that can change an
episode, and it must not change with a comment, a docstring, or the move of a file.
"""

import ast
import hashlib
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from vlatency.experiments.shared.files import ROOT

FOLDERS = ("sim", "envs", "agent")
"""All code below these folders counts."""
MODULES: dict[str, set[str]] = {
    "experiments/evaluation/episodes.py": set(),
    "experiments/evaluation/worlds.py": set(),
    "experiments/evaluation/feature_ages.py": {"EDGES_MS", "HISTOGRAM", "histogram"},
    "experiments/parallel/engine.py": {"SINGLE_THREADED"},
    "experiments/sweeps/cell_store.py": {"canonical"},
}
"""These modules count too; only the named definitions, where there are any."""


@lru_cache
def source_sha256(root: Path = ROOT) -> str:
    """SHA-256 over the syntax trees of the code that decides an episode.

    Comments, docstrings, line breaks and file names do not count. An import counts as the content of the module that
    it takes something from: moving that module changes nothing, importing from another one does.

    Args:
        root: folder with `sim`, `envs`, `agent` and `experiments`.
    """
    counted: dict[Path, set[str]] = {path: set() for folder in FOLDERS for path in (root / folder).rglob("*.py")}
    counted |= {root / name: definitions for name, definitions in MODULES.items()}
    modules = {path: _Module(path, definitions, root, counted) for path, definitions in counted.items()}
    bodies = {path: _sha256(module.body) for path, module in modules.items()}
    digests = []
    for path, module in modules.items():
        imports = {f"{bodies[source] if source else ''} {name}" for source, name in module.imports}
        digests.append(_sha256(bodies[path], *sorted(imports)))
    return _sha256(*sorted(digests))


def _sha256(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


class _Module(ast.NodeTransformer):
    """A module, taken apart.

    Args:
        path: of the module.
        definitions: only these of its functions, classes and constants; empty: all of it.
        root: the folder that is imported as `vlatency`.
        counted: all modules that count.

    Attributes:
        body: the syntax tree as text, without imports and docstrings.
        imports: what is imported: the module it comes from, if that counts, and its name ("" for a whole module).
    """

    def __init__(self, path: Path, definitions: set[str], root: Path, counted: Collection[Path]) -> None:
        self._root, self._counted = root, counted
        self._module_names: set[str] = set()
        self.imports: list[tuple[Path | None, str]] = []
        tree = ast.parse(path.read_bytes())
        if definitions:
            found = {name: node for node in tree.body for name in defined(node)}
            tree.body = [found[name] for name in sorted(definitions)]
        self.body = ast.dump(self.visit(tree))

    def visit_Import(self, node: ast.Import) -> None:
        """Take the import out of the body."""
        self.imports += [(None, alias.name) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Take the import out of the body."""
        package, _, inner = (node.module or "").partition(".")
        for alias in node.names:
            if package != "vlatency":
                self.imports.append((None, f"{node.module} {alias.name}"))
            elif module := self._find(f"{inner}.{alias.name}"):
                self.imports.append((module, ""))
                self._module_names.add(alias.asname or alias.name)
            else:
                self.imports.append((self._find(inner), alias.name))

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Leave out what an imported module of ours is called."""
        return ast.Name("module", node.ctx) if node.id in self._module_names else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Leave out docstrings, of attributes and constants as well."""
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Leave out blocks that only import, as those for type checkers do."""
        self.generic_visit(node)
        return node if node.body or node.orelse else None

    def _find(self, name: str) -> Path | None:
        place = self._root.joinpath(*name.strip(".").split("."))
        return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path in self._counted), None)


def defined(node: ast.stmt) -> list[str]:
    """Names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
