"""Profiles on disk: which ones ship, and reading one once however often it is asked for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from vlatency import assets
from vlatency.agent.realtime.cost.schema import Profile, read_profile
from vlatency.sim.errors import UsageError


def available_profiles() -> dict[str, Path]:
    """The profiles that ship with vlatency, by name."""
    return {path.stem: path for path in sorted((assets.FOLDER / "latency").glob("*.json"))}


def load_profile(path: Path) -> Profile:
    """The profile in a file, which is read again only after it has changed.

    Raises:
        UsageError: in one line, that it cannot be read or is no profile.
    """
    try:
        found = path.resolve()
        now = found.stat()
        return _read(found, now.st_mtime_ns, now.st_size)
    except (OSError, ValueError) as error:
        raise UsageError(f"latency profile {path} cannot be used: {error}") from error


@lru_cache(maxsize=64)
def _read(path: Path, mtime_ns: int, size: int) -> Profile:
    """Keyed by what changes with the file's content."""
    return read_profile(path.read_bytes())
