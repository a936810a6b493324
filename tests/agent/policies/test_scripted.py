"""Python functions as policies."""

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vlatency.agent.policies.protocol import PolicySource
from vlatency.agent.policies.source import find_source, is_source
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

SCRIPT = """
import numpy as np
LIMIT = 3
def act(observation):
    return observation[:2]
def plan(observation):
    return np.tile(observation[:2], (5, 1))
def broken(observation):
    return observation["nothing"]
def nothing(observation):
    return None
class Counting:
    def __init__(self):
        self.calls = 0
    def __call__(self, observation):
        self.calls += 1
        return [self.calls, 0]
class Mute:
    pass
class Never:
    def __init__(self):
        raise OSError("no weights")
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the present folder."""
    name = f"script_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def request(observation: Any = (0.5, -0.5, 9.0)) -> Infer:
    return Infer({}, "", SimpleNamespace(observation=np.array(observation)))


def one_answer(source: PolicySource, width: int = 2) -> np.ndarray:
    with source.start(task="", instruction="", width=width) as policy:
        (chunk,) = policy.infer([request()])
    return np.asarray(chunk)


def test_a_function_gives_an_action_or_a_chunk(script: str) -> None:
    np.testing.assert_array_equal(one_answer(find_source(f"script:{script}:act")), [[0.5, -0.5]])
    assert one_answer(find_source(f"script:{script}:plan")).shape == (5, 2)


def test_a_class_is_made_anew_for_every_episode(script: str) -> None:
    source = find_source(f"script:{script}:Counting")
    for _ in range(2):
        with source.start(task="", instruction="", width=2) as policy:
            first, second = policy.infer([request(), request()])
        assert (first[0, 0], second[0, 0]) == (1, 2)
    assert [call.first for call in source.timings()] == [True, False, True, False]


def test_a_result_depends_on_the_script_s_file(script: str) -> None:
    file = Path(f"{script}.py").read_bytes()
    assert find_source(f"script:{script}:act").identity() == {"sha256": hashlib.sha256(file).hexdigest()}


def test_nothing_is_imported_before_it_is_used() -> None:
    assert find_source("script:no_such_module:act").kind == "script"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:act", "no_such_module"),
        ("{}:missing", "missing"),
        ("{}:LIMIT", "LIMIT"),
        ("{}:Mute", "__call__"),
        ("{}:Never", "no weights"),
    ],
)
def test_a_script_that_cannot_be_had_is_one_line(script: str, name: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        one_answer(find_source("script:" + name.format(script)))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "told"), [("broken", ".py:9"), ("nothing", "NoneType"), ("act", "(2,)")])
def test_a_script_that_fails_is_one_line(script: str, name: str, told: str) -> None:
    with pytest.raises(RunError) as error:
        one_answer(find_source(f"script:{script}:{name}"), width=3)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_script_that_needs_a_missing_package_says_which(script: str) -> None:
    Path(f"{script}_2.py").write_text("import no_such_package\n")
    with pytest.raises(UsageError, match="no_such_package"):
        one_answer(find_source(f"script:{script}_2:act"))


@pytest.mark.parametrize("text", ["script:", "script:a", "script:a:", "script::a", "script:a.py:b c", "script:a-b:c"])
def test_another_text_is_refused(text: str) -> None:
    assert is_source(text)
    with pytest.raises(UsageError, match="MODULE:CALLABLE"):
        find_source(text)


def test_a_folder_is_no_source() -> None:
    assert not is_source("tiny")
    with pytest.raises(UsageError, match="openpi://"):
        find_source("tiny")


def test_a_script_takes_no_key_map() -> None:
    with pytest.raises(UsageError, match="key map"):
        find_source("script:metaworld", "libero")


def test_metaworld_s_script_is_that_of_the_task_and_keeps_to_the_box() -> None:
    policies = pytest.importorskip("metaworld.policies")
    observation = np.linspace(0, 1, 39)
    source = find_source("script:metaworld")
    for task, script in policies.ENV_POLICY_MAP.items():
        with source.start(task=task, instruction="", width=4) as policy:
            (chunk,) = policy.infer([request(observation)])
        np.testing.assert_array_equal(chunk, [np.clip(script().get_action(observation), -1, 1)])
    with pytest.raises(UsageError, match="drawer-open-v3"):
        source.start(task="drawer-opn-v3", instruction="", width=4).__enter__()
