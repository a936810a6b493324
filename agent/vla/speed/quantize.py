"""Linear layers of vision tower and language model with fewer bits. The small heads stay as they are.

| quant          | weights                            | activations                                | on CUDA       |
|----------------|------------------------------------|--------------------------------------------|---------------|
| `bnb-int8`     | int8                               | int8, outlier columns in half precision    | bitsandbytes  |
| `bnb-nf4`      | NF4 (4 bits)                       | the model's own precision                  | bitsandbytes  |
| `int8-dynamic` | int8, one scale an output          | int8, one scale a token, taken as it comes | torchao       |
| `fp8`          | float8 (e4m3), one scale an output | float8, one scale a token                  | torchao       |

bitsandbytes saves memory. The last two are low-precision matrix products: on CUDA those of torchao, which people ship.
On a CPU, `int8-dynamic` multiplies integers too, if `multiplies_integers_exactly`. **`fp8`, and `int8-dynamic` without
such a processor, are emulated**: weights and activations are rounded to the same numbers and multiplied in float32.
This has the error of the format and none of its speed.

The CUDA path through torchao has not been run yet: it was written without a GPU. Its configurations, its padding and,
for int8, its numbers are tested on a CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from vlatency.agent.optimization import Quant
from vlatency.sim.errors import UsageError

FP8_CAPABILITY = (8, 9)
"""The least compute capability of an NVIDIA GPU that multiplies float8: Ada and Hopper."""
_UNIT = 16
"""CUDA's low-precision products take matrices whose sides are multiples of this."""
_LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}


def _rounded(values: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (M, K) as `dtype` and their scales (M, 1) float32."""
    values = values.float()
    # Four times as fast as a norm, and the same bits.
    scale = values.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / _LARGEST[dtype]
    values = values / scale
    return (values.round_() if dtype == torch.int8 else values).to(dtype), scale


def _filled(values: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A matrix with zeros added on the right and below, so that it has `rows` and `columns`."""
    if values.shape == (rows, columns):
        return values
    return F.pad(values, (0, columns - values.shape[1], 0, rows - values.shape[0]))


def _whole(side: int) -> int:
    return -(-side // _UNIT) * _UNIT


class EmulatedLinear(nn.Module):
    """A linear layer whose weights and inputs are rounded to `dtype`, each row with a scale of its own.

    The product is one of float32: slower than the layer that it replaces. Matrices are filled up as on a GPU.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = _filled(linear.weight.detach(), _whole(self.out_features), _whole(self.in_features))
        rounded, scale = _rounded(weight, dtype)
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("weight", rounded)
        self.register_buffer("scale", scale[: self.out_features].T.contiguous())
        self.bias = linear.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., in_features) to (..., out_features) of the same type."""
        flat = hidden.flatten(0, -2)
        rounded, scale = _rounded(flat, self.weight.dtype)
        # In place, because memory is what these steps cost.
        product = self.product(rounded)[: len(flat), : self.out_features].mul_(scale).mul_(self.scale)
        product = product if self.bias is None else product.add_(self.bias)
        shaped: torch.Tensor = product.to(hidden.dtype).unflatten(0, hidden.shape[:-1])
        return shaped

    def product(self, rounded: torch.Tensor) -> torch.Tensor:
        """Rounded inputs (M, in_features) times the rounded weights, float32, with zeros at its edges."""
        inputs = _filled(rounded.float(), max(len(rounded), 2 * _UNIT), self.weight.shape[1])
        return inputs @ self.weight.float().T


class IntegerLinear(EmulatedLinear):
    """The same layer at int8, its product one of integers.

    No element differs from the emulation's while sums stay below 2**24, which float32 holds: always with up to 1040
    inputs. Above that the integers are the exact ones.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear, torch.int8)

    def product(self, rounded: torch.Tensor) -> torch.Tensor:
        """Rounded inputs (M, in_features) times the rounded weights, float32, with zeros at its edges."""
        return torch._int_mm(_filled(rounded, len(rounded), self.weight.shape[1]), self.weight.T).float()


@cache
def multiplies_integers_exactly() -> bool:
    """Whether torch multiplies int8 matrices exactly on this CPU.

    Without VNNI instructions (Intel before Cascade Lake and Ice Lake, AMD before Zen 4, or `ONEDNN_MAX_CPU_ISA=AVX2`)
    oneDNN adds pairs of products in 16 bits, and cuts off what they do not hold. The largest numbers show it.
    """
    weights = torch.full((2 * _UNIT, 4 * _UNIT), -127, dtype=torch.int8)
    return torch.backends.mkldnn.is_available() and all(
        bool((torch._int_mm(-weights[:rows], weights.T) == -127 * 127 * weights.shape[1]).all())
        for rows in (1, len(weights))
    )


class PaddedLinear(nn.Module):
    """A linear layer with zeros added to its sides, so that torchao's kernels take it; the result is the same.

    Without them torchao would leave a layer at full precision (fp8) or multiply it on the CPU (int8): the vision tower
    of Qwen2.5-VL-3B has sides of 3420.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        sides = _whole(self.in_features), _whole(self.out_features)
        biased, device = linear.bias is not None, linear.weight.device
        self.linear = nn.Linear(*sides, bias=biased, device=device, dtype=dtype).requires_grad_(False)
        self.linear.weight.copy_(_filled(linear.weight.detach(), sides[1], sides[0]))
        if biased:
            self.linear.bias.copy_(F.pad(linear.bias.detach(), (0, sides[1] - self.out_features)))
        self._dtype = dtype

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., in_features) to (..., out_features) of the same type."""
        filled = F.pad(hidden.to(self._dtype), (0, self.linear.in_features - self.in_features))
        result: torch.Tensor = self.linear(filled)
        return result[..., : self.out_features].to(hidden.dtype)


def torchao_config(quant: Quant) -> Any:
    """What torchao's `quantize_` takes for int8-dynamic or fp8. UsageError if torchao is missing."""
    try:
        from torchao import quantization as torchao
    except ImportError:
        raise UsageError("quant int8-dynamic and fp8 need torchao on a GPU: pip install -e '.[torchao]'") from None
    if quant == "fp8":
        return torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow())
    return torchao.Int8DynamicActivationInt8WeightConfig(granularity=torchao.PerRow())


