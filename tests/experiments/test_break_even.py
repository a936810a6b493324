"""Where success falls below a threshold, within what was tested and nowhere else."""

import numpy as np
import pytest

from experiments.break_even import break_even

SPEEDS = [0.02, 0.05, 0.1, 0.15, 0.2]


def falls(*successes: int, n: int = 20) -> tuple[list[float], list[bool]]:
    """n episodes at each speed, so many of them successes."""
    loads = [speed for speed, _ in zip(SPEEDS, successes, strict=True) for _ in range(n)]
    return loads, [place < k for k in successes for place in range(n)]


def test_the_estimate_is_that_of_a_logistic_regression() -> None:
    import statsmodels.api as sm

    loads, successes = falls(19, 17, 11, 4, 2)
    model = sm.GLM(np.array(successes, float), sm.add_constant(np.array(loads)), family=sm.families.Binomial()).fit()
    found = break_even(loads, successes)
    assert found.estimate == pytest.approx(-model.params[0] / model.params[1], abs=1e-5)
    assert found.low is not None and found.high is not None and found.estimate is not None
    assert found.low < found.estimate < found.high
    stricter = break_even(loads, successes, 0.8).estimate
    assert stricter is not None and stricter < found.estimate


def test_a_sudden_fall_has_an_interval_too() -> None:
    found = break_even(*falls(20, 20, 0, 0, 0))
    assert found.low is not None and found.high is not None and found.estimate is not None
    assert 0.04 < found.low < found.estimate < found.high < 0.11


def test_what_never_falls_is_above_the_fastest() -> None:
    found = break_even(*falls(20, 20, 20, 20, 20))
    assert found.estimate is None and found.above and found.describe() == "above 0.2"


def test_what_is_never_good_enough_is_below_the_slowest() -> None:
    found = break_even(*falls(1, 0, 0, 0, 0))
    assert found.estimate is None and not found.above and found.describe() == "below 0.02"


def test_a_curve_along_the_threshold_cannot_tell() -> None:
    assert break_even(*falls(10, 10, 10, 10, 10)).describe() == "cannot tell (0.02 to 0.2 tested)"
    assert break_even(*falls(1, 1, 1, 1, 0, n=1)).describe().startswith(("cannot tell", "0.1"))


def test_an_interval_may_be_open() -> None:
    found = break_even(*falls(20, 20, 19, 17, 9))
    assert found.estimate is not None and found.high is None and "above 0.2]" in found.describe()


def test_the_interval_covers() -> None:
    rng = np.random.default_rng(11)
    loads = np.repeat(SPEEDS, 20)
    chance = 1 / (1 + np.exp(35 * (loads - 0.09)))
    covered = 0
    for _ in range(300):
        found = break_even(loads.tolist(), (rng.random(len(loads)) < chance).tolist())
        low, high = (end if end is not None else other for end, other in ((found.low, 0.0), (found.high, 1.0)))
        covered += low <= 0.09 <= high
    assert 0.92 < covered / 300 < 0.985


@pytest.mark.parametrize(("loads", "threshold"), [([0.1, 0.1], 0.5), ([0.1, 0.2], 1.0)])
def test_what_has_no_answer_is_refused(loads: list[float], threshold: float) -> None:
    with pytest.raises(ValueError):
        break_even(loads, [True, False], threshold)
