"""Latency profiles on disk: which ones ship, and reading each only once."""

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
    """Read and check a profile. A file that has not changed is read only once per process.

    Raises:
        UsageError: it cannot be read, or it is not a profile; one line that names the place.
    """
    try:
        found = path.resolve()
        now = found.stat()
        return _read(found, now.st_mtime_ns, now.st_size)
    except (OSError, ValueError) as error:
        raise UsageError(f"latency profile {path} cannot be used: {error}") from error


@lru_cache(maxsize=64)
def _read(path: Path, mtime_ns: int, size: int) -> Profile:
    """Modification time and size are only keys of the cache."""
    return read_profile(path.read_bytes())
