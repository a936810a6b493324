"""What is typed, and what is printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlatency.experiments.shared.files import ROOT


def typed(folder: Path, *words: bytes, **env: str) -> "subprocess.CompletedProcess[str]":
    line = [os.fsencode(sys.executable), os.fsencode(ROOT / "experiments" / os.fsdecode(words[0])), *words[1:]]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, env=os.environ | env, timeout=120)


@pytest.mark.parametrize(
    "words",
    [
        (b"run.py", b"--out", b"bad\xff"),
        (b"run.py", b"--out=bad\xff"),
        (b"sweep.py", b"bad\xff"),
        (b"report.py", b"bad\xff"),
        (b"collect.py", b"--out", b"bad\xff"),
        (b"measure.py", b"--out", b"bad\xff"),
    ],
)
def test_a_name_that_is_not_utf8_is_one_line_and_writes_nothing(words: tuple[bytes, ...], tmp_path: Path) -> None:
    done = typed(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "UTF-8" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_without_unicode_gets_the_tables_all_the_same(tmp_path: Path) -> None:
    script = tmp_path / "verb.py"
    script.write_text(
        "from dataclasses import dataclass\nfrom vlatency.experiments.shared import command\n"
        "@dataclass\nclass Args:\n    n: int = 1\n"
        "command.run(lambda args: print('25 · 50'), Args)\n"
    )
    line = [sys.executable, str(script)]
    done = subprocess.run(
        line, capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "25 ? 50\n", "")
