"""Jobs that an engine is given: they take time, fail, or kill their process."""

import os
import signal
import time
from pathlib import Path

from vlatency.sim.errors import UsageError


def own_pid(_: int) -> int:
    """The process that does the job."""
    return os.getpid()


def square(seconds: float) -> float:
    """Takes so long."""
    time.sleep(seconds)
    return seconds * seconds


def refuse(name: str) -> None:
    """Raises an error that is one line."""
    raise UsageError(f"unknown {name}")


def refuse_or_wait(name: str) -> None:
    """Raises an error if there is a name, and takes two minutes if there is none."""
    if name:
        refuse(name)
    time.sleep(120)


def die(_: int) -> None:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: str) -> str:
    """Kills its process if the file `marker` does not exist yet."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker


class Picky(Exception):
    """Cannot be unpickled, because it is made from two words and unpickling gives it one."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


def complain(name: str) -> None:
    """Raises an error that cannot be sent to another process."""
    raise Picky(name, "no")
