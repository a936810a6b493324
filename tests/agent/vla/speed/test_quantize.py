"""Laws of the quantized encode: its error is that of its format, neither none nor large."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from vlatency.agent.optimization import Optimization, Quant
from vlatency.agent.realtime.requests import Encode
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.agent.vla.speed import quantize as module
from vlatency.agent.vla.speed.quantize import (
    EmulatedLinear,
    IntegerLinear,
    PaddedLinear,
    multiplies_integers_exactly,
    quantize,
    torchao_config,
)
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

BASE = Optimization(CAMERA_ORDER[:2], 112, 112)


@pytest.mark.parametrize(
    ("quant", "least", "most"),
    [
        ("int8-dynamic", 1e-3, 0.03),
        ("fp8", 5e-3, 0.1),
        ("bnb-int8", 1e-3, 0.03),
        ("bnb-nf4", 2e-2, 0.3),
    ],
)
def test_the_error_of_the_features_is_that_of_the_format(
    feature_error: Callable[..., float], request_of: Callable[..., Encode], quant: Quant, least: float, most: float
) -> None:
    if quant.startswith("bnb"):
        pytest.importorskip("bitsandbytes", reason="needs the extra [quant]")
    requests = [request_of(0), request_of(1, "Lift it")]
    error = feature_error(replace(BASE, quant=quant), requests)
    print(f"{quant}: feature error {error:.4f}")
    assert least < error < most
    assert feature_error(BASE, requests) == 0


def test_fusing_first_changes_nothing_where_every_output_has_its_own_scale(
    model: VLA, request_of: Callable[..., Encode]
) -> None:
    def features(**changes: Any) -> torch.Tensor:
        policy = VLAPolicy(copy.deepcopy(model), replace(BASE, quant="int8-dynamic", **changes))
        return torch.from_numpy(policy.encode([request_of(0)])[0].newest.views)

    torch.testing.assert_close(features(shortcuts=("fused",)), features(), rtol=1e-5, atol=1e-5)


def int8_by_definition(linear: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    """The same numbers from another product: one of float64, which holds every sum."""

    def rounded(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = torch.linalg.vector_norm(values.float(), torch.inf, dim=-1, keepdim=True).clamp(min=1e-12) / 127
        return (values.float() / scale).round(), scale

    (left, left_scale), (right, right_scale) = rounded(inputs), rounded(linear.weight)
    product = (left.double() @ right.double().T).float() * left_scale * right_scale.T
    return (product if linear.bias is None else product + linear.bias).to(inputs.dtype)


def layer_and_inputs(seed: int, most_inputs: int) -> tuple[nn.Linear, torch.Tensor]:
    """A random layer of odd sides, and tokens some of which are large, small or zero."""
    torch.manual_seed(seed)
    inside, outside = (int(torch.randint(1, most, (1,))) for most in (most_inputs, 400))
    dtype = (torch.float32, torch.bfloat16, torch.float16)[seed % 3]
    linear = nn.Linear(inside, outside, bias=seed % 2 == 0).to(dtype)
    shape = [(1,), (2, 3), (int(torch.randint(1, 90, (1,))),)][seed % 5 % 3]
    inputs = torch.randn(*shape, inside) * 10.0 ** torch.randint(-3, 3, (*shape, 1))
    inputs[..., : seed % 4] *= 50
    if seed % 7 == 0:  # every sum as large as it can be
        inputs, linear.weight.data = torch.ones_like(inputs), -torch.ones_like(linear.weight)
    if seed % 11 == 0:
        inputs[-1] = 0
    return linear, inputs.to(dtype)


@torch.inference_mode()
@pytest.mark.parametrize("most_inputs", [1041, 5000])
def test_not_one_element_changes_when_integers_are_multiplied(most_inputs: int) -> None:
    """Beyond 1040 inputs a sum may leave what float32 holds, so only the integers are exact."""
    if most_inputs > 1041 and not multiplies_integers_exactly():
        pytest.skip("this processor has no exact integer products")
    for seed in range(100):
        linear, inputs = layer_and_inputs(seed, most_inputs)
        expected = int8_by_definition(linear, inputs)
        quantized = nn.Sequential(linear)
        assert quantize(quantized, "int8-dynamic") == 1
        assert torch.equal(quantized(inputs), expected), (seed, linear, inputs.shape)
        if most_inputs <= 1041:
            assert torch.equal(EmulatedLinear(linear, torch.int8)(inputs), expected), (seed, linear, inputs.shape)


def test_integers_are_multiplied_where_that_is_exact() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    quantize(model, "int8-dynamic")
    assert isinstance(model[0], IntegerLinear) == multiplies_integers_exactly()


@pytest.mark.slow
def test_an_older_processor_gets_the_same_numbers() -> None:
    """One without VNNI, whose integer kernels cut sums off at 16 bits."""
    code = f"from {__name__} import *; test_not_one_element_changes_when_integers_are_multiplied(1041)"
    older = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert subprocess.run([sys.executable, "-c", code], env=older, timeout=250).returncode == 0


@pytest.mark.parametrize("sides", [(16, 16), (37, 3420 // 60), (128, 40)])
@pytest.mark.parametrize("rows", [1, 40])
def test_a_product_of_numbers_that_int8_holds_is_exact(sides: tuple[int, int], rows: int) -> None:
    linear = nn.Linear(*sides)
    values = torch.randint(-127, 128, (sides[1], sides[0])).float()
    values[:, 0] = 127  # the scale is then 1
    linear.weight.data = values
    inputs = torch.randint(-127, 128, (rows, 2, sides[0])).float()
    inputs[..., 0] = 127
    torch.testing.assert_close(EmulatedLinear(linear, torch.int8)(inputs), linear(inputs), rtol=1e-5, atol=1e-1)


@pytest.mark.parametrize(("dtype", "most"), [(torch.int8, 0.02), (torch.float8_e4m3fn, 0.06)])
def test_a_large_token_does_not_spoil_the_others(dtype: torch.dtype, most: float) -> None:
    torch.manual_seed(0)
    linear, inputs = nn.Linear(64, 48), torch.randn(4, 64)
    inputs[0] *= 1e4
    for ours, expected in zip(EmulatedLinear(linear, dtype)(inputs), linear(inputs), strict=True):
        assert 0 < (ours - expected).norm() / expected.norm() < most


def test_inputs_of_zeros_give_the_bias() -> None:
    linear = nn.Linear(16, 16)
    torch.testing.assert_close(EmulatedLinear(linear, torch.int8)(torch.zeros(2, 16)), linear.bias.expand(2, -1))


def test_heads_and_embeddings_keep_their_bits(model: VLA) -> None:
    changed = VLAPolicy(copy.deepcopy(model), replace(BASE, quant="int8-dynamic")).model
    kinds = {name: type(module) for name, module in changed.named_modules()}
    towers = [kind for name, kind in kinds.items() if "visual.blocks" in name or "language_model.layers" in name]
    assert nn.Linear not in towers
    assert sum(issubclass(kind, EmulatedLinear) for kind in towers) > 20
    assert not any(
        issubclass(kind, EmulatedLinear) for name, kind in kinds.items() if not name.startswith("encoder.backbone")
    )
    assert kinds["encoder.backbone.language_model.embed_tokens"] is nn.Embedding


@pytest.mark.parametrize("quant", ["bnb-int8", "bnb-nf4"])
def test_a_missing_extra_is_one_line_that_names_it(quant: Quant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UsageError, match=r"^quant bnb-int8 and bnb-nf4 need .* pip install -e '.\[quant\]', or use"):
        quantize(nn.Sequential(nn.Linear(8, 8)), quant)


@pytest.mark.parametrize("quant", ["int8-dynamic", "fp8"])
def test_without_torchao_a_gpu_gets_one_line_that_names_the_extra(
    quant: Quant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(UsageError, match=r"torchao[^\n]*pip install -e '.\[torchao\]'$"):
        torchao_config(quant)


def test_without_torchao_a_cpu_emulates_fp8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    model = nn.Sequential(nn.Linear(8, 8))
    assert quantize(model, "fp8") == 1
    assert isinstance(model[0], EmulatedLinear)


def test_torchao_is_asked_for_one_scale_a_row_like_the_emulation() -> None:
    torchao = pytest.importorskip("torchao", reason="needs the extra [torchao]").quantization
    int8, fp8 = torchao_config("int8-dynamic"), torchao_config("fp8")
    assert isinstance(int8, torchao.Int8DynamicActivationInt8WeightConfig)
    assert int8.granularity == torchao.PerRow()
    assert isinstance(fp8, torchao.Float8DynamicActivationFloat8WeightConfig)
    assert set(fp8.granularity) == {torchao.PerRow()}
    assert {fp8.activation_dtype, fp8.weight_dtype} == {torch.float8_e4m3fn}


def test_int8_of_torchao_has_the_error_of_ours(model: VLA, request_of: Callable[..., Encode]) -> None:
    """On torchao's CPU kernel; the one for CUDA needs a GPU."""
    pytest.importorskip("torchao", reason="needs the extra [torchao]")

    def features(change: Callable[[nn.Module], object]) -> torch.Tensor:
        policy = VLAPolicy(copy.deepcopy(model), BASE)
        change(policy.model.encoder.backbone.visual)
        change(policy.model.encoder.backbone.language_model)
        return torch.from_numpy(policy.encode([request_of(0)])[0].newest.views)

    exact = features(lambda part: None)
    ours = features(lambda part: quantize(part, "int8-dynamic"))
    theirs = features(lambda part: module._by_torchao(part, "int8-dynamic"))
    errors = [float((each - exact).norm() / exact.norm()) for each in (ours, theirs)]
    assert errors[0] == pytest.approx(errors[1], rel=0.5)


