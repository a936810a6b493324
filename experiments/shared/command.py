"""Command lines: a dataclass becomes flags, and an error becomes one line on stderr and an exit status."""

import contextlib
import io
import math
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import tyro

from vlatency.sim.errors import RunError, UsageError

T = TypeVar("T")

FAILED, INTERRUPTED = 2, 130
"""Exit statuses."""


def parse(config: type[T], args: list[str] | None = None) -> T:
    """Parse the command line into an instance of the dataclass `config`.

    Raises:
        UsageError: unknown flag, missing or malformed value, or one that is not UTF-8: results name their commands.
    """
    for word in sys.argv[1:] if args is None else args:
        if not word.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in word):
            shown = word.encode("utf-8", "backslashreplace").decode()
            raise UsageError(f"{shown} is not UTF-8 text; rename the file or folder")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(config, args=args, config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_one_line(complaint.getvalue())) from None


def check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    """UsageError unless `value` is a number from `least` to `most`."""
    if not least <= value <= most:
        limit = f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
        raise UsageError(f"{name} must be {limit}, not {value:g}")


def _one_line(box: str) -> str:
    """The message in a box that tyro prints, without the frame and the suggestions below it."""
    words: list[str] = []
    for line in box.splitlines():
        text = line.strip(" │|")
        if text.startswith(("╭", "+")) or not text:
            continue
        if text.startswith(("─", "╰", "--------")):
            break
        words.append(text)
    message = " ".join(words) or "bad command line"
    return f"{message[0].lower()}{message[1:].rstrip('.')}; see --help"


def run(main: Callable[[T], None], config: type[T]) -> NoReturn:
    """Parse the command line, call `main` with it and exit. Errors that a user can fix print no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks, and no traceback
    try:
        main(parse(config))
    except (UsageError, RunError) as error:
        _fail(str(error), FAILED)
    except KeyboardInterrupt:
        _fail("interrupted; finished work is saved, and the run can be continued", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output is gone (`| head`). Without this, Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except OSError as error:
        _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), FAILED)
    sys.exit(0)


def _fail(message: str, status: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
