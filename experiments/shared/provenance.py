"""Where a result comes from: versions, revision, machine, command."""

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any

from vlatency.experiments.shared.files import ROOT

PACKAGES = ("vlatency", "mujoco", "gymnasium", "numpy", "torch", "transformers", "mink", "pillow")


def versions() -> dict[str, str]:
    """Version of Python and of each package that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "from source" if name == "vlatency" else "not installed"
    return found


def git_revision() -> str | None:
    """Commit of this source tree, with "+" if it was changed since; None where it is not under git."""
    root = ROOT
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + "+" * bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


def source_sha256() -> str:
    """SHA-256 of the code that decides an episode: what comes after it, such as tables, does not count."""
    root = ROOT
    files = [path for folder in ("sim", "envs", "agent") for path in (root / folder).rglob("*.py")]
    digest = hashlib.sha256()
    for path in sorted(
        [*files, *(root / "experiments" / name for name in ("evaluation/episodes.py", "evaluation/setting.py"))]
    ):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def software(gl_renderer: str) -> dict[str, Any]:
    """All that can change an episode beside its setting: episodes under different software are never compared."""
    return {"versions": versions(), "gl_renderer": gl_renderer, "source_sha256": source_sha256()}


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command_line(argv: list[str]) -> str:
    """The command as it can be typed again."""
    return shlex.join(["python", *argv])


def with_episodes(argv: list[str], episodes: int) -> str:
    """The same command, but to continue this run to `episodes` episodes a mode."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if not skip and not word.startswith("--episodes=") and word not in ("--episodes", "--resume"):
            kept.append(word)
        skip = word == "--episodes"
    return command_line([*kept, "--episodes", str(episodes), "--resume"])
