"""Laws of late or wrong: the parts add up, and each is found where it is the only cause."""

import numpy as np
import pytest

from vlatency.experiments.analysis.late_or_wrong import late_or_wrong
from vlatency.experiments.analysis.paired import square_and_add


def test_the_parts_add_up_to_the_total() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        four = (rng.random((4, 30)) < rng.random((4, 1))).tolist()
        split = late_or_wrong(*four)
        parts = split.late.difference.estimate + split.wrong.difference.estimate + split.interaction.estimate
        assert parts == pytest.approx(split.total.difference.estimate, abs=1e-12)
        for interval in (split.late.difference, split.wrong.difference, split.interaction):
            assert interval.low <= interval.estimate <= interval.high


def test_what_is_only_late_is_not_wrong() -> None:
    good, bad = [True] * 40, [False] * 30 + [True] * 10
    split = late_or_wrong(reference=good, late=bad, wrong=good, optimized=bad)
    assert (split.late.verdict, split.late.difference.estimate) == ("worse", -0.75)
    assert (split.wrong.verdict, split.wrong.difference.estimate) == ("cannot tell", 0)
    assert split.interaction.estimate == 0
    assert split.total.difference == split.late.difference


def test_what_is_bad_only_when_both_come_together_is_interaction() -> None:
    good, bad = [True] * 40, [False] * 40
    split = late_or_wrong(good, good, good, bad)
    assert split.interaction.estimate == -1
    assert split.interaction.high < 0
    assert split.late.verdict == split.wrong.verdict == "cannot tell"


def test_an_optimization_that_changes_no_feature_is_never_wrong() -> None:
    reference, optimized = [True, False] * 10, [False, True] * 10
    split = late_or_wrong(reference, late=optimized, wrong=reference, optimized=optimized)
    assert split.wrong.difference.estimate == split.interaction.estimate == 0
    assert split.late == split.total


def test_the_interaction_is_narrower_if_features_change_the_same_scenes_at_either_timing() -> None:
    reference, wrong = [True] * 30, [True] * 20 + [False] * 10
    split = late_or_wrong(reference, late=reference, wrong=wrong, optimized=wrong)
    alone = square_and_add(split.wrong.difference, split.wrong.difference, 0.0)
    assert split.interaction.high - split.interaction.low < 0.5 * (alone.high - alone.low)


@pytest.mark.slow
def test_interaction_intervals_cover() -> None:
    rng = np.random.default_rng(9)
    rates = np.array([[0.9], [0.7], [0.8], [0.4]])  # reference, late, wrong, optimized: the interaction is -0.2
    covered = 0
    for _ in range(2000):
        scene = rng.random(60)  # a hard scene is hard for all
        draws = np.where(rng.random((4, 60)) < 0.5, scene, rng.random((4, 60)))
        interval = late_or_wrong(*(draws < rates).tolist()).interaction
        covered += interval.low <= -0.2 <= interval.high
    assert 0.93 < covered / 2000 < 0.995  # above 0.95: the Wilson intervals it is made of are discrete


def test_arms_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        late_or_wrong([True], [True], [True], [True, False])
