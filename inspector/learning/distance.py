"""How far a student's answer is from its teacher's, cell by cell: what is learnt by, and what is judged by.

Two distances, because faults differ. The *direction* of a feature vector forgets its length: it holds where
light and contrast change, and says little of what is merely darker or blank. The *size* of the difference,
channel by channel in deviations of good web, sees those too, and light along with them. On its own each lost
some kind of web to the other (docs/ablation.md), so both are judged, as layers of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_DEVIATION = (
    0.1  # of the mean over channels: a channel that hardly moves on good web must not decide all
)
LEAST_LENGTH = 1e-12  # of a feature vector


def channel_sum(values: Tensor) -> Tensor:
    """Sum over the channels, [N, C, h, w] to [N, 1, h, w]."""
    # As a convolution: in bf16 a runtime takes half as long as for a sum, and adds up in float32 all the same.
    return F.conv2d(values, torch.ones(1, values.shape[1], 1, 1))


def unit(features: Tensor) -> Tensor:
    """Features [N, C, h, w] at a length of 1 in every cell; what is shorter than LEAST_LENGTH stays shorter."""
    return features / channel_sum(features.square()).clamp(min=LEAST_LENGTH**2).sqrt()


class Direction(nn.Module):
    """The paper's distance alone: half the squared difference of channel-L2-normalised features (eq. 1)."""

    kinds = 1

    def fit(self, taught: Tensor) -> None:
        """Nothing to fit."""

    def answer(self, learnt: Tensor) -> Tensor:
        """The student's head as it is."""
        return learnt

    def forward(self, taught: Tensor, learnt: Tensor) -> Tensor:
        """Both float32 [N, C, h, w] to [N, 1, h, w]: 0 same direction, 1 at right angles."""
        return 0.5 * channel_sum((unit(taught) - unit(learnt)).square())


class DirectionAndSize(nn.Module):
    """Direction (twice the paper's, so that both weigh alike in the loss), and size in deviations of good web.

    Args:
        channels: of the layer.
    """

    kinds = 2
    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def fit(self, taught: Tensor) -> None:
        """Take mean and deviation of every channel from what a teacher says of good tiles, [N, C, h, w]."""
        values = taught[:, :, ::2, ::2].float()  # every other cell says the same in a quarter of the memory
        self.mean.copy_(values.mean((0, 2, 3)).view_as(self.mean))
        deviation = values.std((0, 2, 3)).view_as(self.deviation)
        self.deviation.copy_(deviation + LEAST_DEVIATION * deviation.mean().clamp(min=1e-6))

    def answer(self, learnt: Tensor) -> Tensor:
        """From a head's output, in deviations, to the teacher's own numbers."""
        return learnt * self.deviation + self.mean

    def forward(self, taught: Tensor, learnt: Tensor) -> Tensor:
        """Both float32 [N, C, h, w], in the teacher's numbers, to [N, 2, h, w]: direction, size."""
        direction = channel_sum((unit(taught) - unit(learnt)).square())
        size = channel_sum(((taught - learnt) / self.deviation).square()) * (0.5 / taught.shape[1])
        return torch.cat([direction, size], 1)


class Students(nn.Module):
    """What all students have in common: an answer a teacher layer, and how it is held against the teacher's."""

    def __init__(self, yardsticks: Sequence[Direction | DirectionAndSize]) -> None:
        super().__init__()
        self.yardsticks = nn.ModuleList(yardsticks)

    def fit(self, taught: Sequence[Tensor]) -> None:
        """Set what distances are measured in, from the teachers' features of the tiles learnt from."""
        with torch.no_grad():
            for yardstick, features in zip(self.yardsticks, taught, strict=True):
                yardstick.fit(features)  # type: ignore[operator]

    def distances(self, taught: Sequence[Tensor], learnt: Sequence[Tensor]) -> list[Tensor]:
        """How far off each layer is, [N, kinds, h, w] in float32; ``learnt`` is what ``forward`` gave."""
        return [
            yardstick(t.float(), s.float())
            for yardstick, t, s in zip(self.yardsticks, taught, learnt, strict=True)
        ]
