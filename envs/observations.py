"""Finds the parts of an observation, whatever dictionaries and tuples it is made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlatency.envs.mapping import PART
from vlatency.sim.errors import UsageError


def leaves(observation: Any) -> list[NDArray[Any]]:
    """The arrays of an observation, in order, out of nested dictionaries and tuples."""
    if isinstance(observation, dict):
        return [leaf for key in sorted(observation) for leaf in leaves(observation[key])]
    if isinstance(observation, tuple | list):
        return [leaf for part in observation for leaf in leaves(part)]
    return [np.asarray(observation)]


def find_part(observation: Any, part: str) -> Any:
    """The part that a mapping calls `part`, such as `robot/joints[:7]`, `agent_pos` or `[:4]`.

    Raises:
        UsageError: there is none; the message names those that there are.
    """
    match = PART.fullmatch(part)
    assert match is not None, part
    found = observation
    for key in filter(None, match["path"].split("/")):
        if not isinstance(found, dict) or key not in found:
            names = ", ".join(_paths(observation)) or "one array, whose parts are like [:4]"
            raise UsageError(f"the observation has no '{match['path']}'; it has {names}")
        found = found[key]
    if match["first"] is None:
        return found
    first, last = (int(match[name]) if match[name] else None for name in ("first", "last"))
    return np.asarray(found)[first:last]


def _paths(observation: Any, before: str = "") -> list[str]:
    if not isinstance(observation, dict):
        return [before] if before else []
    return [path for key, each in observation.items() for path in _paths(each, f"{before}/{key}".strip("/"))]


def join_state(observation: Any, parts: tuple[str, ...]) -> NDArray[np.float32]:
    """(n,) the numbers of these parts, one after the other; of no parts, all that is no image."""
    arrays = [leaf for part in parts for leaf in leaves(find_part(observation, part))]
    if not parts:
        arrays = [leaf for leaf in leaves(observation) if not (leaf.dtype == np.uint8 and leaf.ndim == 3)]
    numbers = [array.astype(np.float32).ravel() for array in arrays if array.dtype.kind in "bifu"]
    return np.concatenate(numbers) if numbers else np.zeros(0, np.float32)
