"""Intervals and tests against published values, and the laws that decisions rest on."""

import pytest

from experiments.stats import needed_n, paired, paired_difference, wilson


def arms(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    pairs = [(True, True)] * both + [(True, False)] * gained + [(False, True)] * lost + [(False, False)] * neither
    return [a for a, _ in pairs], [b for _, b in pairs]


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_has_published_values(k: int, n: int, low: float, high: float) -> None:
    interval = wilson(k, n)
    assert interval.estimate == k / n
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson(k, n)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:2635, table III; Altman et al. 2000, Statistics with confidence, p. 52.
    [((36, 12, 2, 0), 0.0569, 0.3404), ((14, 5, 0, 22), 0.0115, 0.2265)],
)
def test_paired_interval_has_published_values(table: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = paired_difference(*table)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    "table", [(20, 0, 0, 0), (0, 0, 0, 20), (0, 20, 0, 0), (10, 0, 0, 10), (1, 0, 0, 0), (7, 5, 5, 3)]
)
def test_paired_interval_contains_the_estimate_and_mirrors(table: tuple[int, int, int, int]) -> None:
    both, gained, lost, neither = table
    there, back = paired_difference(*table), paired_difference(both, lost, gained, neither)
    assert -1 <= there.low <= there.estimate <= there.high <= 1
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_seeds() -> None:
    result = paired(*arms(both=30, gained=1, lost=9, neither=10))
    assert result.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert result.significant
    assert result.difference.estimate == pytest.approx(-8 / 50)


def test_equal_arms_cannot_be_told_apart() -> None:
    result = paired([True, False, True], [True, False, True])
    assert (result.p_value, result.difference.estimate, result.significant) == (1.0, 0.0, False)


def test_paired_refuses_arms_of_different_length() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        paired([True], [True, False])


def test_needed_seeds_by_hand() -> None:
    # Connor 1987: (1.9600 sqrt(0.3) + 0.8416 sqrt(0.3 - 0.01))^2 / 0.01 = 233.09
    assert needed_n(0.3, 0.1) == 234


def test_smaller_differences_need_more_seeds() -> None:
    assert needed_n(0.3, 0.05) > needed_n(0.3, 0.1) > needed_n(0.3, 0.2)
