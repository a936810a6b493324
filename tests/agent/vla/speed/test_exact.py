"""Laws of exact optimizations: each gives the features of the plain encode, within 1e-5 of their norm in float32."""

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vlatency.agent.optimization import PRESETS, Attention, Encoding, Optimization, check_device, with_preset
from vlatency.agent.realtime.requests import Encode
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.views import RESIZE_TOLERANCE, resize, resize_on_device
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.agent.vla.speed.apply_optimization import apply_optimization
from vlatency.agent.vla.speed.fused import fuse
from vlatency.agent.vla.speed.kernels import eager, sdpa
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

LIMIT = 1e-5
BASE = Optimization(CAMERA_ORDER[:3], 112, 112)
# Of different lengths, so that rows are padded; the camera names differ, too.
TEXTS = ["Lift it", "Pick up the blue ball from the moving conveyor belt", "Pick up the red cube"]

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@torch.inference_mode()
def hidden(model: VLA, optimization: Optimization, texts: list[str] = TEXTS, device: str = "cpu") -> torch.Tensor:
    """Hidden states of the visual tokens under an optimization of a copy of the model."""
    encoder = copy.deepcopy(model.encoder).to(device)
    apply_optimization(encoder, optimization)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(texts), 3, 112, 112, 3), dtype=torch.uint8, generator=generator).to(device)
    first = encoder.hidden(pixels, texts, optimization.cameras, optimization.encoding)
    second = encoder.hidden(pixels, texts, optimization.cameras, optimization.encoding)
    assert torch.equal(first, second)  # also from what was kept of the first one
    return first.cpu()


def distance(ours: torch.Tensor, expected: torch.Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    "change",
    [
        {"encoding": "separate"},
        {"attention": "eager"},
        {"shortcuts": ("fused",)},
        {"shortcuts": ("prefix",)},
        {"shortcuts": ("prefix",), "encoding": "joint"},
        {"shortcuts": ("prefix",), "encoding": "separate"},
        {"shortcuts": ("prefix",), "attention": "eager"},
        {"shortcuts": ("prefix", "fused"), "attention": "eager", "encoding": "separate"},
    ],
    ids=str,
)
def test_an_exact_optimization_gives_the_hidden_states_of_the_plain_encode(model: VLA, change: dict) -> None:
    optimization = replace(BASE, **change)
    reference = replace(BASE, encoding="joint" if optimization.encoding == "joint" else "batched")
    for texts in (TEXTS, TEXTS[2:]):
        assert distance(hidden(model, optimization, texts), hidden(model, reference, texts)) < LIMIT


def test_joint_views_read_each_other_which_changes_the_features(model: VLA) -> None:
    assert distance(hidden(model, replace(BASE, encoding="joint")), hidden(model, BASE)) > 1e-3


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler")
def test_compiled_code_gives_the_hidden_states_of_the_plain_encode(model: VLA) -> None:
    assert distance(hidden(model, replace(BASE, compile="compile"), TEXTS[2:]), hidden(model, BASE, TEXTS[2:])) < LIMIT


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize(
    "change", [{"compile": "cuda-graph"}, {"compile": "compile"}, {"encoding": "streams"}], ids=str
)
def test_a_way_of_launching_on_cuda_gives_the_hidden_states_of_the_plain_encode(model: VLA, change: dict) -> None:
    for shortcuts in ((), ("prefix", "fused")):
        optimization = replace(BASE, shortcuts=shortcuts, **change)
        assert distance(hidden(model, optimization, device="cuda"), hidden(model, BASE, device="cuda")) < LIMIT


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("encoding", ["batched", "joint"])
def test_packed_attention_is_the_plain_one_rounded_to_bfloat16(model: VLA, encoding: Encoding) -> None:
    reference = hidden(model, replace(BASE, encoding=encoding), device="cuda")
    for shortcuts in ((), ("prefix",)):
        chosen = replace(BASE, encoding=encoding, attention="varlen", shortcuts=shortcuts)
        assert 1e-5 < distance(hidden(model, chosen, device="cuda"), reference) < 2e-2


def test_the_text_before_the_views_is_read_once(model: VLA) -> None:
    encoder = copy.deepcopy(model.encoder)
    apply_optimization(encoder, replace(BASE, shortcuts=("prefix",)))
    tokens: list[int] = []
    encoder.backbone.language_model.layers[0].register_forward_hook(
        lambda _module, args, _output: tokens.append(args[0].shape[1])
    )
    pixels = torch.zeros((1, 3, 112, 112, 3), dtype=torch.uint8)
    with torch.inference_mode():
        for text in (TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[0]):
            encoder(pixels, [text], BASE.cameras, "batched")
    visual = 4 * 4
    assert [count for count in tokens if count == visual] == [visual] * 4
    assert len(tokens) == 6
    assert tokens[1] == tokens[2] == visual != tokens[0] < tokens[3]


