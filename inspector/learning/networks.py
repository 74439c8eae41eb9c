"""The teachers' trunks, written out so that the official weight files fit them key by key.

    ResNet18        torchvision ``resnet18``                                 taps at stride 4, 8, 16
    EfficientNet    timm ``tf_efficientnet_b0`` and ``tf_efficientnet_lite0``  taps at stride 4, 8, 16, 32
    MobileNetV2     the original ``features.*`` keys                          taps at stride 4, 8, 16, 32

Each ends at its deepest wanted tap; heads are left out. Input float32 [N, 3, S, S], already normalised, S a
multiple of 32; output one float32 [N, C, S/stride, S/stride] per wanted stride, in rising order.
This module knows nothing of weights on disk, students or images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.errors import ConfigError


class Trunk(nn.Module):
    """A network cut off after the deepest wanted tap."""

    channels: ClassVar[dict[int, int]]  # stride -> channels of its tap

    def check(self, strides: Sequence[int]) -> None:
        """Raise ConfigError for a stride at which this trunk has no tap."""
        for stride in strides:
            if stride not in self.channels:
                raise ConfigError(
                    f"{type(self).__name__} has no tap at stride {stride}; it has {list(self.channels)}"
                )

    def stem(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return the first convolution and its BatchNorm."""
        raise NotImplementedError

    def turn(self) -> None:
        """Swap rows and columns in every kernel: an image gets the answer that its transpose got, transposed."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.copy_(module.weight.transpose(2, 3).clone())


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + shortcut)


class ResNet18(Trunk):
    """conv1 to layer3."""

    channels: ClassVar[dict[int, int]] = {4: 64, 8: 128, 16: 256}

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.check(strides)
        self.strides = tuple(strides)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        if max(strides) >= 8:
            self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        if max(strides) >= 16:
            self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))

    def stem(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return the first convolution and its BatchNorm."""
        return self.conv1, self.bn1

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the wanted taps."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        taps = []
        for stride, layer in zip((4, 8, 16), ("layer1", "layer2", "layer3"), strict=True):
            if stride > max(self.strides):
                break
            x = getattr(self, layer)(x)
            if stride in self.strides:
                taps.append(x)
        return taps


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME does on sizes that are multiples of the stride."""

    def pads(self) -> tuple[int, int]:
        """Zeros before and after, of rows as of columns."""
        total = self.kernel_size[0] - self.stride[0]
        return total // 2, total - total // 2

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        before, after = self.pads()
        if before == after:
            return F.conv2d(x, self.weight, self.bias, self.stride, before, self.dilation, self.groups)
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al. 2018), with SiLU inside."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        gate = F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.conv_expand(gate))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


EXPAND = 6  # of EfficientNet's blocks: channels in the middle for each that comes in


class SeparableBlock(nn.Module):
    """Depthwise then pointwise: EfficientNet's first stage."""

    def __init__(self, inputs: int, outputs: int, kernel: int, lite: bool) -> None:
        super().__init__()
        self.act = F.relu6 if lite else F.silu
        self.conv_dw = SameConv2d(inputs, inputs, kernel, groups=inputs, bias=False)
        self.bn1 = _norm(inputs)
        self.se = nn.Identity() if lite else SqueezeExcite(inputs, inputs // 4)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        y: Tensor = self.bn2(self.conv_pw(self.se(self.act(self.bn1(self.conv_dw(x))))))
        return y


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (Sandler et al. 2018), with EfficientNet's names."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, lite: bool, expand: int = EXPAND
    ) -> None:
        super().__init__()
        wide = inputs * expand
        self.act = F.relu6 if lite else F.silu
        self.conv_pw = nn.Conv2d(inputs, wide, 1, bias=False)
        self.bn1 = _norm(wide)
        self.conv_dw = SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn2 = _norm(wide)
        self.se = nn.Identity() if lite else SqueezeExcite(wide, inputs // 4)
        self.conv_pwl = nn.Conv2d(wide, outputs, 1, bias=False)
        self.bn3 = _norm(outputs)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        y: Tensor = self.act(self.bn1(self.conv_pw(x)))
        y = self.se(self.act(self.bn2(self.conv_dw(y))))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.shortcut else y


class EfficientNet(Trunk):
    """B0 (Tan & Le 2019), or Lite0: no squeeze-excite, ReLU6 instead of SiLU."""

    channels: ClassVar[dict[int, int]] = {4: 24, 8: 40, 16: 112, 32: 320}
    early_channels: ClassVar[dict[int, int]] = {4: 24, 8: 40, 16: 80, 32: 192}
    # repeats, channels, kernel, stride of stages 1 to 6; taps are stages' ends: of a stride's last or, early, its first
    stages = ((2, 24, 3, 2), (2, 40, 5, 2), (3, 80, 3, 2), (3, 112, 5, 1), (4, 192, 5, 2), (1, 320, 3, 1))
    tap_stages: ClassVar[dict[int, int]] = {4: 1, 8: 2, 16: 4, 32: 6}
    early_tap_stages: ClassVar[dict[int, int]] = {4: 1, 8: 2, 16: 3, 32: 5}

    def __init__(
        self,
        strides: Sequence[int],
        *,
        lite: bool,
        inputs: int = 3,
        early: bool = False,
        expand: int = EXPAND,
    ) -> None:
        super().__init__()
        self.check(strides)
        self.act = F.relu6 if lite else F.silu
        stages = self.early_tap_stages if early else self.tap_stages
        self.taps = {stages[stride] for stride in strides}
        self.conv_stem = SameConv2d(inputs, 32, 3, 2, bias=False)
        self.bn1 = _norm(32)
        blocks = [nn.Sequential(SeparableBlock(32, 16, 3, lite))]
        inputs = 16
        for repeats, outputs, kernel, stride in self.stages[: max(self.taps)]:
            stage: list[nn.Module] = [InvertedResidual(inputs, outputs, kernel, stride, lite, expand)]
            stage += [InvertedResidual(outputs, outputs, kernel, 1, lite, expand) for _ in range(repeats - 1)]
            blocks.append(nn.Sequential(*stage))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)

    def stem(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return the first convolution and its BatchNorm."""
        return self.conv_stem, self.bn1

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the wanted taps."""
        x = self.act(self.bn1(self.conv_stem(x)))
        taps = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in self.taps:
                taps.append(x)
        return taps


class Bottleneck(nn.Module):
    """MobileNetV2's inverted residual, with the original's numbered keys."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers += [nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
        ]
        layers += [nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(Trunk):
    """MobileNetV2 (Sandler et al. 2018), width 1."""

    channels: ClassVar[dict[int, int]] = {4: 24, 8: 32, 16: 96, 32: 320}
    # expansion, channels, repeats, stride
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    tap_blocks: ClassVar[dict[int, int]] = {4: 3, 8: 6, 16: 13, 32: 17}

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.check(strides)
        self.taps = {self.tap_blocks[stride] for stride in strides}
        blocks: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        ]
        inputs = 32
        for expand, outputs, repeats, stride in self.stages:
            for repeat in range(repeats):
                blocks.append(Bottleneck(inputs, outputs, stride if repeat == 0 else 1, expand))
                inputs = outputs
        self.features = nn.Sequential(*blocks[: max(self.taps) + 1])

    def stem(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return the first convolution and its BatchNorm."""
        first = self.features[0]
        assert isinstance(first, nn.Sequential)
        conv, norm = first[0], first[1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        return conv, norm

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the wanted taps."""
        taps = []
        for number, block in enumerate(self.features):
            x = block(x)
            if number in self.taps:
                taps.append(x)
        return taps
