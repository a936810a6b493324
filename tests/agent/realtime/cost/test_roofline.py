"""The arithmetic and the traffic of the models, against figures worked out beside this code."""

import pytest

from vlatency.agent.optimization import Encoding
from vlatency.agent.realtime.cost.architectures import ARCHITECTURES, find_architecture
from vlatency.agent.realtime.cost.devices import DEVICES, Device, find_device, recognised
from vlatency.agent.realtime.cost.roofline import Work, encode_tflop, encode_work, resized, sequences, visual_tokens
from vlatency.agent.vla.model.zoo import MODELS, Published
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER


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


@pytest.mark.parametrize("res", [(4096, 4096), (4096, 21), (1000, 1010)])
def test_the_area_stays_within_the_limits_of_the_view_preparation(res: tuple[int, int]) -> None:
    width, height = resized(res)
    assert width % 28 == height % 28 == 0
    assert 56 * 56 <= width * height <= 28 * 28 * 1280


def test_bad_input_is_one_line_with_the_valid_values() -> None:
    with pytest.raises(UsageError, match=r"^unknown encoding 'both'; encodings are joint, batched, separate, streams$"):
        encode_tflop(3, (224, 224), "both")
    with pytest.raises(UsageError, match=r"^views must be at least 1, not 0$"):
        encode_tflop(0, (224, 224), "joint")


def by_hand(rows: int, columns: int, views: int, text: int) -> float:
    """TFLOP of a joint encode by Qwen2.5-VL-3B, of `rows` x `columns` visual tokens a view, its figures written out."""
    tokens = rows * columns
    patches, length = 4 * tokens, views * (tokens + 2) + text
    tower = 32 * (4 * 1280 * 1280 + 3 * 1280 * 3420) + 1176 * 1280
    merger = 5120 * 5120 + 5120 * 2048
    windows = {1: 1, 2: 4, 3: 9, 4: 16}  # merged tokens along a side of a window of 4, squared
    sides = [[4] * (side // 4) + [side % 4] * (side % 4 > 0) for side in (rows, columns)]
    in_windows = sum(16 * windows[a] * windows[b] for a in sides[0] for b in sides[1])
    seen = 4 * 1280 * (4 * patches**2 + 28 * in_windows)
    layer = 2048 * (2048 + 2 * 256 + 2048) + 3 * 2048 * 11008
    read = 36 * (2 * length * layer + 2 * length**2 * 2048)
    return (views * (2 * patches * tower + 2 * tokens * merger + seen) + read) / 1e12


@pytest.mark.parametrize(("res", "grid"), [((640, 360), (13, 23)), ((224, 224), (8, 8)), ((480, 270), (10, 17))])
@pytest.mark.parametrize("views", [1, 3, 5])
def test_the_arithmetic_is_that_worked_out_by_hand(res: tuple[int, int], grid: tuple[int, int], views: int) -> None:
    assert encode_tflop(views, res, "joint") == pytest.approx(by_hand(*grid, views, 24), rel=1e-12)


def test_a_small_job_is_bound_by_memory_and_a_large_one_by_arithmetic() -> None:
    """2 TFLOP and 1 GB on a device of 100 TFLOP/s and 100 GB/s, and half the weights, worked out by hand."""
    device = Device("a device", 100, 100, (), "")
    job = Work(flop=2e12, weights=0.4e9, values=0.1e9)
    assert job.gigabytes() == pytest.approx(0.4 * 2 + 0.1 * 2)
    assert job.roofline_ms(device) == pytest.approx(20)
    assert Work(flop=0.5e12, weights=0.4e9, values=0.1e9).roofline_ms(device) == pytest.approx(10)
    # INT8: twice the rate, half the bytes of the weights; values stay in bf16.
    assert job.roofline_ms(device, "int8-dynamic") == pytest.approx(max(10, 6))
    assert job.gigabytes("bnb-nf4") == pytest.approx(0.4 * 0.5 + 0.2)


def test_the_weights_of_the_3b_are_read_once_a_call() -> None:
    """The vision tower's 32 blocks and merger and the language model's 36 layers, without embeddings, norms, biases."""
    tower = 32 * (4 * 1280**2 + 3 * 1280 * 3420) + 1176 * 1280 + 5120**2 + 5120 * 2048
    language = 36 * (2 * 2048**2 + 2 * 2048 * 256 + 3 * 2048 * 11008)
    for encoding in ("joint", "batched"):
        assert encode_work(5, (640, 360), encoding).weights == tower + language
    for encoding in ("separate", "streams"):
        assert encode_work(5, (640, 360), encoding).weights == 5 * (tower + language)
        assert encode_work(5, (640, 360), encoding).flop == encode_work(5, (640, 360), "batched").flop


@pytest.mark.parametrize(("name", "ms"), [("h100", 16.9), ("a100", 53.5), ("rtx4090", 101), ("rtx3090", 235)])
def test_five_native_views_are_bound_by_arithmetic(name: str, ms: float) -> None:
    assert encode_work(5, (640, 360), "joint").roofline_ms(DEVICES[name]) == pytest.approx(ms, rel=0.01)


@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
def test_every_device_names_its_source_and_is_recognised_by_its_own_name(device: Device) -> None:
    assert device.source
    assert device.tflops > 0
    assert device.gb_s > 0
    assert recognised(device.name) is device


def test_a_driver_s_name_is_recognised_and_a_similar_one_is_not() -> None:
    assert recognised("NVIDIA H100 80GB HBM3") is DEVICES["h100"]
    assert recognised("NVIDIA GeForce RTX 4090") is DEVICES["rtx4090"]
    assert recognised("NVIDIA A100-SXM4-80GB") is DEVICES["a100"]
    assert recognised("NVIDIA L40S") is None
    assert recognised("AMD EPYC") is None


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if isinstance(row, Published)])
def test_the_table_of_architectures_is_that_of_transformers(name: str) -> None:
    from vlatency.agent.vla.model.backbones import published_config

    row, ours = MODELS[name], ARCHITECTURES[name]
    assert isinstance(row, Published)
    theirs = published_config(row)
    vision, text = theirs.vision_config, theirs.text_config
    width = getattr(vision, "embed_dim", vision.hidden_size)
    inner = getattr(vision, "intermediate_size", None) or int(width * vision.mlp_ratio)
    full = getattr(vision, "fullatt_block_indexes", range(vision.depth))
    assert (ours.vision_layers, ours.vision_full_attention_layers) == (vision.depth, len(full))
    assert (ours.vision_hidden, ours.vision_intermediate) == (width, inner)
    assert (ours.patch, ours.merge, ours.frames) == (
        vision.patch_size,
        vision.spatial_merge_size,
        vision.temporal_patch_size,
    )
    assert (ours.layers, ours.hidden, ours.intermediate) == (
        text.num_hidden_layers,
        text.hidden_size,
        text.intermediate_size,
    )
    assert (ours.heads, ours.kv_heads) == (text.num_attention_heads, text.num_key_value_heads)
    assert ours.deepstack == len(getattr(vision, "deepstack_visual_indexes", ()))


