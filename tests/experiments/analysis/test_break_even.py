"""Laws of the break-even: where success falls below a threshold, within what was tested."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, logit

from vlatency.experiments.analysis.break_even import break_even

SPEEDS = [0.02, 0.05, 0.1, 0.15, 0.2]


def falls(*successes: int, n: int = 20) -> tuple[list[float], list[bool]]:
    """Loads and outcomes of n episodes at each speed, with this many successes."""
    loads = [speed for speed, _ in zip(SPEEDS, successes, strict=True) for _ in range(n)]
    return loads, [place < k for k in successes for place in range(n)]


def test_the_interval_lies_between_loads_above_and_loads_below_the_threshold() -> None:
    found = break_even(*falls(19, 17, 11, 4, 2))
    assert (found.low, found.high) == (0.05, 0.15)
    assert found.estimate == pytest.approx(0.1 + 0.05 / 7)
    assert found.describe() == "0.107 [0.05, 0.15]"
    stricter = break_even(*falls(19, 17, 11, 4, 2), 0.8)
    assert (stricter.low, stricter.high) == (None, 0.1)  # 19 of 20 may be below 80 %


def test_the_estimate_does_not_follow_a_rise() -> None:
    found = break_even(*falls(20, 8, 14, 4, 2))
    assert found.estimate == pytest.approx(0.1 + 0.05 * (11 - 10) / (11 - 4))  # 8 and 14 of 20 count as 11 and 11


def test_a_curve_that_rises_says_so() -> None:
    rising = break_even(*falls(2, 5, 11, 17, 19))
    assert rising.rise and rising.rise.told and (rising.rise.start, rising.rise.end) == (0.02, 0.2)
    assert "rises" in rising.describe() and "85 points" in rising.warning()
    noise = break_even(*falls(20, 15, 16, 4, 2))
    assert noise.rise and not noise.rise.told and (noise.rise.start, noise.rise.end) == (0.05, 0.1)
    assert "rises" not in noise.describe() and "5 points" in noise.warning() and "chance" in noise.warning()
    assert break_even(*falls(19, 17, 11, 4, 2)).warning() == ""


def test_in_a_flat_curve_a_rise_is_told_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(3)
    loads = [load for load in SPEEDS for _ in range(20)]
    found = [break_even(loads, (rng.random(len(loads)) < 0.5).tolist()) for _ in range(60)]
    assert sum(bool(each.rise and each.rise.told) for each in found) <= 3


def test_what_never_falls_is_above_the_fastest() -> None:
    found = break_even(*falls(20, 20, 20, 20, 20))
    assert (found.estimate, found.above, found.describe()) == (None, True, "above 0.2")


def test_what_is_never_good_enough_is_below_the_slowest() -> None:
    found = break_even(*falls(1, 0, 0, 0, 0))
    assert (found.estimate, found.above, found.describe()) == (None, False, "below 0.02")


def test_a_curve_along_the_threshold_cannot_tell() -> None:
    assert break_even(*falls(10, 10, 10, 10, 10)).describe() == "cannot tell (0.02 to 0.2 tested)"
    assert break_even(*falls(1, 1, 1, 1, 0, n=1)).describe().startswith(("cannot tell", "0.1"))


def test_an_interval_may_be_open() -> None:
    found = break_even(*falls(20, 20, 19, 17, 9))
    assert (found.low, found.high) == (0.15, None)
    assert found.describe() == "0.194 [0.15, above 0.2]"


CURVES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    "from all to none": (lambda x: expit(35 * (0.09 - x)), 0.5, 0.09),
    "from a ceiling of 85 %": (lambda x: 0.85 * expit(60 * (0.09 - x)), 0.5, 0.09 - logit(0.5 / 0.85) / 60),
    "to a floor of 30 %": (lambda x: 0.3 + 0.68 * expit(60 * (0.09 - x)), 0.5, 0.09 - logit(0.2 / 0.68) / 60),
    "just where a load was tested": (lambda x: 0.7 - x, 0.6, 0.1),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("n", [20, 50])
def test_the_interval_covers_however_success_falls(name: str, n: int) -> None:
    curve, threshold, crossing = CURVES[name]
    rng = np.random.default_rng(11)
    covered = 0
    for k in rng.binomial(n, curve(np.array(SPEEDS)), (500, len(SPEEDS))):
        found = break_even(*falls(*k, n=n), threshold)
        low, high = (end if end is not None else other for end, other in ((found.low, -1.0), (found.high, 9.0)))
        covered += low <= crossing <= high
    # No upper limit: its ends are tested loads, so where the crossing is well between two of them it covers always.
    assert covered / 500 >= 0.94


@pytest.mark.parametrize(
    ("loads", "threshold", "message"),
    [([0.1, 0.1], 0.5, "two different loads"), ([0.1, 0.2], 1.0, "threshold.* not 1")],
)
def test_what_has_no_answer_is_refused(loads: list[float], threshold: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        break_even(loads, [True, False], threshold)
