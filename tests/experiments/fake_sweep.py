"""experiments/sweep.py with made-up episodes of a tenth of a second: python -m tests.experiments.fake_sweep smoke."""

import time

from tests.builders import sweeps
from vlatency.experiments import sweep
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.facts import Facts
from vlatency.experiments.evaluation.run_folder import Row
from vlatency.experiments.shared import command


def probe(job: Job) -> Facts:
    """What a worker would find out."""
    return Facts("Pick up the {colour} {shape}", (640, 360), sweeps.SOFTWARE, "stand-in", 0, None)


def run_episode(job: Job) -> Row:
    """An episode that takes a tenth of a second."""
    time.sleep(0.1)
    return sweeps.episode(job) | {"wall_s": round(time.time() % 1, 3)}


if __name__ == "__main__":
    from tests.experiments import fake_sweep  # workers find its functions by this name

    sweep.probe, sweep.run_episode = fake_sweep.probe, fake_sweep.run_episode
    command.run(sweep.main, sweep.Args)
