"""Tone: how much brighter or darker a place is than what surrounds it. What networks forgive, and a stain is made of.

Students are taught that other light is no fault, and with it they forgive a soft stain or the flanks of a crease,
whose weave is as good as any. Their brightness tells both apart: light changes over a whole tile and more, a stain
within it. So the mean grey around each cell is held against that of a wider surround, as a share of it, which no gain
changes and hardly a slope of the light:

    spot   = (mean grey around a cell - mean grey of its surround) / mean grey of its surround
    streak = a smaller place against a smaller surround, averaged along a line through the cell; four directions
    yarn   = a place as narrow as one yarn against its neighbours, along a longer line; across and along the web

The lines are shares of the spot's surround, too. What of them all is beyond the highest fiftieth of good web adds to
the score, of the lines' the strongest, measured so that one step up in the tail of good web's tone counts as one step
up in the tail of the networks' sigma. No network learns any of it, so the constants come from all good tiles, those
that students learn from too: of a line as long as half a tile a few validation tiles show too little. This module
knows nothing of networks.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.images.reading import PX_PER_CELL
from inspector.learning.cells import (
    MIDDLE_GREY,
    Separable,
    Shape,
    Smoothing,
    around,
    block_means,
    coarse_line,
    gaussian,
    greys_above,
    line_filter,
    smoothing_coarse,
)
from inspector.learning.normal import Normal, measure

NEAR_PX = 8.0  # sigma: yarns average out, stains of some mm don't
WIDE_PX = 24.0  # sigma of the surround
STREAK_PX = 4.0  # sigma across a streak
BESIDE_PX = 16.0  # sigma of what a streak is held against
DILATIONS = (1, 2, 3, 4, 5)  # of three cells each, in a row: along a line that is a Gaussian of 24 px
YARN_PX = 2.0  # sigma across a yarn: the weave's own period averages out from half of it on
YARNS_BESIDE_PX = 8.0  # sigma of the yarns that it is held against
YARN_LONG_PX = 48.0  # sigma along it
SPOT, STREAKS, YARNS = slice(0, 1), slice(1, 5), slice(5, 7)  # of a tone's channels
LEAST_GREY = 8.0  # of a surround; what is darker is as good as black, and its noise no tone
TAIL_SHARE = 0.02  # of good web's cells make its tail
LEAST_DEVIATION = 0.002  # of a surround's grey: less is the camera's rounding
LEAST_EXCESS = 0.1  # deviations, of the tail; a normal distribution has 0.33


class Lines(nn.Module):
    """A map averaged along lines of four directions: across, along, and both diagonals.

    Args:
        shape: of the tiles.
    """

    steps: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        across, diagonal = torch.zeros(3, 3), torch.zeros(3, 3)
        across[1] = 1 / 3
        # A step along a diagonal is longer by the root of two: half the weight makes the same variance.
        diagonal.diagonal().copy_(torch.tensor([1 / 6, 2 / 3, 1 / 6]))
        self.register_buffer("steps", torch.stack([across, across.T, diagonal, diagonal.flip(1)])[:, None])

    def forward(self, maps: Tensor) -> Tensor:
        """Over a tile with its margins, [N, 1, S, S] in cells, to those of its interior, [N, 4, cells, cells]."""
        lines = around(maps, self.shape, sum(DILATIONS), sum(DILATIONS))
        for dilation in DILATIONS:  # the first makes four maps of the one
            lines = F.conv2d(lines, self.steps, dilation=dilation, groups=lines.shape[1])
        return lines


class Yarns(nn.Module):
    """How much a pick and an end differ from those beside them, for each judged cell.

    Args:
        shape: of the tiles.
        seen_px: side of the squares whose means it is given.
    """

    beside: Tensor  # [cells, S / seen_px], across a yarn
    coarse: Tensor  # [S / 16, S / seen_px], along it
    along: Tensor  # [cells, S / 16]

    def __init__(self, shape: Shape, seen_px: int) -> None:
        super().__init__()
        aside = math.ceil(3 * YARNS_BESIDE_PX / PX_PER_CELL) * PX_PER_CELL  # px beyond a cell
        middles = torch.arange(-aside, aside + PX_PER_CELL, seen_px) + (seen_px - 1) / 2
        at = middles - (PX_PER_CELL - 1) / 2  # from a cell's middle
        difference = gaussian(at, YARN_PX) - gaussian(at, YARNS_BESIDE_PX)
        first, step, inputs = (px // seen_px for px in (shape.margin_px - aside, PX_PER_CELL, shape.side_px))
        self.register_buffer("beside", line_filter(difference, first, shape.cells, step, inputs))
        self.register_buffer("coarse", coarse_line(inputs, seen_px))
        self.register_buffer("along", smoothing_coarse(YARN_LONG_PX, shape))

    def forward(self, above: Tensor) -> Tensor:
        """Means [N, 1, S / seen_px, S / seen_px] to [N, 2, c, c]."""
        picks = self.beside @ (above @ self.coarse.T) @ self.along.T
        ends = self.along @ ((self.coarse @ above) @ self.beside.T)
        return torch.cat([picks, ends], 1)


class Tone(nn.Module):
    """Pixels to signed tones, each a share of the surround's grey: of a spot, of streaks, of yarns.

    Args:
        shape: of the tiles.
        seen_px: side of the squares whose means it starts from: what the pair's networks look at.
    """

    def __init__(self, shape: Shape, seen_px: int = 1) -> None:
        super().__init__()
        self.shape, self.seen_px = shape, seen_px
        with_margins = Shape(shape.side_px, 0, shape.channels)
        self.near, self.streak = Smoothing(NEAR_PX, shape), Smoothing(STREAK_PX, with_margins)
        coarse = coarse_line(shape.side_px // PX_PER_CELL, PX_PER_CELL)
        wide, beside = smoothing_coarse(WIDE_PX, shape), smoothing_coarse(BESIDE_PX, with_margins)
        self.coarse = Separable(coarse, coarse)
        self.wide, self.beside = Separable(wide, wide), Separable(beside, beside)
        self.lines = Lines(shape)
        self.yarns = Yarns(shape, seen_px)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels float32 [N, channels, S, S] on 0..255 to [N, 7, cells, cells]: SPOT, STREAKS, YARNS."""
        above = greys_above(pixels, self.seen_px)
        cells = block_means(above, PX_PER_CELL // self.seen_px)
        coarse = self.coarse(cells)
        wide = self.wide(coarse)
        streaks = self.lines(self.streak(cells) - self.beside(coarse))
        tones = torch.cat([self.near(cells) - wide, streaks, self.yarns(above)], 1)
        tone: Tensor = tones / (MIDDLE_GREY + wide).clamp(min=LEAST_GREY)
        return tone


class ToneSigma(nn.Module):
    """Pixels to what their tone adds to the networks' sigma."""

    threshold: Tensor  # [1, 7, 1, 1]
    rise: Tensor  # [1, 7, 1, 1] sigma per deviation

    def __init__(self, tone: Tone, normal: Normal, threshold: Tensor, rise: Tensor) -> None:
        super().__init__()
        self.tone = tone
        self.normal = normal
        self.register_buffer("threshold", threshold.view(1, -1, 1, 1))
        self.register_buffer("rise", rise.view(1, -1, 1, 1))

    @classmethod
    def of(cls, tone: Tone, seen: Tensor, sides: Tensor, sigma: Tensor) -> ToneSigma:
        """Take all constants from good tiles.

        Args:
            tone: of the tiles' shape.
            seen: [N, 7, cells, cells], what it gave.
            sides: [N, 4], which of them are mirrored.
            sigma: [M, cells, cells], of the networks on good tiles that no student learnt from.
        """
        constants = measure(seen, sides, tone.shape.zone)
        constants.deviation.clamp_(min=LEAST_DEVIATION)
        normal = Normal(constants, tone.shape)
        tails = [_tail(one) for one in normal(seen, sides).abs().unbind(1)]
        threshold, excess = (torch.stack(one) for one in zip(*tails, strict=True))
        # Few tiles hold few places that a line fits in: one direction's excess alone may be off by half.
        for lines in (STREAKS, YARNS):
            excess[lines] = excess[lines].mean()
        _, unit = _tail(sigma)
        return cls(tone, normal, threshold, unit / excess.clamp(min=LEAST_EXCESS))

    def forward(self, pixels: Tensor, sides: Tensor) -> Tensor:
        """Sigma to add, [N, cells, cells]: 0 where all tones are as on 49 of 50 cells of good web."""
        return self.added(self.tone(pixels), sides)

    def added(self, seen: Tensor, sides: Tensor) -> Tensor:
        """``forward`` of what ``Tone`` gave, [N, 7, cells, cells]."""
        beyond: Tensor = (self.normal(seen, sides).abs() - self.threshold).clamp(min=0) * self.rise
        return beyond[:, SPOT].amax(1) + beyond[:, SPOT.stop :].amax(1)


def _tail(values: Tensor) -> tuple[Tensor, Tensor]:
    """Where the highest ``TAIL_SHARE`` begins, and how far its values lie above that on average."""
    highest = values.flatten().topk(max(1, round(TAIL_SHARE * values.numel()))).values
    return highest[-1].clone(), (highest - highest[-1]).mean()
