"""Students: what tries to say, from good web alone, what the teachers will say.

A student is never a copy of its teacher: where it would be the same network it starts from random weights,
and the plain one is a different and much smaller network. This module knows nothing of weights on disk.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.learning.distance import Direction, DirectionAndSize, Students
from inspector.learning.networks import BasicBlock, EfficientNet
from inspector.learning.teachers import Layer, at_half, looks_at_half, pair_layers

WIDTHS = {4: 1, 8: 2, 16: 4, 32: 4}  # of a stage, in times the width at stride 4
WIDTH = 12  # channels of the plain student at stride 4
WIDTHS_OF = {"fastest": 8}  # where it is another: a slim teacher is learnt with less (decision 22)


class PlainStudent(Students):
    """Plain convolutions to the deepest layer's stride, and a 1x1 head for every teacher layer.

    All teachers share it: what they have in common is learnt once. Nothing but convolution, BatchNorm and
    ReLU, which every runtime does fast in low precision. Where its teachers look at tiles at half of their size, so
    does it.
    """

    def __init__(self, layers: Sequence[Layer], channels: int, width: int, halved: bool) -> None:
        super().__init__([DirectionAndSize(layer.channels) for layer in layers])
        self.halved = halved
        self.strides = [layer.stride // 2 if halved else layer.stride for layer in layers]
        self.stem = nn.Sequential(_convolution(channels, width, 5, 2), _convolution(width, width, 3, 2))
        self.stages = nn.ModuleDict()
        inputs = width
        for stride, times in WIDTHS.items():
            if stride > max(self.strides):
                break
            outputs = width * times
            stage = [
                _convolution(inputs, outputs, 3, 1 if stride == 4 else 2),
                _convolution(outputs, outputs, 3, 1),
            ]
            self.stages[str(stride)] = nn.Sequential(*stage)
            inputs = outputs
        self.heads = nn.ModuleList(
            nn.Conv2d(width * WIDTHS[stride], layer.channels, 1)
            for stride, layer in zip(self.strides, layers, strict=True)
        )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels float32 [N, channels, S, S] on 0..255 to one float32 [N, C, S/stride, S/stride] a layer."""
        x = self.stem(_centred(at_half(pixels) if self.halved else pixels))
        seen: dict[int, Tensor] = {}
        for stride, stage in self.stages.items():
            x = stage(x)
            seen[int(stride)] = x
        return [
            yardstick.answer(head(seen[stride]))  # type: ignore[operator]
            for stride, head, yardstick in zip(self.strides, self.heads, self.yardsticks, strict=True)
        ]


class ReducedResNet(nn.Module):
    """MixedTeacher's reduced student: ResNet18's conv1, one block a stage, layer1 with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = BasicBlock(64, 64, 2)
        self.layer2 = BasicBlock(64, 128, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return 64 channels at stride 8 and 128 at stride 16."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        shallow = self.layer1(x)
        return [shallow, self.layer2(shallow)]


class PaperStudents(Students):
    """The paper's two students side by side: the reduced ResNet and an EfficientNet-B0 from random weights."""

    def __init__(self, channels: int) -> None:
        super().__init__([Direction() for _ in range(4)])
        self.resnet = ReducedResNet(channels)
        self.efficientnet = EfficientNet((16, 32), lite=False, inputs=channels)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """As PlainStudent's."""
        x = _centred(pixels)
        return [*self.resnet(x), *self.efficientnet(x)]


class ReducedStudent(Students):
    """The reduced ResNet alone."""

    def __init__(self, channels: int) -> None:
        super().__init__([Direction() for _ in range(2)])
        self.resnet = ReducedResNet(channels)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """As PlainStudent's."""
        answers: list[Tensor] = self.resnet(_centred(pixels))
        return answers


def build_students(pair: str, channels: int, seed: int, width: int | None = None) -> Students:
    """Return the untrained students of a pair; the same seed gives the same weights.

    ``width`` is the plain student's, in channels at stride 4; None: as the pair has it.

    ``forward`` takes pixels as a teacher does and returns one map for each of the pair's layers, in order.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if pair == "paper":
            return PaperStudents(channels)
        if pair == "reduced":
            return ReducedStudent(channels)
        width = width or WIDTHS_OF.get(pair, WIDTH)
        return PlainStudent(pair_layers(pair), channels, width, looks_at_half(pair))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _centred(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) / 64.0
