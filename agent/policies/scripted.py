"""Policies that are a Python function: the scripts that MetaWorld ships, and a function or class of the user's own."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlatency.agent.policies.chunk import checked_chunk
from vlatency.agent.policies.protocol import SCRIPT, CallTime, PolicyKind
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

Rule = Callable[[Any], Any]
"""From an observation to an action (width,) or a chunk (rows, width)."""
METAWORLD = "metaworld"


class ScriptSource:
    """A script as a source of policies.

    Args:
        name: as the command line spells it.
        make: gives the rule of one episode, for a task.
        identity: what results depend on.
    """

    kind: PolicyKind = "script"
    takes_plan = False
    cameras: tuple[str, ...] = ()

    def __init__(self, name: str, make: Callable[[str], Rule], identity: Callable[[], dict[str, Any]]) -> None:
        self.name = name
        self.identity = identity
        self._make = make
        self._timings: list[CallTime] = []

    @contextmanager
    def start(self, *, task: str, instruction: str, width: int) -> Iterator[Scripted]:
        """The script for one episode."""
        yield Scripted(self._make(task), width, self.name, self._timings)

    def timings(self) -> list[CallTime]:
        """All calls so far; the list itself, which grows."""
        return self._timings


class Scripted:
    """A script in one episode."""

    def __init__(self, rule: Rule, width: int, name: str, timings: list[CallTime]) -> None:
        self._rule, self._width, self._name, self._timings = rule, width, name, timings
        self._calls = 0

    def infer(self, requests: list[Infer]) -> list[NDArray[np.float64]]:
        """A chunk for each request.

        Raises:
            RunError: the script fails, or what it gives is no chunk.
        """
        return [self._infer(request) for request in requests]

    def _infer(self, request: Infer) -> NDArray[np.float64]:
        # A world of others hands its observation on; in ours, a script reads the sensors.
        observation = getattr(request.readings, "observation", request.readings)
        started = time.perf_counter()
        try:
            answer = self._rule(observation)
        except Exception as error:
            raise RunError(f"{self._name}: {_where(error)}") from error
        self._timings.append(CallTime(1e3 * (time.perf_counter() - started), first=not self._calls))
        self._calls += 1
        return checked_chunk(answer, self._width, self._name)


def find_script(text: str) -> ScriptSource:
    """The source behind "script:metaworld" or "script:MODULE:CALLABLE". UsageError if the text is neither."""
    name = text.removeprefix(SCRIPT)
    if name == METAWORLD:
        return ScriptSource(text, _metaworld_rule, lambda: {METAWORLD: _version(METAWORLD)})
    module, colon, attribute = name.partition(":")
    if not (colon and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise UsageError(f"policy '{text}' is no script; use script:metaworld or script:MODULE:CALLABLE")
    return ScriptSource(text, lambda task: _own_rule(module, attribute), lambda: {"sha256": _sha256(module)})


def _metaworld_rule(task: str) -> Rule:
    try:
        from metaworld.policies import ENV_POLICY_MAP
    except ImportError:
        raise UsageError("script:metaworld needs MetaWorld: make suites, and then .venv-suites/bin/python") from None
    if task not in ENV_POLICY_MAP:
        close = ", ".join(difflib.get_close_matches(task, ENV_POLICY_MAP, n=3, cutoff=0.0))
        raise UsageError(f"MetaWorld has no script for '{task}'; of its {len(ENV_POLICY_MAP)} the nearest are {close}")
    script = ENV_POLICY_MAP[task]()

    def rule(observation: Any) -> NDArray[np.float64]:
        with warnings.catch_warnings():  # it warns of commands beyond -1 and 1, which are clipped here
            warnings.simplefilter("ignore", UserWarning)
            answer = script.get_action(observation)
        return np.clip(np.asarray(answer, dtype=np.float64), -1, 1)

    return rule


def _own_rule(module: str, attribute: str) -> Rule:
    found = getattr(_load(module), attribute, None)
    if not callable(found):
        raise UsageError(f"{module} has no callable '{attribute}'; give script:MODULE:CALLABLE")
    if not isinstance(found, type):
        return found  # type: ignore[no-any-return]
    try:
        rule = found()
    except Exception as error:
        raise UsageError(f"script:{module}:{attribute} cannot be made: {_where(error)}") from error
    if not callable(rule):
        raise UsageError(f"{attribute} in {module} needs a method __call__(self, observation)")
    return rule  # type: ignore[no-any-return]


def _load(module: str) -> ModuleType:
    """Import a module from the present folder, or from wherever Python finds it."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module and not module.startswith(f"{error.name}."):
            raise UsageError(f"script {module} needs {error.name}, which is not installed") from error
        raise UsageError(f"no module '{module}' in {here} or among the installed packages") from error
    except Exception as error:
        raise UsageError(f"script {module} cannot be imported: {_where(error)}") from error


def _sha256(module: str) -> str:
    """Of the module's file. Modules that it imports do not count."""
    file = _load(module).__file__
    if file is None:
        raise UsageError(f"'{module}' is a folder; give the module in it that has the callable")
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise UsageError(f"{package} is not installed: make suites, and then .venv-suites/bin/python") from None


def _where(error: Exception) -> str:
    """What broke in a script of others, and in which of its lines."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{place}".split())
