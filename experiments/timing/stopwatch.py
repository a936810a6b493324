"""Repeated timing of a function on a CPU or a GPU."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

FEWEST = 3
"""Samples that are taken even after the time is over."""
WARM_UPS, LONGEST_WARM_UP_S = 3, 5.0
"""Runs before the first sample; after so many seconds no further one begins."""


@dataclass(frozen=True)
class Stopwatch:
    """Repeats a function and times each repetition.

    Example:
        >>> samples_ms = Stopwatch(torch.device("cpu"), reps=30).whole(lambda: model(inputs))
    """

    device: torch.device
    reps: int
    """Number of samples."""
    seconds: float = float("inf")
    """Time after which no further sample begins [s]."""

    def for_parts(self) -> Stopwatch:
        """A watch for the stages, with a third of the time for each."""
        return replace(self, seconds=self.seconds / 3)

    def whole(self, work: Callable[[], object]) -> tuple[float, ...]:
        """Durations on the wall clock until the device is idle [ms]."""
        return self._repeat(work, self._wall_ms)

    def stage(self, work: Callable[[], object]) -> tuple[float, ...]:
        """Durations between CUDA events [ms]; on a CPU, on the wall clock."""
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
        # Only this stream: work on another stream, beside which this is timed, must go on.
        torch.cuda.current_stream(self.device).synchronize()
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        work()
        after.record()
        after.synchronize()
        return before.elapsed_time(after)

    def wait(self) -> None:
        """Block until the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def quantiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """The quantiles p50, p95 and p99, in the samples' unit."""
    p50, p95, p99 = np.quantile(samples, (0.5, 0.95, 0.99))
    return float(p50), float(p95), float(p99)


def ceiling_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """Best rate of one large square matrix product [TFLOP/s].

    On a CPU it is taken from the time that the process computed, so that other work on the machine does not lower it.
    """
    side = 8192 if device.type == "cuda" else 1024
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    if device.type == "cuda":
        return 2 * side**3 / min(Stopwatch(device, reps=20).stage(lambda: left @ right)) / 1e9
    computed_s = []
    for _ in range(20):
        began = time.process_time()
        left @ right
        computed_s.append(time.process_time() - began)
    return 2 * side**3 * torch.get_num_threads() / min(computed_s) / 1e12


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Median of the first over that of the second."""
    return statistics.median(slow) / statistics.median(fast)
