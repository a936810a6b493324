"""What a latency model charges the clock, in the three figures that later decisions rest on."""

from dataclasses import dataclass

from vlatency.agent.realtime.cost.distribution import Distribution, Lognormal, Samples
from vlatency.agent.realtime.cost.latency import LatencyModel, ProfileLatency

TIMING = ("latency", "vl_ms", "head_ms", "perf_factor", "latency_of", "seed")
"""Fields of a setting that say how long things take, or which episodes were run."""


@dataclass(frozen=True)
class Charged:
    """Latencies [ms]: of preprocessing and encode at the 50th and the 95th percentile, and of the head."""

    vl_p50_ms: float
    vl_p95_ms: float
    head_ms: float


def charged(model: LatencyModel) -> Charged:
    """Of a latency model; a percentile of preprocessing plus encode is taken to be the sum of theirs."""
    if not isinstance(model, ProfileLatency):
        return Charged(model.vl_ms, model.vl_ms, model.head_ms)
    p50, p95 = ((_percentile(model.preprocess, q) + _percentile(model.encode, q)) * model.factor for q in (50.0, 95.0))
    return Charged(p50, p95, model.head_ms)


def _percentile(distribution: Distribution, q: float) -> float:
    if isinstance(distribution, Lognormal):
        return distribution.p95_ms if q == 95 else distribution.p50_ms
    if isinstance(distribution, Samples):
        import numpy as np

        return float(np.percentile(distribution.ms, q))
    return distribution.nominal_ms
