"""The expert's success is measured on the scenes that a policy meets, and any process finds the same."""

import pytest

from vlatency.experiments.checks.expert_success import Attempt, time_to_success
from vlatency.experiments.parallel.processes import Workers


@pytest.mark.slow
def test_an_attempt_repeats_in_another_process() -> None:
    attempts = [Attempt("static", None, 10.0, seed) for seed in (20_000, 20_001)]
    here = [time_to_success(attempt) for attempt in attempts]
    assert all(time is not None and 0 < time < 12 for time in here)
    with Workers(1) as workers:
        assert list(workers.map(time_to_success, attempts)) == here