def test_training_reads_the_text_with_the_weights_of_the_moment(model: VLA) -> None:
    encoder = copy.deepcopy(model.encoder)
    apply_optimization(encoder, replace(BASE, shortcuts=("prefix",)))
    pixels = torch.zeros((1, 3, 112, 112, 3), dtype=torch.uint8)
    encoder(pixels, TEXTS[:1], BASE.cameras, "batched").features.sum().backward()
    gradient = encoder.backbone.language_model.embed_tokens.weight.grad
    assert gradient is not None
    assert gradient.any()


def test_fusing_saves_three_products_a_layer_and_changes_no_weight(model: VLA) -> None:
    text = copy.deepcopy(model.encoder.backbone.language_model)
    before = sum(parameter.numel() for parameter in text.parameters())
    assert fuse(text) == 3 * len(text.layers)
    assert sum(parameter.numel() for parameter in text.parameters()) == before


def test_there_is_no_product_with_the_vocabulary(model: VLA) -> None:
    vocabulary = model.tokenizer.get_vocab_size()
    wide = [name for name, module in model.named_modules() if getattr(module, "out_features", 0) == vocabulary]
    assert wide == []
    assert not any("lm_head" in name for name, _ in model.named_modules())


@pytest.mark.parametrize("size", [(224, 224), (640, 360), (480, 270), (1280, 720)])
def test_views_resized_by_torch_equal_those_of_pil_but_for_rounding(size: tuple[int, int]) -> None:
    rng, config = np.random.default_rng(0), PolicyConfig(patch_size=14, merge_size=2)
    smooth = np.kron(rng.integers(0, 256, (9, 16, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    for image in (rng.integers(0, 256, (360, 640, 3), dtype=np.uint8), smooth):
        expected = resize(image, *size, config).astype(int)
        ours = resize_on_device(torch.from_numpy(image)[None], *size, config)[0].numpy().astype(int)
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() <= RESIZE_TOLERANCE
        assert np.abs(ours - expected).mean() < 0.02


def test_device_views_change_features_by_no_more_than_rounded_pixels_do(
    feature_error: Callable[..., float], request_of: Callable[..., Encode]
) -> None:
    error = feature_error(replace(BASE, shortcuts=("device-views",)), [request_of(0)])
    assert 0 < error < 1e-2


def test_causal_means_that_the_last_query_sees_all_keys() -> None:
    query, (key, value) = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 2, 9, 8)
    seen = torch.ones(5, 9, dtype=torch.bool).tril(4)
    for kernel in (eager, sdpa):
        torch.testing.assert_close(kernel(query, key, value, True), kernel(query, key, value, False, seen))
        alone = kernel(query[:, :, 4:], key, value, False)
        torch.testing.assert_close(kernel(query, key, value, True)[:, :, 4:], alone)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "streams"}, "encoding joint or batched or separate"),
        ({"attention": "varlen"}, "attention eager or sdpa"),
        ({"attention": "flash_attention_2"}, "attention eager or sdpa"),
        ({"compile": "cuda-graph"}, "compile none or compile"),
        (PRESETS["fast"], "attention varlen"),
    ],
)
def test_what_needs_cuda_is_refused_on_a_cpu_in_one_line(model: VLA, change: dict, says: str) -> None:
    optimization = replace(BASE, **change)
    for refused in (lambda: check_device(optimization, "cpu"), lambda: VLAPolicy(copy.deepcopy(model), optimization)):
        with pytest.raises(UsageError) as error:
            refused()
        assert says in str(error.value)
        assert "\n" not in str(error.value)
    check_device(optimization, "cuda")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize(
    ("attention", "package"), [("flash_attention_2", "flash_attn"), ("flash_attention_4", "flash_attn.cute")]
)
def test_a_missing_package_is_one_line_that_names_the_extra(model: VLA, attention: Attention, package: str) -> None:
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(UsageError, match=r"pip install -e '.\[flash"):
            apply_optimization(copy.deepcopy(model.encoder).to("cuda"), replace(BASE, attention=attention))
    else:
        pytest.skip(f"{package} is installed")


def test_streams_cannot_be_one_launch() -> None:
    with pytest.raises(UsageError, match="use encoding batched"):
        replace(BASE, encoding="streams", compile="cuda-graph")


def test_a_preset_fills_in_what_was_left_out() -> None:
    fast = with_preset(BASE, "fast")
    assert (fast.attention, fast.quant, fast.compile) == ("varlen", "fp8", "compile")
    assert (fast.cameras, fast.width, fast.encoding) == (BASE.cameras, BASE.width, BASE.encoding)
    assert with_preset(replace(BASE, quant="int8-dynamic"), "fast").quant == "int8-dynamic"


def test_weights_are_changed_for_one_optimization_only(model: VLA) -> None:
    changed = copy.deepcopy(model)
    fused = VLAPolicy(changed, replace(BASE, shortcuts=("fused",)))
    VLAPolicy(changed, replace(BASE, shortcuts=("fused", "prefix")))
    with pytest.raises(ValueError, match="load the policy again"):
        VLAPolicy(changed, BASE)
    with pytest.raises(ValueError, match="not saved"):
        fused.save_pretrained("nowhere")
    assert any(isinstance(module, nn.Linear) for module in changed.modules())