def _by_torchao(model: nn.Module, quant: Quant) -> int:
    """Hand every linear layer to torchao."""
    config = torchao_config(quant)
    from torchao.quantization import quantize_

    found = _linears(model)
    for module, name in found:
        linear = getattr(module, name)
        # torchao's float8 with one scale a row takes bfloat16 only.
        dtype = torch.bfloat16 if quant == "fp8" else linear.weight.dtype
        fits = linear.in_features % _UNIT == linear.out_features % _UNIT == 0 and linear.weight.dtype == dtype
        setattr(module, name, linear if fits else PaddedLinear(linear, dtype))
    quantize_(model, config)
    return len(found)


def _bitsandbytes() -> Any:
    # It logs hints about packages that are not needed here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes
    except ImportError:
        raise UsageError(
            "quant bnb-int8 and bnb-nf4 need the extra: pip install -e '.[quant]', or use int8-dynamic, fp8"
        ) from None
    return bitsandbytes


def _bnb_int8(linear: nn.Linear) -> nn.Module:
    bnb = _bitsandbytes()
    layer: nn.Module = bnb.nn.Linear8bitLt(
        linear.in_features, linear.out_features, linear.bias is not None, has_fp16_weights=False
    )
    layer.weight = bnb.nn.Int8Params(linear.weight.detach(), requires_grad=False, has_fp16_weights=False)
    layer.bias = linear.bias
    return layer.to(linear.weight.device)


def _bnb_nf4(linear: nn.Linear) -> nn.Module:
    bnb = _bitsandbytes()
    bias, dtype = linear.bias is not None, linear.weight.dtype
    layer: nn.Module = bnb.nn.Linear4bit(
        linear.in_features, linear.out_features, bias, compute_dtype=dtype, quant_type="nf4"
    )
    layer.weight = bnb.nn.Params4bit(linear.weight.detach(), requires_grad=False, quant_type="nf4")
    layer.bias = linear.bias
    return layer.to(linear.weight.device)


def _int8(linear: nn.Linear) -> nn.Module:
    return IntegerLinear(linear) if multiplies_integers_exactly() else EmulatedLinear(linear, torch.int8)


_LAYERS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "bnb-int8": _bnb_int8,
    "bnb-nf4": _bnb_nf4,
    "int8-dynamic": _int8,
    "fp8": partial(EmulatedLinear, dtype=torch.float8_e4m3fn),
}


def _linears(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """The linear layers, each as its parent and its name there."""
    return [
        (module, name)
        for module in model.modules()
        for name, child in module.named_children()
        if type(child) is nn.Linear
    ]


def quantize(model: nn.Module, quant: Quant) -> int:
    """Replace every linear layer in `model`, in place.

    Args:
        model: its layers are on one device, and may not be those of an earlier call.
        quant: one of those above, not none.

    Returns:
        How many layers.

    Raises:
        UsageError: the extra is missing, or the GPU has no float8.
    """
    device = next(model.parameters()).device
    if quant == "fp8" and device.type == "cuda" and torch.cuda.get_device_capability(device) < FP8_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        raise UsageError(f"quant fp8 needs an Ada, Hopper or newer GPU, and this is a {name}; use int8-dynamic")
    if device.type == "cuda" and quant in ("int8-dynamic", "fp8"):
        return _by_torchao(model, quant)
    found = _linears(model)
    for module, name in found:
        setattr(module, name, _LAYERS[quant](getattr(module, name)))
    return len(found)
