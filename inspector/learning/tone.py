"""Tone: how much brighter or darker a place is than what surrounds it. What networks forgive, and a stain is made of.

Students are taught that other light is no fault, and with it they forgive a soft stain or the flanks of a crease,
whose weave is as good as any. Their brightness tells both apart: light changes over a whole tile and more, a stain
within it. So the mean grey around each cell is held against that of a wider surround, as a share of it, which no gain
changes and hardly a slope of the light.

    tone = (mean grey around a cell - mean grey of its surround) / mean grey of its surround

What of it is beyond the highest hundredth of good web adds to the score, measured so that one step up in the tail of
good web's tone counts as one step up in the tail of the networks' sigma. This module knows nothing of networks.
"""

from __future__ import annotations

from torch import Tensor, nn

from inspector.learning.cells import Blur, Shape, cell_greys
from inspector.learning.normal import Normal, measure

NEAR_PX = 8.0  # sigma: yarns average out, stains of some mm don't
WIDE_PX = 24.0  # sigma of the surround
LEAST_GREY = 8.0  # of a surround; what is darker is as good as black, and its noise no tone
TAIL_SHARE = 0.01  # of good web's cells make its tail
LEAST_DEVIATION = 0.002  # of a surround's grey: less is the camera's rounding
LEAST_EXCESS = 0.1  # deviations, of the tail; a normal distribution has 0.33


class Tone(nn.Module):
    """Pixels to signed tone, a share of the surround's grey."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.near = Blur(NEAR_PX, shape)
        self.wide = Blur(WIDE_PX, shape)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels float32 [N, channels, S, S] on 0..255 to [N, 1, cells, cells]."""
        cells = cell_greys(pixels)
        level = cells.mean((2, 3), keepdim=True)
        # Taken off before anything is added up, or low precision would round away what is looked for.
        above = cells - level
        near, wide = self.near(above), self.wide(above)
        tone: Tensor = (near - wide) / (level + wide).clamp(min=LEAST_GREY)
        return tone


class ToneSigma(nn.Module):
    """Pixels to what their tone adds to the networks' sigma."""

    threshold: Tensor
    excess: Tensor
    unit: Tensor

    def __init__(self, tone: Tone, normal: Normal, threshold: Tensor, excess: Tensor, unit: Tensor) -> None:
        super().__init__()
        self.tone = tone
        self.normal = normal
        self.register_buffer("threshold", threshold)
        self.register_buffer("excess", excess)
        self.register_buffer("unit", unit)

    @classmethod
    def of(cls, tone: Tone, seen: Tensor, sides: Tensor, sigma: Tensor) -> ToneSigma:
        """Take all constants from good tiles.

        Args:
            tone: of the tiles' shape.
            seen: [N, 1, cells, cells], what it gave.
            sides: [N, 4], which of them are mirrored.
            sigma: [N, cells, cells], of the networks on the same tiles.
        """
        constants = measure(seen, sides, tone.shape.zone)
        constants.deviation.clamp_(min=LEAST_DEVIATION)
        normal = Normal(constants, tone.shape)
        threshold, excess = _tail(normal(seen, sides).abs())
        _, unit = _tail(sigma)
        return cls(tone, normal, threshold, excess.clamp(min=LEAST_EXCESS), unit)

    def forward(self, pixels: Tensor, sides: Tensor) -> Tensor:
        """Sigma to add, [N, cells, cells]: 0 where tone is as on ninety-nine hundredths of good web."""
        return self.added(self.tone(pixels), sides)

    def added(self, seen: Tensor, sides: Tensor) -> Tensor:
        """``forward`` of what ``Tone`` gave, [N, 1, cells, cells]."""
        deviations: Tensor = self.normal(seen, sides).abs()[:, 0]
        return (deviations - self.threshold).clamp(min=0) * (self.unit / self.excess)


def _tail(values: Tensor) -> tuple[Tensor, Tensor]:
    """Where the highest ``TAIL_SHARE`` begins, and how far its values lie above that on average."""
    highest = values.flatten().topk(max(1, round(TAIL_SHARE * values.numel()))).values
    return highest[-1].clone(), (highest - highest[-1]).mean()
