"""The arithmetic of Qwen2.5-VL-3B, against figures worked out beside this code."""

import pytest

from agent.realtime.roofline import encode_tflop, resized, sequences, visual_tokens
from sim.errors import UsageError


@pytest.mark.parametrize(
    ("res", "seen", "tokens"),
    [
        ((640, 360), (644, 364), 299),
        ((224, 224), (224, 224), 64),
        ((1280, 720), (1288, 728), 1196),
        ((1, 1), (56, 56), 4),
    ],
)
def test_a_view_is_cut_into_whole_cells_of_28_pixels(res: tuple[int, int], seen: tuple[int, int], tokens: int) -> None:
    assert resized(res) == seen
    assert visual_tokens(res) == tokens


@pytest.mark.parametrize(
    ("views", "res", "tokens"),
    [
        *((1, (640, 360), 325), (3, (640, 360), 927), (5, (640, 360), 1529)),
        *((1, (224, 224), 90), (3, (224, 224), 222), (5, (224, 224), 354)),
    ],
)
def test_one_joint_sequence_has_the_tokens_of_the_chat_template(views: int, res: tuple[int, int], tokens: int) -> None:
    assert sequences(views, res, "joint") == [tokens]


@pytest.mark.parametrize(
    ("views", "res", "tflop"),
    [
        *((5, (640, 360), 16.7), (3, (640, 360), 10.0), (1, (640, 360), 3.4)),
        *((5, (224, 224), 3.6), (3, (224, 224), 2.2), (1, (224, 224), 0.8)),
    ],
)
def test_an_encode_costs_the_arithmetic_of_its_matrices(views: int, res: tuple[int, int], tflop: float) -> None:
    assert round(encode_tflop(views, res, "joint"), 1) == tflop


@pytest.mark.parametrize(("res", "extra"), [((640, 360), 0.016), ((224, 224), 0.143)])
def test_batched_views_cost_more_than_joint_ones_because_each_repeats_the_text(
    res: tuple[int, int], extra: float
) -> None:
    assert encode_tflop(5, res, "batched") / encode_tflop(5, res, "joint") - 1 == pytest.approx(extra, abs=1e-3)


def test_one_view_costs_the_same_either_way() -> None:
    assert encode_tflop(1, (640, 360), "joint") == encode_tflop(1, (640, 360), "batched")


def test_arithmetic_grows_with_views_and_resolution() -> None:
    small, more, larger = ((2, (224, 224)), (3, (224, 224)), (3, (448, 448)))
    assert encode_tflop(*small, "joint") < encode_tflop(*more, "joint") < encode_tflop(*larger, "joint")


@pytest.mark.parametrize("res", [(4096, 4096), (4096, 1), (1000, 1010)])
def test_the_area_stays_within_the_limits_of_the_view_preparation(res: tuple[int, int]) -> None:
    width, height = resized(res)
    assert width % 28 == height % 28 == 0
    assert 56 * 56 <= width * height <= 28 * 28 * 1280


def test_bad_input_is_one_line_with_the_valid_values() -> None:
    with pytest.raises(UsageError, match=r"^unknown encoding 'both'; encodings are joint, batched, separate, streams$"):
        encode_tflop(3, (224, 224), "both")
    with pytest.raises(UsageError, match=r"^views must be at least 1, not 0$"):
        encode_tflop(0, (224, 224), "joint")
