"""In `experiments/` a file is a command and a folder is a room that commands import; imports point one way."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from vlatency.experiments.shared.files import ROOT

ROOMS = (
    "shared",
    "parallel",
    "recording",
    "analysis",
    "evaluation",
    "sweeps",
    "reporting",
    "training",
    "timing",
    "checks",
)
"""A room imports only itself and rooms before it."""
MAY_IMPORT = {
    "assets": {"assets"},
    "sim": {"sim"},
    "envs": {"envs", "sim", "assets"},
    "agent": {"agent", "sim", "assets"},
    "experiments": {"experiments", "agent", "envs", "sim", "assets"},
}
COMMAND_LINES, MODULE_LINES, ALL_LINES = 130, 350, 9_400


def imported(code: str) -> set[str]:
    """All that a module imports: at the top, inside functions, and for type checkers."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


PATHS = {path: folder for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"}
CODE = {".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text() for path in PATHS}
IMPORTED = {name: {each.removeprefix("vlatency.") for each in imported(code)} for name, code in CODE.items()}
GRAPH = {name: each & CODE.keys() for name, each in IMPORTED.items()}
ARROWS = {(name, other) for name, others in GRAPH.items() for other in others}
EXPERIMENTS = {name for name in CODE if name.startswith("experiments.")}
COMMANDS = {name for name in EXPERIMENTS if name.count(".") == 1}


def test_the_folders_are_the_rooms() -> None:
    folders = {path.name for path in (ROOT / "experiments").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(ROOMS)


def test_no_module_imports_a_module_that_imports_it() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_nothing_imports_a_command() -> None:
    assert {(name, other) for name, other in ARROWS if other in COMMANDS} == set()


def test_no_room_imports_a_room_above_it() -> None:
    floors = {name: ROOMS.index(name.split(".")[1]) for name in EXPERIMENTS - COMMANDS}
    assert {(a, b) for a, b in ARROWS if a in floors and b in floors and floors[b] > floors[a]} == set()


def test_imports_point_from_experiments_to_agent_and_envs_to_sim() -> None:
    assert {(a, b) for a, b in ARROWS if b.split(".")[0] not in MAY_IMPORT[a.split(".")[0]]} == set()


def test_time_knows_nothing_of_torch_and_the_model_nothing_of_time() -> None:
    time = {name for name in CODE if name.startswith("agent.realtime.")}
    model = {name for name in CODE if name.startswith("agent.vla.")}
    assert {name for name in time if IMPORTED[name] & {"torch", "transformers"}} == set()
    assert {(a, b) for a, b in ARROWS if a in time and b in model} == set()
    assert {(a, b) for a, b in ARROWS if a in model - {"agent.vla.policy"} and b in time} == set()


def test_no_file_is_long() -> None:
    lines = {name: len(CODE[name].splitlines()) for name in EXPERIMENTS}
    limits = {name: COMMAND_LINES if name in COMMANDS else MODULE_LINES for name in lines}
    assert {name: count for name, count in lines.items() if count > limits[name]} == {}


def test_no_test_imports_another_test() -> None:
    wrong = set()
    for path in (ROOT / "tests").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        wrong |= {(name, each) for each in imported(path.read_text()) if ".test_" in each}
    assert wrong == set()


@pytest.mark.xfail(reason="still too long")
def test_experiments_is_no_longer_than_it_has_to_be() -> None:
    assert sum(len(CODE[name].splitlines()) for name in EXPERIMENTS) <= ALL_LINES


def test_no_argument_of_a_wrong_type_is_waved_through() -> None:
    paths = [*PATHS, *(ROOT / "tests").rglob("*.py")]
    assert [str(path) for path in paths if "ignore[arg" + "-type" in path.read_text()] == []
