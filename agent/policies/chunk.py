"""Checks that the answer of a policy of others is a chunk of actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlatency.sim.errors import RunError


def checked_chunk(answer: Any, width: int, who: str) -> NDArray[np.float64]:
    """An answer as (rows, width) finite numbers; a single action (width,) is a chunk of one row.

    Args:
        answer: what the policy gave.
        width: how many numbers an action of the environment has.
        who: the policy, for the error.

    Raises:
        RunError: it is anything else.
    """
    wanted = f"({width},) or (rows, {width})"
    try:
        given = np.asarray(answer)
        # An object or a text is not made a number of, though some could be.
        chunk = given.astype(np.float64) if given.dtype.kind in "biuf" else None
    except (TypeError, ValueError, OverflowError):
        chunk = None
    if chunk is None:
        raise RunError(f"{who} answers {_shown(answer)}; actions are numbers {wanted}")
    if chunk.ndim == 1:
        chunk = chunk[None]
    if chunk.ndim != 2 or chunk.shape[1] != width:
        raise RunError(f"{who} answers actions {np.shape(answer)}, and this environment takes {wanted}")
    if not len(chunk):
        raise RunError(f"{who} answers a chunk of no rows; it needs at least one")
    if not np.isfinite(chunk).all():
        row, column = np.argwhere(~np.isfinite(chunk))[0]
        raise RunError(f"{who} answers {chunk[row, column]} in row {row}, column {column}; actions are finite numbers")
    return chunk


def _shown(answer: Any) -> str:
    text = f"a {type(answer).__name__}"
    return text + f" {answer!r}"[:60] if isinstance(answer, str | bytes | int | float | list | tuple) else text
