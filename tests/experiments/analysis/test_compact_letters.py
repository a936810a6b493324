"""Laws of compact letters: two arms share a letter exactly if they cannot be told apart."""

import itertools

import numpy as np
import pytest

from vlatency.experiments.analysis.compact_letters import compact_letters


def test_the_example_of_multcomp_view() -> None:
    # R package multcompView, help page of multcompLetters: of a, b and c only b and c differ.
    assert compact_letters("abc", [("b", "c")]) == {"a": "ab", "b": "a", "c": "b"}


def test_the_chicken_feeds() -> None:
    # R package cld, "Understanding and interpreting compact letter displays": pairwise Wilcoxon tests of chickwts.
    expected = {"casein": "a", "horsebean": "b", "linseed": "bc", "meatmeal": "ac", "soybean": "c", "sunflower": "a"}
    differ = [
        ("casein", "horsebean"),
        ("casein", "linseed"),
        ("casein", "soybean"),
        ("horsebean", "meatmeal"),
        ("horsebean", "soybean"),
        ("horsebean", "sunflower"),
        ("linseed", "sunflower"),
        ("soybean", "sunflower"),
    ]
    found = compact_letters(list(expected), differ)
    for names in itertools.combinations(expected, 2):
        assert bool(set(found[names[0]]) & set(found[names[1]])) == (names not in differ)
        assert bool(set(expected[names[0]]) & set(expected[names[1]])) == (names not in differ)
    assert sorted(map(len, found.values())) == sorted(map(len, expected.values()))


def test_two_arms_share_a_letter_if_and_only_if_they_do_not_differ() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        arms = [f"arm{number}" for number in range(int(rng.integers(1, 8)))]
        pairs = list(itertools.combinations(arms, 2))
        differ = [pair for pair in pairs if rng.random() < 0.5]
        letters = compact_letters(arms, differ)
        assert all(letters.values())
        assert {pair for pair in pairs if not set(letters[pair[0]]) & set(letters[pair[1]])} == set(differ)
        assert compact_letters(arms, [pair[::-1] for pair in reversed(differ)]) == letters


def test_letters_beyond_z_have_numbers() -> None:
    arms = [f"arm{number}" for number in range(28)]
    letters = compact_letters(arms, list(itertools.combinations(arms, 2)))
    assert (letters["arm25"], letters["arm26"], letters["arm27"]) == ("z", "a1", "b1")


def test_a_pair_of_unknown_arms_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a, c .* a, b"):
        compact_letters("ab", [("a", "c")])
