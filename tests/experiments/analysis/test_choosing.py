"""Whatever is chosen, its interval holds, and what is shipped is good enough in at least 95 % of studies."""

from statistics import NormalDist

import numpy as np
import pytest

from vlatency.experiments.analysis.choosing import choose, enough, exact, needed
from vlatency.experiments.analysis.paired import Interval, wilson

OPTIONS, LEAST, DRAWS = 20, 0.9, 3000


def studies(rate: float, n: int, paired: bool) -> np.ndarray:
    """Successes of all options in many studies, each option with the same true rate.

    Paired options meet the same scenes: how hard a scene is counts for as much as all else together.
    """
    rng = np.random.default_rng(7)
    if not paired:
        return rng.binomial(n, rate, (DRAWS, OPTIONS))
    limit = np.sqrt(2) * float(NormalDist().inv_cdf(rate))
    counts = np.empty((DRAWS, OPTIONS), int)
    for study in range(DRAWS):
        hard = rng.standard_normal((n, 1)) + rng.standard_normal((n, OPTIONS))
        counts[study] = (hard < limit).sum(0)
    return counts


def shipped(counts: np.ndarray, n: int) -> float:
    """In how many of the studies anything is shipped, the option with the most successes first."""
    found = 0
    for study in counts:
        ranked = [enough(exact(int(k), n, OPTIONS), LEAST) for k in sorted(study, reverse=True)]
        found += choose(ranked)[0] == "yes"
    return found / len(counts)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("n", [100, 300])
def test_twenty_options_just_below_what_is_wanted_are_shipped_in_at_most_5_percent_of_studies(
    paired: bool, n: int
) -> None:
    counts = studies(0.89, n, paired)
    by_itself = np.mean([any(wilson(int(k), n).low >= LEAST for k in (max(study),)) for study in counts[:1000]])
    assert shipped(counts, n) <= 0.05
    assert paired or n > 100 or by_itself > 0.15  # what was shipped when each interval held by itself


def test_the_interval_of_the_option_with_the_most_successes_holds_in_95_percent_of_studies() -> None:
    for paired in (False, True):
        best = studies(0.89, 100, paired).max(1)
        covers = np.mean([exact(int(k), 100, OPTIONS).low <= 0.89 <= exact(int(k), 100, OPTIONS).high for k in best])
        alone = np.mean([wilson(int(k), 100).low <= 0.89 <= wilson(int(k), 100).high for k in best])
        assert covers >= 0.95 > alone


def test_what_is_good_enough_is_shipped_if_there_are_episodes_enough() -> None:
    n = needed(0.97, LEAST, OPTIONS)
    assert n and shipped(studies(0.97, n, paired=False)[:300], n) > 0.99


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    # Their interval for 0 of 10 ends at 1 - 0.025^(1/10); 7 of 10 is in the textbooks (0.348 to 0.933).
    assert exact(0, 10).high == pytest.approx(1 - 0.025**0.1) and exact(0, 10).low == 0.0
    assert exact(7, 10).low == pytest.approx(0.3475, abs=1e-4) and exact(7, 10).high == pytest.approx(0.9333, abs=1e-4)
    assert exact(7, 10, options=5).low < exact(7, 10).low
    for k, n, options in ((3, 2, 1), (0, 0, 1), (1, 2, 0)):
        with pytest.raises(ValueError, match="no proportion"):
            exact(k, n, options)


def test_the_first_option_that_is_surely_good_enough_goes_before_a_better_one_that_may_be() -> None:
    sure, maybe, bad = Interval(0.95, 0.91, 0.97), Interval(0.99, 0.85, 1.0), Interval(0.5, 0.4, 0.6)
    assert [enough(each, 0.9) for each in (sure, maybe, bad)] == ["yes", "cannot tell", "no"]
    assert choose(["cannot tell", "no", "yes"]) == ("yes", 2)
    assert choose(["no", "cannot tell"]) == ("cannot tell", 1)
    assert choose(["no"]) == ("no", None) == choose([])


def test_the_episodes_said_to_be_needed_tell_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(3)
    for rate in (0.97, 0.8):
        n = needed(rate, LEAST)
        assert n
        told = [
            enough(exact(int(k), n), LEAST) == ("yes" if rate > LEAST else "no") for k in rng.binomial(n, rate, 2000)
        ]
        assert 0.77 < np.mean(told) < 0.88
    assert needed(1.0, LEAST) == 36 and needed(LEAST, LEAST) is None
