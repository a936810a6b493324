"""The size to which Qwen-VL resizes an image: plain arithmetic, so that cost models may import it without torch."""

import math

from vlatency.sim.errors import UsageError

MIN_PIXELS, MAX_PIXELS = 56 * 56, 28 * 28 * 1280
"""Least and greatest area of a resized view [px], the defaults of transformers."""
MAX_ASPECT = 200
"""Greatest ratio of the longer to the shorter side."""


def smart_resize(width: int, height: int, cell: int) -> tuple[int, int]:
    """Round a size so that both sides are whole cells and the area stays between `MIN_PIXELS` and `MAX_PIXELS`.

    Equal to the `smart_resize` of transformers' Qwen2-VL image processor, which takes and returns (height, width).

    Args:
        width: Width asked for [px].
        height: Height asked for [px].
        cell: Side of the square that becomes one visual token [px]: patch size times merge size.

    Returns:
        `(width, height)` of the resized image [px].

    Raises:
        UsageError: One side is more than `MAX_ASPECT` times as long as the other.
    """
    check_aspect(width, height)
    columns, rows = round(width / cell), round(height / cell)
    area = columns * rows * cell**2
    if area > MAX_PIXELS:
        shrink = math.sqrt(width * height / MAX_PIXELS)
        columns, rows = (max(1, math.floor(side / shrink / cell)) for side in (width, height))
    elif area < MIN_PIXELS:
        grow = math.sqrt(MIN_PIXELS / (width * height))
        columns, rows = (math.ceil(side * grow / cell) for side in (width, height))
    return columns * cell, rows * cell


def check_aspect(width: int, height: int) -> None:
    """UsageError if one side [px] is more than `MAX_ASPECT` times as long as the other."""
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UsageError(f"resolution {width}x{height}: one side may be at most {MAX_ASPECT} times the other")
