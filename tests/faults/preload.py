"""What a process that acts as a command has imported already."""

import mujoco  # noqa: F401
import scipy.optimize  # noqa: F401
import statsmodels.stats.contingency_tables  # noqa: F401

import vlatency.envs.tasks  # noqa: F401
from tests.faults.fake import verb
from vlatency.experiments.recording import video  # noqa: F401
from vlatency.experiments.reporting import study  # noqa: F401  # and with it statistics

for name in ("run", "sweep", "report"):
    verb(name)
