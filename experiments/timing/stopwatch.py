"""How long something takes on a device, sample by sample."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

FEWEST = 3
"""Samples that are taken even where the time for them is over."""
WARM_UPS, LONGEST_WARM_UP_S = 3, 5.0
"""Runs before the first sample; fewer of what is so slow that one of them warms up everything."""


@dataclass(frozen=True)
class Stopwatch:
    """Repeats something and times each repetition."""

    device: torch.device
    reps: int
    """Samples wanted."""
    seconds: float = float("inf")
    """Fewer samples are taken once they have taken so long together [s]."""

    def for_parts(self) -> Stopwatch:
        """The same with a third of the time."""
        return replace(self, seconds=self.seconds / 3)

    def whole(self, work: Callable[[], object]) -> tuple[float, ...]:
        """Durations [ms] on the wall clock, until the device has done everything."""
        return self._repeat(work, self._wall_ms)

    def stage(self, work: Callable[[], object]) -> tuple[float, ...]:
        """Durations [ms] between CUDA events; on a CPU, on the wall clock."""
        return self._repeat(work, self._event_ms if self.device.type == "cuda" else self._wall_ms)

    def _repeat(self, work: Callable[[], object], once: Callable[[Callable[[], object]], float]) -> tuple[float, ...]:
        began = time.perf_counter()
        for _ in range(WARM_UPS):
            once(work)
            if time.perf_counter() - began > min(self.seconds / 4, LONGEST_WARM_UP_S):
                break
        samples: list[float] = []
        began = time.perf_counter()
        gc.disable()
        try:
            while len(samples) < self.reps:
                samples.append(once(work))
                if len(samples) >= FEWEST and time.perf_counter() - began > self.seconds:
                    break
        finally:
            gc.enable()
        return tuple(samples)

    def _wall_ms(self, work: Callable[[], object]) -> float:
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return 1e3 * (time.perf_counter() - began)

    def _event_ms(self, work: Callable[[], object]) -> float:
        # Only for what is ours: work beside which we are timed, on another stream, has to go on.
        torch.cuda.current_stream(self.device).synchronize()
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        work()
        after.record()
        after.synchronize()
        return before.elapsed_time(after)

    def wait(self) -> None:
        """Until the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def quantiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99 of samples, in their unit."""
    p50, p95, p99 = np.quantile(samples, (0.5, 0.95, 0.99))
    return float(p50), float(p95), float(p99)


def ceiling_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """The best rate [TFLOP/s] of one large square matrix product: what a model can reach here at most.

    On a CPU by the time that its threads computed, so that other work on the machine does not lower it.
    """
    side = 8192 if device.type == "cuda" else 1024
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    if device.type == "cuda":
        return 2 * side**3 / min(Stopwatch(device, reps=20).stage(lambda: left @ right)) / 1e9
    computed_s = []
    for _ in range(20):
        began = time.process_time()
        left @ right  # noqa: B018  # timed
        computed_s.append(time.process_time() - began)
    return 2 * side**3 * torch.get_num_threads() / min(computed_s) / 1e12


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times as long the first takes, by medians."""
    return statistics.median(slow) / statistics.median(fast)
