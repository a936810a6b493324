"""Tensors that depend on shapes alone: computed once, outside of compiled code, and good for training too."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

import torch

P = ParamSpec("P")
R = TypeVar("R")


def computed_once(kept: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator for a function of hashable arguments whose last `kept` results are kept.

    It runs outside of inference mode, because tensors made there could not be saved for a backward pass, and
    torch.compile calls it instead of tracing it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        kept_function = lru_cache(maxsize=kept)(torch.inference_mode(False)(function))
        return cast("Callable[P, R]", torch.compiler.disable(kept_function))

    return decorate
