"""Where a result comes from: versions, git revision, machine, command."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.shared.instruction_sets import instruction_sets
from vlatency.experiments.shared.source_hash import source_sha256

NOT_DRAWN = "not drawn"
"""In place of the renderer where the policy sees no images."""
PACKAGES = ("vlatency", "mujoco", "gymnasium", "numpy", "torch", "transformers", "mink", "pillow")


def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python and of each package that can change a result, `more` beside the usual ones."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *more):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "from source" if name == "vlatency" else "not installed"
    return found


def git_revision() -> str | None:
    """The commit of this checkout, with "+" if files changed since; None if it is not under git."""
    root = ROOT
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + "+" * bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


def software(gl_renderer: str, gpu: str | None, packages: Sequence[str] = ()) -> dict[str, Any]:
    """All that can change an episode besides its setting. Rows of different software never share a rate.

    Args:
        gl_renderer: who draws.
        gpu: what the policy runs on; None is the CPU.
        packages: of others, whose versions count as well.
    """
    return {
        "versions": versions(packages),
        "source_sha256": source_sha256(),
        "gl_renderer": gl_renderer,
        "instruction_sets": instruction_sets(),
        "gpu": gpu,
    }


def joined(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record for cells that are compared: the packages of all of them, and the renderer of those that draw."""
    versions = {name: version for record in records for name, version in record["versions"].items()}
    return {**max(records, key=lambda record: record["gl_renderer"] != NOT_DRAWN), "versions": versions}


def differences(then: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two records, in words.

    Example:
        >>> differences({"versions": {"torch": "2.12.0"}}, {"versions": {"torch": "2.13.0"}})
        ['torch 2.12.0, now 2.13.0']
    """
    if isinstance(then, dict) and isinstance(now, dict):
        return [words for key in {**then, **now} for words in differences(then.get(key), now.get(key), key)]
    if then == now:
        return []
    return [name] if name == "source_sha256" else [f"{name} {then}, now {now}"]


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command_line(argv: list[str]) -> str:
    """The command, quoted so that it can be typed again."""
    return shlex.join(["python", *argv])


def with_episodes(argv: list[str], episodes: int) -> str:
    """The same command, but one that continues the run to `episodes` episodes per mode."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if not skip and not word.startswith("--episodes=") and word not in ("--episodes", "--resume"):
            kept.append(word)
        skip = word == "--episodes"
    return command_line([*kept, "--episodes", str(episodes), "--resume"])
