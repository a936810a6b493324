"""Where a result comes from: versions, git revision, machine, command."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any

from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.shared.source_hash import source_sha256

PACKAGES = ("vlatency", "mujoco", "gymnasium", "numpy", "torch", "transformers", "mink", "pillow")


def versions() -> dict[str, str]:
    """Versions of Python and of each package that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
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


def software(gl_renderer: str) -> dict[str, Any]:
    """All that can change an episode besides its setting. Episodes of different software are never compared."""
    return {"versions": versions(), "gl_renderer": gl_renderer, "source_sha256": source_sha256()}


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
