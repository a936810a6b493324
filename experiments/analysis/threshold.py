"""The largest value of an axis, such as a latency, at which success is still high enough: found adaptively.

Success is assumed not to rise along the axis. Then the limit is one number, and every episode speaks to it. Against
each possible limit two bets are held: that values beyond it succeed too often for it, and that values before it succeed
too rarely. Under the true limit neither bet is expected to gain, whichever values are tried next and whenever one
stops, so the probability that one of them is ever multiplied by 40 is at most 5 % (Ville's inequality; "Game-theoretic
statistics and safe anytime-valid inference", Ramdas et al. 2023). The limits against which no bet has gained so much
are the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

EQUAL = 9
"""Each of so many values that are tried first gets the same stake; each later one half of what is left."""
OPTIMISM = 20
"""Episodes that tame the optimism about values tried rarely; without any optimism the search stays where luck was bad.
"""
STEP = 4
"""The interval is narrowed by about this factor at a time, so that a search that has to end early says something."""
MOST_GAIN = 600.0
"""Logarithm above which a gain is no longer counted."""


@dataclass(frozen=True)
class Design:
    """What is decided before the first episode.

    Attributes:
        levels: the values that may be tried, in rising order.
        enough: the success that is high enough, above 0 and below 1.
        width: the search ends when the interval is no wider, in units of the axis.
        batch: episodes that are run at one value before the next decision.
        most: the search ends after so many episodes, whatever the width.
        confidence: of the interval.
    """

    levels: tuple[float, ...]
    enough: float
    width: float
    batch: int = 10
    most: int = 2_000
    confidence: float = 0.95


@dataclass(frozen=True)
class Limit:
    """The interval of the limit.

    Attributes:
        low: the largest value that is good enough; None if not even the lowest one is known to be.
        high: the smallest value that is not; None if even the highest may be good enough.
        episodes: that it took.
        rises: success rises along the axis, against the assumption: no limit is left, and both ends are None.
    """

    low: float | None
    high: float | None
    episodes: int
    rises: bool = False

    def covers(self, value: float) -> bool:
        """Whether a limit lies in the interval; at an open end, however far out."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


