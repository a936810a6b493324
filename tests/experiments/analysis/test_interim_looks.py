"""Laws of interim looks: deciding early, without more false alarms."""

import numpy as np
import pytest

from vlatency.experiments.analysis.interim_looks import critical_z, look_by_look, sizes
from vlatency.experiments.analysis.paired import paired


@pytest.mark.parametrize(("looks", "z"), [(1, 1.960), (2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040)])
def test_constants_are_the_published_ones(looks: int, z: float) -> None:
    # Jennison and Turnbull 2000, Group sequential methods, table 2.3, alpha = 0.05.
    assert critical_z(looks) == pytest.approx(z, abs=6e-4)


@pytest.mark.parametrize("looks", [0, 11])
def test_looks_outside_their_range_are_refused(looks: int) -> None:
    with pytest.raises(ValueError, match="1 to 10"):
        critical_z(looks)


def test_the_last_look_has_all_seeds() -> None:
    assert sizes(100, 5) == (20, 40, 60, 80, 100)
    assert sizes(7, 3) == (3, 5, 7)
    assert sizes(6, 1) == (6,)


def test_one_look_is_the_ordinary_test() -> None:
    first, second = [True] * 12 + [False] * 8, [False] * 9 + [True] * 11
    assert look_by_look(first, second, (20,)) == paired(first, second)


def test_a_large_difference_is_decided_early_and_later_seeds_do_not_count() -> None:
    first, second = [True] * 60 + [False] * 40, [False] * 60 + [True] * 40
    result = look_by_look(first, second, sizes(100, 5))
    assert result.n == 20
    assert paired(first[:20], second[:20]).p_value < result.p_value < 0.05
    assert look_by_look(first[:20], second[:20], sizes(100, 5)) == result


def test_before_the_first_look_nothing_is_decided() -> None:
    result = look_by_look([True] * 15, [False] * 15, sizes(100, 5))
    assert (result.n, result.p_value) == (15, 1.0)


def test_an_early_difference_must_be_larger_than_a_late_one() -> None:
    first, second = [True] * 8 + [False] * 12, [False] * 20
    assert paired(first, second).significant
    assert not look_by_look(first, second, sizes(100, 5)).significant


@pytest.mark.slow
def test_equal_arms_are_told_apart_in_at_most_one_of_twenty_sweeps() -> None:
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(400):
        first, second = rng.random((2, 100)) < 0.5
        alarms += look_by_look(first.tolist(), second.tolist(), sizes(100, 4)).significant
    assert alarms / 400 < 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5
