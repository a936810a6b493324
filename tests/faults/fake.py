"""run.py, sweep.py and report.py with made-up episodes of a tenth of a second.

Workers import this file, so it imports little; and `typed` runs in a process that was forked from one that has imported
everything, because starting a command takes a second.
"""

import importlib
import os
import random
import resource
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.facts import Facts
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.shared import command
from vlatency.experiments.shared.files import ROOT, write_text

EPISODE_S = 0.1
SOFTWARE = {"versions": {"python": "3.11.7", "vlatency": "0.1.0"}, "gl_renderer": "fake", "source_sha256": "ab"}
FRAMES = 6
"""Of a film."""


def probe(job: Job) -> Facts:
    """What a worker would find out."""
    return Facts("Pick up the {colour} {shape}", (640, 360), SOFTWARE, "stand-in", 0, None)


def run_episode(job: Job) -> Row:
    """An episode, filmed and traced if the job says so."""
    time.sleep(EPISODE_S)
    if job.video:
        _film(Path(job.video))
    if job.trace:
        Path(job.trace).parent.mkdir(parents=True, exist_ok=True)
        write_text(Path(job.trace), "{}")
    rng = random.Random(f"{job.seed} {job.setting.hash}")
    success = rng.random() < 0.6
    return {
        "mode": job.setting.mode,
        "seed": job.seed,
        "success": success,
        "time_to_success_s": 2.0 + rng.random() if success else None,
        "trajectory_hash": f"{rng.getrandbits(64):x}",
        "feature_age_ms_p50": 100 * rng.random(),
        "feature_age_ms_p95": 200 + 100 * rng.random(),
        "ticks": 40,
        "missed": rng.randrange(3),
        "overruns": 0,
        "encodes": 9,
        "wall_s": EPISODE_S,
    }


def _film(path: Path) -> None:
    import numpy as np

    from vlatency.experiments.recording.video import write_frames

    write_frames(path, (np.full((52, 128, 3), 40 * number, np.uint8) for number in range(FRAMES)))


def run_together(jobs: Sequence[Job]) -> list[Row]:
    """Several of them."""
    return [run_episode(job) for job in jobs]


def verb(name: str) -> ModuleType:
    """The module of a command, its episodes made up."""
    module = importlib.import_module(f"vlatency.experiments.{name}")
    for function in (probe, run_episode, run_together):
        if hasattr(module, function.__name__):
            setattr(module, function.__name__, function)
    return module


def typed(words: Sequence[str], folder: Path, limit: int | None, out: Connection, err: Connection) -> None:
    """Act as a command that is typed in a folder.

    Args:
        words: the command's name and what follows.
        folder: where it is typed.
        limit: the most bytes of a file that it writes, if any.
        out: becomes its standard output.
        err: becomes its standard error.
    """
    for number, pipe in enumerate((out, err), 1):
        os.dup2(pipe.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    os.chdir(folder)
    sys.argv = [str(ROOT / "experiments" / f"{words[0]}.py"), *words[1:]]
    sys.modules["__main__"] = ModuleType("__main__")  # workers need not import what has started us
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    module = verb(words[0])
    command.run(module.main, module.Args)