@dataclass
class Search:
    """The state of a search: add what was seen at one level, then ask for the next. Every batch needs new scenes.

    Example:
        >>> search = Search(Design((0.0, 100.0, 200.0, 300.0), enough=0.9, width=100.0))
        >>> search.add(2, successes=3, episodes=20)
        >>> search.limit.high
        200.0
    """

    design: Design
    successes: np.ndarray = field(init=False)
    """Of each level."""
    episodes: np.ndarray = field(init=False)
    _stakes: np.ndarray = field(init=False)
    _gains: np.ndarray = field(init=False)
    """Logarithms of what the bets gained at each level: on its succeeding too rarely (row 0), and often enough (1)."""
    _ruled_out: np.ndarray = field(init=False)
    """Whether each limit is. Limit k says that the levels before k are good enough, and those from k on are not."""

    def __post_init__(self) -> None:
        count = len(self.design.levels)
        self.successes, self.episodes = np.zeros(count, int), np.zeros(count, int)
        self._stakes, self._gains = np.zeros(count), np.zeros((2, count))
        self._ruled_out = np.zeros(count + 1, bool)

    @property
    def _won(self) -> float:
        """Logarithm of the gain that rules a limit out; half of the risk is for each bet."""
        return math.log(2 / (1 - self.design.confidence))

    def _next_stake(self) -> float:
        tried = int(np.count_nonzero(self._stakes))
        return float(2.0 ** -max(0, tried - EQUAL + 1) / (EQUAL + 1))

    def add(self, level: int, successes: int, episodes: int) -> None:
        """Take in what was seen at the value with this index."""
        if not self._stakes[level]:
            self._stakes[level] = self._next_stake()
        self.successes[level] += successes
        self.episodes[level] += episodes
        good, bad = int(self.successes[level]), int(self.episodes[level] - self.successes[level])
        self._gains[:, level] = _gains(good, bad, self.design.enough)
        rarely, often = self._stakes * np.exp(np.minimum(self._gains, MOST_GAIN))
        before = np.concatenate([[0.0], np.cumsum(rarely)])
        beyond = np.concatenate([np.cumsum(often[::-1])[::-1], [0.0]])
        self._ruled_out |= np.maximum(before, beyond) >= math.exp(self._won)

    def _possible(self) -> tuple[int, int] | None:
        """The lowest and the highest limit that is not ruled out; None if all are."""
        left = np.flatnonzero(~self._ruled_out)
        return (int(left[0]), int(left[-1])) if len(left) else None

    @property
    def limit(self) -> Limit:
        """The interval now. It may be read at any time, and the search may be stopped because of what it says."""
        levels, possible, spent = self.design.levels, self._possible(), int(self.episodes.sum())
        if possible is None:
            return Limit(None, None, spent, rises=True)
        lowest, highest = possible
        low = levels[lowest - 1] if lowest > 0 else None
        return Limit(low, levels[highest] if highest < len(levels) else None, spent)

    def rates(self) -> np.ndarray:
        """Success at each level, as far as is known: falling, and a straight line where nothing was tried."""
        count, seen = len(self.design.levels), np.flatnonzero(self.episodes)
        shares = falling((self.successes[seen] + 0.5) / (self.episodes[seen] + 1), self.episodes[seen])
        places, rates = np.concatenate([[-1], seen, [count]]), np.concatenate([[1.0], shares, [0.0]])
        return np.interp(np.arange(count), places, rates)

    def next_level(self) -> int | None:
        """The index of the value to try next; None if the search is over.

        Of all pairs of values that are near enough, it takes the one that seems to need the fewest episodes to show
        that the first is good enough and the second is not.
        """
        levels, possible = np.asarray(self.design.levels), self._possible()
        if possible is None or possible[0] == possible[1] or self.episodes.sum() >= self.design.most:
            return None
        lowest, highest = possible
        count, slack = len(levels), 1 + 1e-9
        left = levels[min(highest, count - 1)] - levels[max(lowest - 1, 0)]
        if lowest > 0 and highest < count and left <= self.design.width * slack:
            return None
        width = max(self.design.width, left / STEP) * slack
        rarely, often = self._costs()
        often[:lowest], rarely[highest:] = 0.0, 0.0
        pairs = [(often[-1], count - 1, count), (rarely[0], -1, 0)]
        for step in range(1, count):
            near = np.flatnonzero(levels[step:] - levels[:-step] <= width)
            if not len(near):
                break
            near = near[(near >= lowest - 1) & (near < highest)]
            if len(near):
                costs = often[near] + rarely[near + step]
                first = int(near[np.argmin(costs)])
                pairs.append((float(costs.min()), first, first + step))
        _, first, second = min(pairs)
        still = [level for level, open_ in ((first, first >= lowest), (second, second < highest)) if open_]
        return min((level for level in still if 0 <= level < count), key=lambda level: int(self.episodes[level]))

    def _costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Episodes that each level seems to need until it is known to be too bad, and to be good enough."""
        enough, rates = self.design.enough, self.rates()
        doubt = np.sqrt(rates * (1 - rates) / (self.episodes + OPTIMISM))
        stakes = np.where(self._stakes > 0, self._stakes, self._next_stake())
        needs = np.maximum(self._won - np.log(stakes) - self._gains, 0.2)
        low, high = np.minimum(rates - doubt, enough), np.maximum(rates + doubt, enough)
        return needs[0] / _divergence(low, enough), needs[1] / _divergence(high, enough)


def _gains(good: int, bad: int, enough: float) -> tuple[float, float]:
    """Logarithms of what two bets gained against a success of `enough`: that it is lower, and that it is not.

    Each is a likelihood ratio, averaged over all rates on its side.
    """
    from scipy.special import betainc, betaincc, betaln

    fair = good * math.log(enough) + bad * math.log1p(-enough)
    whole = float(betaln(1 + good, 1 + bad)) - fair
    shares = (float(betainc(1 + good, 1 + bad, enough)), float(betaincc(1 + good, 1 + bad, enough)))
    lower, higher = (math.log(max(share, 1e-300)) for share in shares)
    return whole + lower - math.log(enough), whole + higher - math.log1p(-enough)


def _divergence(rates: np.ndarray, enough: float) -> np.ndarray:
    """Expected gain of an episode, if success is `rates` [nat]: Kullback and Leibler's divergence from `enough`."""
    p = np.clip(rates, 0.01, 0.99)
    return np.maximum(p * np.log(p / enough) + (1 - p) * np.log((1 - p) / (1 - enough)), 1e-5)


def falling(rates: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """The falling sequence that is nearest to some rates, by weighted least squares (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for rate, weight in zip(rates, weights, strict=True):
        block = (float(rate), float(weight), 1)
        while blocks and blocks[-1][0] < block[0]:
            (mean, total, count), (last, more, others) = blocks.pop(), block
            block = ((mean * total + last * more) / (total + more), total + more, count + others)
        blocks.append(block)
    return np.repeat([mean for mean, _, _ in blocks], [count for _, _, count in blocks])