@pytest.mark.parametrize("sides", [(3420, 1280), (1280, 3420), (37, 57)])
@pytest.mark.parametrize("biased", [True, False])
def test_padding_changes_no_product(sides: tuple[int, int], biased: bool) -> None:
    torch.manual_seed(0)
    linear, inputs = nn.Linear(*sides, bias=biased), torch.randn(2, 5, sides[0])
    padded = PaddedLinear(linear, torch.float32)
    assert padded.linear.in_features % 16 == padded.linear.out_features % 16 == 0
    torch.testing.assert_close(padded(inputs), linear(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(("quant", "most"), [("int8-dynamic", 0.03), ("fp8", 0.06)])
@pytest.mark.parametrize("rows", [1, 300])
def test_the_product_on_cuda_is_the_emulated_one_up_to_rounding(quant: Quant, most: float, rows: int) -> None:
    pytest.importorskip("torchao", reason="needs the extra [torchao]")
    if quant == "fp8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this GPU has no float8")
    torch.manual_seed(0)
    emulated, inputs = nn.Sequential(nn.Linear(1284, 3420)), torch.randn(rows, 1284)
    real = copy.deepcopy(emulated).to("cuda", torch.bfloat16)
    assert quantize(emulated, quant) == quantize(real, quant) == 1
    expected, ours = emulated(inputs), real(inputs.to("cuda", torch.bfloat16)).float().cpu()
    assert (ours - expected).norm() / expected.norm() < most
