"""MobileNetV3-Small, EfficientNet-B0 and EfficientNet-Lite0 up to their last feature map, built from one kind of block.

timm has them too, but needs torchvision, which does not exist for every build of torch (on PyPI not for its CPU build);
transformers has EfficientNet only. Parameters have the names of timm's `tf_` models, so that their published weights
can be loaded, and the padding is theirs, "same" of TensorFlow.

Sources: Howard et al., Searching for MobileNetV3, 2019, table 2; Tan and Le, EfficientNet, 2019, table 1.
EfficientNet-Lite0 is B0 with ReLU6 and without squeeze-and-excite.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

Function = Callable[[torch.Tensor], torch.Tensor]
ACTIVATIONS: dict[str, Function] = {"relu": F.relu, "relu6": F.relu6, "silu": F.silu, "hardswish": F.hardswish}
GATES: dict[str, tuple[Function, Function]] = {"hard": (F.relu, F.hardsigmoid), "soft": (F.silu, torch.sigmoid)}
# Those of TensorFlow, with which the published weights were trained.
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01


@dataclass(frozen=True)
class Block:
    """An inverted residual: widen to `hidden` channels, filter each, weight them, narrow to `out`."""

    kernel: int
    stride: int
    hidden: int
    out: int
    act: str
    squeeze: int = 0
    """Channels between the two layers of squeeze-and-excite; 0 for a block without it."""


@dataclass(frozen=True)
class Network:
    """A stem of stride 2, stages of blocks, and a final 1 x 1 convolution."""

    stem: int
    stem_act: str
    gate: str
    """Functions of squeeze-and-excite: "hard" for ReLU and a hard sigmoid, "soft" for SiLU and a sigmoid."""
    stages: tuple[tuple[Block, ...], ...]
    head: int
    head_names: tuple[str, str] = ("conv_head", "bn2")

    @property
    def head_act(self) -> str:
        """Activation of the final convolution, the same as of the stem."""
        return self.stem_act


def _efficientnet(act: str, squeeze: bool) -> Network:
    rows = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3))
    width, stages = 32, []
    for kernel, stride, expansion, out, repeats in (*rows, (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)):
        stage = []
        for index in range(repeats):
            step = 1 if index else stride
            stage.append(Block(kernel, step, width * expansion, out, act, width // 4 if squeeze else 0))
            width = out
        stages.append(tuple(stage))
    return Network(32, act, "soft", tuple(stages), 1280)


NETWORKS = {
    "mobilenetv3-small": Network(
        16,
        "hardswish",
        "hard",
        (
            (Block(3, 2, 16, 16, "relu", 8),),
            (Block(3, 2, 72, 24, "relu"), Block(3, 1, 88, 24, "relu")),
            (Block(5, 2, 96, 40, "hardswish", 24), *[Block(5, 1, 240, 40, "hardswish", 64)] * 2),
            (Block(5, 1, 120, 48, "hardswish", 32), Block(5, 1, 144, 48, "hardswish", 40)),
            (Block(5, 2, 288, 96, "hardswish", 72), *[Block(5, 1, 576, 96, "hardswish", 144)] * 2),
        ),
        576,
        ("blocks.5.0.conv", "blocks.5.0.bn1"),
    ),
    "efficientnet-b0": _efficientnet("silu", squeeze=True),
    "efficientnet-lite0": _efficientnet("relu6", squeeze=False),
}


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as in TensorFlow for sides that are multiples of the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        before = (kernel - stride) // 2
        self.sides = (before, kernel - stride - before) * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return super().forward(F.pad(x, self.sides) if any(self.sides) else x)


class Norm(nn.BatchNorm2d):
    """Batch normalisation and an activation."""

    def __init__(self, width: int, act: str = "") -> None:
        super().__init__(width, NORM_EPS, NORM_MOMENTUM)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        x = super().forward(x)
        return ACTIVATIONS[self.act](x) if self.act else x


class SqueezeExcite(nn.Module):
    """Weights each channel by a function of the mean of all channels."""

    def __init__(self, width: int, inner: int, gate: str) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(width, inner, 1)
        self.conv_expand = nn.Conv2d(inner, width, 1)
        self.inner, self.gate = GATES[gate]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return x * self.gate(self.conv_expand(self.inner(self.conv_reduce(x.mean((2, 3), keepdim=True)))))


class InvertedResidual(nn.Sequential):
    """The layers of a `Block` in order. The input is added if it has the shape of the output."""

    def __init__(self, inputs: int, block: Block, gate: str) -> None:
        hidden, layers = block.hidden, OrderedDict[str, nn.Module]()
        widens = hidden != inputs
        if widens:
            layers["conv_pw"], layers["bn1"] = SameConv2d(inputs, hidden, 1), Norm(hidden, block.act)
        layers["conv_dw"] = SameConv2d(hidden, hidden, block.kernel, block.stride, groups=hidden)
        layers["bn2" if widens else "bn1"] = Norm(hidden, block.act)
        if block.squeeze:
            layers["se"] = SqueezeExcite(hidden, block.squeeze, gate)
        layers["conv_pwl" if widens else "conv_pw"] = SameConv2d(hidden, block.out, 1)
        layers["bn3" if widens else "bn2"] = Norm(block.out)
        super().__init__(layers)
        self.residual = block.stride == 1 and inputs == block.out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (N, inputs, H, W) to (N, out, H / stride, W / stride)."""
        out = x
        for layer in self:
            out = layer(out)
        return x + out if self.residual else out


class MobileNet(nn.Module):
    """One of `NETWORKS`: from images (N, 3, H, W), sides multiples of 32, to maps (N, channels, H / 32, W / 32)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        network = NETWORKS[name]
        self.channels = network.head
        self.conv_stem = SameConv2d(3, network.stem, 3, 2)
        self.bn1 = Norm(network.stem, network.stem_act)
        self.blocks = nn.Sequential()
        width = network.stem
        for stage in network.stages:
            blocks = nn.Sequential()
            for block in stage:
                blocks.append(InvertedResidual(width, block, network.gate))
                width = block.out
            self.blocks.append(blocks)
        self.head = nn.Sequential(SameConv2d(width, network.head, 1), Norm(network.head, network.head_act))
        self.published_names = {f"head.{index}.": f"{name}." for index, name in enumerate(network.head_names)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The last feature map."""
        features: torch.Tensor = self.head(self.blocks(self.bn1(self.conv_stem(images))))
        return features
