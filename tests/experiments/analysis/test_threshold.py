"""The interval of a limit holds the limit at any time, and the search needs few episodes."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy.stats import beta

from vlatency.experiments.analysis.threshold import Design, Search, falling

LEVELS = tuple(float(level) for level in np.linspace(0, 1600, 33))
ENOUGH, END = 0.8, 1600.0
Curve = Callable[[float], float]
SHAPES: dict[str, Callable[[float], Curve]] = {
    "logistic": lambda limit: lambda x: 0.98 / (1 + math.exp((x - limit) / 60 + math.log(0.18 / 0.8))),
    "cliff": lambda limit: lambda x: 0.97 if x <= limit else 0.1,
    "plateau": lambda limit: lambda x: float(np.clip(0.8 - (x - limit) / 600, 0, 0.95)),
    "line": lambda limit: lambda x: float(np.clip(0.8 - (x - limit) / 1600, 0, 1)),
}
"""Success over latency; each is 0.8 at its limit, and lower beyond."""


def searched(curve: Curve, design: Design, rng: np.random.Generator) -> Iterator[Search]:
    """A search after each of its batches."""
    search = Search(design)
    while (level := search.next_level()) is not None:
        search.add(level, int(rng.binomial(design.batch, curve(design.levels[level]))), design.batch)
        yield search


def coverage(shape: str, studies: int, seed: int) -> float:
    """Share of studies, each with a limit of its own, whose interval held the limit after every single batch."""
    rng, held = np.random.default_rng(seed), 0
    design = Design(LEVELS, ENOUGH, width=200.0, most=400)
    for limit in rng.uniform(-50, END + 50, studies):
        held += all(search.limit.covers(limit) for search in searched(SHAPES[shape](float(limit)), design, rng))
    return held / studies


@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_holds_the_limit_after_every_batch_of_at_least_94_percent_of_studies(shape: str) -> None:
    assert coverage(shape, 150, seed=1) >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_it_does_so_in_2000_studies(shape: str) -> None:
    assert coverage(shape, 2000, seed=2) >= 0.94


def episodes_of(shape: str, design: Design, studies: int, rng: np.random.Generator) -> float:
    curves = [SHAPES[shape](float(limit)) for limit in rng.uniform(400, 1200, studies)]
    return float(np.mean([list(searched(curve, design, rng))[-1].limit.episodes for curve in curves]))


def grid_of(shape: str, design: Design, studies: int, rng: np.random.Generator) -> float:
    """Episodes of a grid over the same values, each with as many, whose interval is as narrow in half of the studies.

    Its interval reaches from the last value that is good enough to the first that is not, by the intervals of Clopper
    and Pearson, which hold at all values at once with 95 % (Bonferroni).
    """
    rates = [np.array([SHAPES[shape](float(c))(x) for x in design.levels]) for c in rng.uniform(400, 1200, studies)]
    risk = 0.025 / len(design.levels)
    for each in range(design.batch, 5_000, design.batch):
        widths = []
        for rate in rates:
            good = rng.binomial(each, rate)
            low = np.where(good > 0, beta.ppf(risk, good, each - good + 1), 0)
            high = np.where(good < each, beta.ppf(1 - risk, good + 1, each - good), 1)
            sure, not_enough = np.flatnonzero(low >= ENOUGH), np.flatnonzero(high < ENOUGH)
            ends = len(sure) and len(not_enough)
            widths.append(design.levels[not_enough[0]] - design.levels[sure[-1]] if ends else END)
        if np.median(widths) <= design.width:
            return each * len(design.levels)
    raise AssertionError("no grid is as good")


@pytest.mark.parametrize(
    ("shape", "width"), [("logistic", 100.0), ("cliff", 100.0), ("plateau", 100.0), ("line", 300.0)]
)
def test_it_needs_at_most_a_quarter_of_the_episodes_of_a_grid(shape: str, width: float) -> None:
    rng = np.random.default_rng(3)
    design = Design(LEVELS, ENOUGH, width, most=6_000)
    few, many = episodes_of(shape, design, 40, rng), grid_of(shape, design, 40, rng)
    print(f"{shape}: {few:.0f} episodes instead of {many:.0f}, {few / many:.0%}")
    assert few <= many / 4


@pytest.mark.parametrize(("rate", "low", "high"), [(0.99, END, None), (0.2, None, 0.0)])
def test_where_all_or_nothing_is_good_enough_the_interval_is_open(rate: float, low: float, high: float) -> None:
    *_, search = searched(lambda _: rate, Design(LEVELS, ENOUGH, 100.0), np.random.default_rng(0))
    assert (search.limit.low, search.limit.high) == (low, high)
    assert search.limit.episodes <= 200


def test_an_end_without_an_answer_is_an_interval_that_says_so() -> None:
    design = Design(LEVELS, ENOUGH, 50.0, most=60)
    assert Search(design).limit.covers(-1)
    *_, search = searched(SHAPES["line"](800), design, np.random.default_rng(0))
    assert search.limit.episodes == 60
    assert search.limit.covers(800)


def test_success_that_rises_is_said() -> None:
    search = Search(Design((0.0, 100.0, 200.0), 0.9, 100.0))
    search.add(0, 0, 100)
    search.add(2, 400, 400)
    assert search.limit.rises
    assert search.next_level() is None


def test_what_is_tried_next_depends_on_nothing_but_what_was_seen() -> None:
    one, two = Search(Design(LEVELS, ENOUGH, 100.0)), Search(Design(LEVELS, ENOUGH, 100.0))
    rng = np.random.default_rng(5)
    for _ in range(20):
        level = one.next_level()
        assert level == two.next_level()
        if level is None:
            break
        good = int(rng.binomial(20, SHAPES["logistic"](700)(LEVELS[level])))
        one.add(level, good, 20)
        two.add(level, good, 20)


def test_more_success_never_lowers_the_interval() -> None:
    rng = np.random.default_rng(6)
    for _ in range(30):
        worse, better = Search(Design(LEVELS, ENOUGH, 100.0)), Search(Design(LEVELS, ENOUGH, 100.0))
        for level in rng.choice(len(LEVELS), 4, replace=False):
            good = int(rng.integers(0, 41))
            worse.add(int(level), good, 40)
            better.add(int(level), min(40, good + int(rng.integers(0, 10))), 40)
        assert worse.limit.rises or better.limit.rises or (worse.limit.low or 0) <= (better.limit.low or 0)


def test_the_nearest_falling_sequence() -> None:
    assert list(falling([0.9, 0.5, 0.7, 0.1], [1, 1, 1, 1])) == pytest.approx([0.9, 0.6, 0.6, 0.1])
    assert list(falling([0.1, 0.9], [1, 3])) == pytest.approx([0.7, 0.7])
    rng = np.random.default_rng(7)
    rates = rng.random(50)
    found = falling(rates, np.ones(50))
    assert all(np.diff(found) <= 1e-12)
    assert found.mean() == pytest.approx(rates.mean())