@pytest.mark.parametrize("name", ["tiny", "tiny-s"])
@pytest.mark.parametrize("encoding", ["joint", "batched"])
def test_the_arithmetic_of_a_tiny_model_is_what_torch_counts(name: str, encoding: Encoding) -> None:
    """Without attention, which its counter leaves out on a CPU."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vlatency.agent.vla.model.vla import VLA

    model = VLA.random(name).eval()
    pixels = torch.zeros(1, 3, 364, 644, 3, dtype=torch.uint8)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model.encoder(pixels, ["Pick up the red cube"], CAMERA_ORDER[:3], encoding)
    lengths = [
        len(row.ids)
        for row in model.encoder.layouts.prompts.rows("Pick up the red cube", CAMERA_ORDER[:3], 299, encoding)
    ]
    arch = ARCHITECTURES[name]
    scores = 3 * arch.vision_layers * 4 * arch.vision_hidden * 299**2
    scores += sum(arch.layers * 2 * arch.hidden * length**2 for length in lengths)
    ours = encode_work(3, (640, 360), encoding, arch, lengths).flop
    assert ours - scores == pytest.approx(counter.get_total_flops(), rel=2e-3)


def test_an_unknown_device_or_model_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"^unknown device 'tpu'; devices with a roofline are h100, h200, .*orin$"):
        find_device("tpu")
    with pytest.raises(UsageError, match=r"^unknown model 'gpt'; models are tiny, "):
        find_architecture("gpt")
    with pytest.raises(UsageError, match=r"^unknown vision encoder 'resnet'; vision encoders are qwen, clip-b16"):
        find_architecture("tiny", "resnet")
