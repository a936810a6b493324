"""Views have the size that transformers gives them, and sizes that transformers refuses are refused."""

import random

import pytest
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as transformers_resize

from vlatency.agent.image_size import MAX_ASPECT, MAX_PIXELS, MIN_PIXELS, smart_resize
from vlatency.agent.optimization import MAX_SIDE, Optimization
from vlatency.sim.errors import UsageError

CELLS = (28, 32, 56)
"""Of the tiny policy and of Qwen2.5-VL; of Qwen3-VL and of the light encoders; of a patch of 28 px merged by 2."""
SMALL = [(width, height) for width in range(1, 61) for height in range(1, 61)]
LARGE = [(random.Random(seed).randint(1, 1000), random.Random(-1 - seed).randint(1, 1000)) for seed in range(3000)]
EXTREME = [(MAX_ASPECT, 1), (1, MAX_ASPECT), (MAX_SIDE, 21), (21, MAX_SIDE), (MAX_SIDE, MAX_SIDE), (3000, 15)]


def theirs(width: int, height: int, cell: int) -> tuple[int, int] | None:
    try:
        rows, columns = transformers_resize(height, width, cell, MIN_PIXELS, MAX_PIXELS)
    except ValueError:
        return None
    return columns, rows


def ours(width: int, height: int, cell: int) -> tuple[int, int] | None:
    try:
        return smart_resize(width, height, cell)
    except UsageError:
        return None


@pytest.mark.parametrize("cell", CELLS)
def test_a_size_is_rounded_as_transformers_rounds_it(cell: int) -> None:
    sizes = SMALL + LARGE + EXTREME
    assert {size: ours(*size, cell) for size in sizes} == {size: theirs(*size, cell) for size in sizes}


@pytest.mark.parametrize("size", [(MAX_ASPECT + 1, 1), (1, MAX_ASPECT + 1), (MAX_SIDE, 20)])
def test_a_strip_that_transformers_refuses_is_refused_by_name(size: tuple[int, int]) -> None:
    assert theirs(*size, 28) is None
    for refusing in (lambda: smart_resize(*size, 28), lambda: Optimization(width=size[0], height=size[1])):
        with pytest.raises(UsageError, match=f"{size[0]}x{size[1]}.* {MAX_ASPECT} "):
            refusing()
