"""experiments/sweep.py with episodes of a tenth of a second: python tests/experiments/fake_sweep.py smoke."""

import random
import time

from vlatency.experiments import sweep
from vlatency.experiments.evaluation import episodes
from vlatency.experiments.evaluation.episodes import Facts, Job
from vlatency.experiments.evaluation.run_folder import Row
from vlatency.experiments.shared import command


def probe(job: Job) -> Facts:
    """As if the world had been opened."""
    return Facts("Pick up the {colour} {shape}", (640, 360), "fake", 0, True, None)


def run(job: Job) -> Row:
    """One view fails more often, and so does what is late."""
    time.sleep(0.1)
    setting = job.setting
    chance = 0.9 - 0.5 * (len(setting.optimization.cameras) == 1) - setting.vl_ms / 400
    success = random.Random(job.seed).random() < chance
    return {"mode": job.mode, "seed": job.seed, "success": success, "wall_s": round(time.time() % 1, 3)}


if __name__ == "__main__":
    from tests.experiments import fake_sweep  # workers find its functions by this name

    episodes.probe, episodes.run = fake_sweep.probe, fake_sweep.run
    command.run(sweep.main, sweep.Args)
