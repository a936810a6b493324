"""The encoding `streams`: jobs side by side on CUDA streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch


def on_streams(jobs: Sequence[Callable[[], torch.Tensor]]) -> list[torch.Tensor]:
    """Results of the jobs, each of which is launched on its own CUDA stream. The caller may use them at once."""
    present = torch.cuda.current_stream()
    streams = _streams(len(jobs), present.device)
    results = []
    for stream, job in zip(streams, jobs, strict=True):
        stream.wait_stream(present)
        with torch.cuda.stream(stream):
            results.append(job())
        # Its memory must not be reused on the stream that made it while the present one still reads it.
        results[-1].record_stream(present)
    for stream in streams:
        present.wait_stream(stream)
    return results


@lru_cache
def _streams(count: int, device: torch.device) -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream(device) for _ in range(count)]
