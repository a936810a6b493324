"""The folder of this checkout, and files that are written completely or not at all."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vlatency.sim.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
"""The folder of this checkout."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new content for a file; it replaces the old one when the block ends without an error.

    A reader, or a crash, finds the old file or the new one, never a part of one.

    Raises:
        OSError: it cannot be written, as on a full disk; the error names the file, and the old content stays.
    """
    # Named by its process: two that write the same file at once do not write into each other's.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming(path), part.open("wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError say which file met it: where a disk is full, Python does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically, see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder, which is made if need be; a process that dies lets go of it.

    Raises:
        UsageError: another process is writing there, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise UsageError(f"cannot write to {folder} ({error.strerror}); choose another --out") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another process is writing to {folder}; wait for it, or stop it") from None
        yield


def check_writable(path: Path) -> None:
    """Raise UsageError unless `path`, or its nearest existing parent, is a folder that we may write to."""
    try:
        existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    except OSError as error:
        raise UsageError(f"cannot write to {path} ({error.strerror}); choose another --out") from None
    if not existing.is_dir():
        raise UsageError(f"cannot write to {path}: {existing} is not a folder; choose another --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {path}: no permission for {existing}; choose another --out")
