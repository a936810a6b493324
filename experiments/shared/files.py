"""Where this checkout is, and files that are written whole or not at all."""

import os
from pathlib import Path

from vlatency.sim.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
"""The folder of this checkout."""


def write_text(path: Path, text: str) -> None:
    """Replace a file so that a reader, or a crash, meets the old one or the new one and nothing between."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def check_writable(path: Path) -> None:
    """UsageError unless `path`, or the first folder above it that exists, is a folder we may write to."""
    try:
        existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    except OSError as error:
        raise UsageError(f"cannot write to {path} ({error.strerror}); choose another --out") from None
    if not existing.is_dir():
        raise UsageError(f"cannot write to {path}: {existing} is not a folder; choose another --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {path}: no permission for {existing}; choose another --out")
