"""A file is replaced as a whole or not at all."""

import errno
from pathlib import Path

import pytest

from vlatency.experiments.shared.files import locked, replacing, write_text
from vlatency.sim.errors import UsageError


def test_an_error_names_the_file_keeps_the_old_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    for error in (OSError(errno.ENOSPC, "No space left on device"), ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, replacing(path) as file:
            file.write(b"new")
            raise error
        if isinstance(caught.value, OSError):
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_by_one_and_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "a"), pytest.raises(UsageError, match="another process"), locked(tmp_path / "a"):
            pass
