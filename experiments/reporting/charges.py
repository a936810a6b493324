"""The whole distribution of what the clock charges, on one grid of quantiles, and which of two is the slower one."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vlatency.agent.realtime.cost.distribution import Distribution, Lognormal, Samples
from vlatency.agent.realtime.cost.latency import ProfileLatency
from vlatency.agent.realtime.reuse import Stagger
from vlatency.agent.realtime.servers import Apart, Servers
from vlatency.agent.realtime.timing import Latency, Timing

_EDGES = np.array([*np.arange(200) / 200, 0.995, 0.999, 0.9999, 1.0])
WEIGHTS = np.diff(np.unique(_EDGES))
"""Share of the jobs that each quantile of a curve stands for: half a percent, and less towards the slowest."""
_MIDDLES = np.cumsum(WEIGHTS) - WEIGHTS / 2
Curve = np.ndarray
"""Durations in rising order [ms], each of which stands for the share in `WEIGHTS`."""


@dataclass(frozen=True, eq=False)
class Charges:
    """What a latency model charges, all of it.

    Attributes:
        encodes: preprocessing and encode, of one view, of two, and so on up to all.
        first: of the first encode of an episode, which has the cold start.
        head: sensors and head.
    """

    encodes: tuple[Curve, ...]
    first: Curve
    head: Curve

    @property
    def encode(self) -> Curve:
        """Preprocessing and encode of all views."""
        return self.encodes[-1]


def charges(latency: Latency, views: int = 1) -> Charges:
    """What a latency model charges; of one that was read back from a result, only its medians are known.

    Args:
        latency: the model.
        views: how many it encodes.
    """
    if isinstance(latency, ProfileLatency):
        return _drawn(latency)
    encodes = tuple(np.full(len(WEIGHTS), latency.vl_ms * some / views) for some in range(1, views + 1))
    return Charges(encodes, encodes[-1], np.full(len(WEIGHTS), latency.head_ms))


@lru_cache(maxsize=512)
def _drawn(latency: ProfileLatency) -> Charges:
    before, times = _curve(latency.preprocess), latency.factor
    encodes = tuple(add(before, _curve(each)) * times for each in (*latency.fewer, latency.encode))
    return Charges(encodes, encodes[-1] + latency.cold_start_ms * times, _curve(latency.head) * times)


def _curve(distribution: Distribution) -> Curve:
    if isinstance(distribution, Samples):
        return np.quantile(distribution.ms, _MIDDLES, method="inverted_cdf")
    if isinstance(distribution, Lognormal):
        from scipy.special import ndtri

        return np.asarray(distribution.p50_ms * np.exp(distribution.sigma * ndtri(_MIDDLES)))
    return np.full(len(_MIDDLES), distribution.ms)


def add(one: Curve, two: Curve) -> Curve:
    """The curve of the sum of two durations that are drawn apart."""
    if one[0] == one[-1] or two[0] == two[-1]:
        return one + two
    sums, weights = np.add.outer(one, two).ravel(), np.multiply.outer(WEIGHTS, WEIGHTS).ravel()
    order = np.argsort(sums)
    place = np.searchsorted(np.cumsum(weights[order]), _MIDDLES)
    return np.asarray(sums[order][np.minimum(place, len(order) - 1)])


def slower_in(one: Timing, two: Timing, views: int = 1) -> list[str]:
    """In what the first timing charges more than the second at any quantile, but for 1 % or half a millisecond.

    If there is nothing, the second dominates it (first-order stochastic dominance): at no quantile does an encode, the
    first encode or a head run of the first take longer. In async mode the servers count, too: two GPUs, then one with
    priority for the head, then one with more and more contention. In sync mode encoder and head never run at once.

    Args:
        one: a timing whose latency is known in full.
        two: another one of the same mode.
        views: how many are encoded.
    """
    a, b = charges(one.latency, views), charges(two.latency, views)
    encodes = {"the encode": (a.encode, b.encode)}
    if isinstance(one.reuse, Stagger):
        encodes = {f"an encode of {n}": both for n, both in enumerate(zip(a.encodes, b.encodes, strict=True), 1)}
    found = [f"{name}{longer}" for name, both in encodes.items() if (longer := _longer(*both))]
    if not found and (longer := _longer(a.first, b.first)):
        found.append(f"the first encode{longer}")
    if longer := _longer(a.head, b.head):
        found.append(f"the head{longer}")
    if one.mode == "async" and slowdown(one.servers) > slowdown(two.servers) * 1.01:
        found.append(f"the servers: {_on(one.servers)} against {_on(two.servers)}")
    return found


def _longer(mine: Curve, theirs: Curve) -> str:
    """Where the first curve is above the second and by how much at most; empty if it never is."""
    above = mine > np.maximum(theirs * 1.01, theirs + 0.5)
    if not above.any():
        return ""
    worst = int(np.argmax(np.where(above, mine - theirs, -np.inf)))
    slowest = "" if above.all() else f" at the slowest {100 * WEIGHTS[int(np.argmax(above)) :].sum():.2g} %"
    return f"{slowest}: {mine[worst]:.4g} ms against {theirs[worst]:.4g}"


def _on(servers: Servers) -> str:
    return "two GPUs" if isinstance(servers, Apart) else f"one GPU with contention {servers.contention:g}"


def no_slower(one: Timing, two: Timing, views: int = 1) -> bool:
    """Whether the first charges no more than the second in anything, see `slower_in`."""
    return not slower_in(one, two, views)


def slowdown(servers: Servers) -> float:
    """How many times as long a head run takes beside an encode; 0 on two GPUs, where the encode is not delayed."""
    return 0.0 if isinstance(servers, Apart) else servers.contention
