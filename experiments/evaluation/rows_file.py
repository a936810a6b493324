"""The rows of a run, one a line: appended one by one, and never lost to a kill, a full disk or a damaged file."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

from vlatency.experiments.shared import checked_json
from vlatency.experiments.shared.files import naming, replacing

Row = dict[str, Any]


class RowsFile:
    """episodes.jsonl, which may not exist yet.

    A line counts if it is as it was written, holds an episode, and is the first of its mode and seed. The others are
    not used; the first `append` moves them to a file beside this one and says so, and their episodes can run again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._lines: list[bytes] = []
        # What follows the last line break was being written when the run was killed.
        *lines, unfinished = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        self.damaged = [unfinished] if unfinished else []
        done = set()
        for line in lines:
            row = _episode(line)
            if row is None or (key := (row["mode"], row["seed"])) in done:
                self.damaged.append(line)
            else:
                done.add(key)
                self._lines.append(line)
                self.rows.append(row)

    def append(self, row: Row) -> None:
        """Add one episode, on disk before this returns; call it under the lock of the run's folder.

        Raises:
            OSError: it cannot be written, which names the file. No row is lost or cut by that.
            ValueError: the row holds a number that is not finite.
        """
        line = checked_json.dumps(row).encode()
        self.set_aside()
        with naming(self.path):
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                self._write(file, line + b"\n")
            finally:
                os.close(file)
        self._lines.append(line)
        self.rows.append(row)

    @staticmethod
    def _write(file: int, line: bytes) -> None:
        before = os.fstat(file).st_size
        try:
            if os.write(file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        except OSError:
            os.ftruncate(file, before)
            raise

    def set_aside(self) -> None:
        """Keep what is no row in another file, and only rows in this one. Under the lock; errors as of `append`."""
        if not self.damaged:
            return
        aside = self.path.with_suffix(".damaged")
        with naming(aside), aside.open("ab") as file:
            file.write(b"\n".join([*self.damaged, b""]))
        with replacing(self.path) as file:
            file.write(b"".join(line + b"\n" for line in self._lines))
        count = len(self.damaged)
        print(f"warning: {count} damaged line{'s' * (count > 1)} of {self.path} moved to {aside}", file=sys.stderr)
        self.damaged = []


def _episode(line: bytes) -> Row | None:
    """The row in a line; None if there is none."""
    try:
        row = checked_json.loads(line)
    except ValueError:
        return None
    kinds = [type(row.get(name)) for name in ("mode", "seed", "success")]
    return row if kinds == [str, int, bool] else None
