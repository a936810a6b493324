"""Intervals and tests against published values, and the laws behind verdicts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from vlatency.experiments.analysis.paired import detectable, holm, needed_n, paired, paired_difference, power, wilson


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
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{k} of {n}"):
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


@pytest.mark.parametrize("discordant", [0.1, 0.2, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("difference", [0.02, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
def test_the_needed_seeds_have_a_power_of_80_percent_and_one_less_has_not(
    discordant: float, difference: float, level: float
) -> None:
    n = needed_n(discordant, difference, level)
    assert power(n, discordant, difference, level) >= 0.80
    assert power(n - 1, discordant, difference, level) < 0.80


@pytest.mark.slow
def test_the_needed_seeds_have_their_power_in_a_simulation() -> None:
    # Connor's normal approximation says 234, with which the exact test has a power of 0.775.
    gains, losses, draws = 0.2, 0.1, 1000
    n = needed_n(gains + losses, gains - losses)
    tables = np.random.default_rng(5).multinomial(n, (gains, losses, 1 - gains - losses), size=draws)
    kinds, counts = np.unique(tables[:, :2], axis=0, return_counts=True)
    found = [
        paired(*arms(0, int(gained), int(lost), n - int(gained) - int(lost))).significant for gained, lost in kinds
    ]
    assert 0.77 < counts[found].sum() / draws < 0.84
    assert power(234, 0.3, 0.1) < 0.78


def test_at_least_six_discordant_seeds_are_needed() -> None:
    # 2 / 2^5 = 0.063 does not reject at 0.05, 2 / 2^6 = 0.031 does; at 0.025 seven are needed (2 / 2^7 = 0.016)
    assert needed_n(1.0, 1.0) == 6
    assert paired([False] * 5, [True] * 5).needed == 6
    assert needed_n(1.0, 1.0, level=0.025) == 7


def test_smaller_differences_need_more_seeds() -> None:
    assert needed_n(0.3, 0.05) > needed_n(0.3, 0.1) > needed_n(0.3, 0.2)


def test_wilson_and_mcnemar_agree_with_scipy() -> None:
    from scipy.stats import binomtest

    for k, n in ((0, 7), (3, 10), (99, 100)):
        theirs = binomtest(k, n).proportion_ci(method="wilson")
        assert (wilson(k, n).low, wilson(k, n).high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    for gained, lost in ((0, 5), (3, 9), (4, 4)):
        assert paired(*arms(5, gained, lost, 5)).p_value == pytest.approx(binomtest(gained, gained + lost).pvalue)


@pytest.mark.parametrize(
    ("n", "cells"),  # chances of both, only the first, only the second, neither
    [(20, (0.6, 0.2, 0.1, 0.1)), (50, (0.3, 0.3, 0.1, 0.3)), (100, (0.9, 0.06, 0.01, 0.03))],
)
def test_paired_intervals_cover(n: int, cells: tuple[float, float, float, float]) -> None:
    draws = np.random.default_rng(7).multinomial(n, cells, size=2000)
    truth = cells[1] - cells[2]
    tables, counts = np.unique(draws, axis=0, return_counts=True)
    intervals = [paired_difference(*map(int, table)) for table in tables]
    covered = sum(int(count) for i, count in zip(intervals, counts, strict=True) if i.low <= truth <= i.high)
    assert 0.935 < covered / 2000 < 0.985


def test_holm_on_a_worked_example() -> None:
    # Wikipedia, "Holm-Bonferroni method", example: of 0.01, 0.04, 0.03 and 0.005 the first and the last are rejected.
    same = paired([True], [True])
    results = {name: replace(same, p_value=p) for name, p in zip("abcd", (0.01, 0.04, 0.03, 0.005), strict=True)}
    adjusted = holm(results)
    assert [adjusted[name].p_value for name in "abcd"] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [name for name in "abcd" if adjusted[name].significant] == ["a", "d"]
    assert holm({}) == {}
    assert adjusted["a"].needed > same.needed  # a stricter level needs more seeds


def test_one_comparison_needs_no_adjustment() -> None:
    result = paired(*arms(10, 7, 1, 2))
    assert holm({"one": result}) == {"one": result}


def test_power_is_the_sum_over_all_tables() -> None:
    n, gains, losses = 9, 0.6, 0.1
    expected = 0.0
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            ways = math.factorial(n) / math.prod(map(math.factorial, (gained, lost, n - gained - lost)))
            chance = ways * gains**gained * losses**lost * (1 - gains - losses) ** (n - gained - lost)
            tail = sum(math.comb(gained + lost, x) for x in range(min(gained, lost) + 1)) / 2 ** (gained + lost)
            expected += chance * (min(1.0, 2 * tail) < 0.05)
    assert power(n, gains + losses, gains - losses) == pytest.approx(expected)


def test_the_detectable_difference_has_a_power_of_80_percent() -> None:
    least = detectable(100, 0.3)
    assert least is not None
    assert power(100, 0.3, least) == pytest.approx(0.8, abs=1e-3)
    assert abs(needed_n(0.3, least) - 100) <= 2


def test_more_seeds_detect_smaller_differences_and_fewer_than_six_none() -> None:
    least = [detectable(n, 0.5) or 1.0 for n in (6, 20, 100, 400)]
    assert least == sorted(least, reverse=True)
    assert least[-1] < 0.11
    assert detectable(5, 1.0) is None
    stricter = detectable(100, 0.5, 0.005)
    assert stricter is not None
    assert stricter > least[2]
