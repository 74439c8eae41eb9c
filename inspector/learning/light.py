"""Brightness that good web never shows: background behind its end, a failed lamp, a stain wider than a tile.

Students and teachers agree on much that is blank, so disagreement alone says little of it. Here a cell's
brightness, averaged over WINDOW_PX, adds to its score what lies beyond the darkest and the brightest that
good tiles showed; within that range it adds nothing. This module knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inspector.images.reading import PX_PER_CELL
from inspector.learning.cells import MIDDLE_GREY, Separable, Shape, cells_above
from inspector.records import U8

WINDOW_CELLS = 5  # 20 px: wider than a yarn, so that single ones average out
GREYS_BEYOND = 10.0  # what is still taken for good web beyond the range seen
SHARE_BEYOND = 0.15  # the same, of that range, where it is more
GREYS_PER_SIGMA = 1.0


class Light(nn.Module):
    """Adds sigma where a cell is darker or brighter than good web.

    Args:
        darkest: grey of a window, 0 to 255, below which it counts.
        brightest: above which it counts.
        shape: of the tiles.
        seen_px: side of the squares whose means it starts from, px; greys don't depend on it, but a graph takes them
            once for all that starts from the same.
    """

    darkest: Tensor
    brightest: Tensor

    def __init__(self, darkest: float, brightest: float, shape: Shape, seen_px: int = 1) -> None:
        super().__init__()
        self.seen_px = seen_px
        self.register_buffer("darkest", torch.tensor(darkest))
        self.register_buffer("brightest", torch.tensor(brightest))
        cells = torch.arange(shape.side_px // PX_PER_CELL)
        judged = cells[shape.margin_px // PX_PER_CELL :][: shape.cells]
        near = ((judged[:, None] - cells).abs() <= WINDOW_CELLS // 2).float()
        line = near / near.sum(1, keepdim=True)
        self.windows = Separable(line, line)

    @classmethod
    def of(cls, good: Sequence[U8], shape: Shape, seen_px: int = 1) -> Light:
        """Take the range from good tiles, uint8 [N, S, S(, 3)] each; at least one tile in all."""
        measuring = cls(0.0, 255.0, shape)
        ends = []
        for tiles in good:
            for tile in tiles:  # one at a time: memory
                pixels = torch.from_numpy(tile).float()
                seen = measuring.greys((pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1))[None])
                ends.append((float(seen.min()), float(seen.max())))
        darkest, brightest = min(low for low, _ in ends), max(high for _, high in ends)
        beyond = max(GREYS_BEYOND, SHARE_BEYOND * (brightest - darkest))
        return cls(darkest - beyond, brightest + beyond, shape, seen_px)

    def greys(self, pixels: Tensor) -> Tensor:
        """Pixels float32 [N, channels, S, S] on 0..255 to the mean grey around each judged cell, [N, c, c]."""
        return MIDDLE_GREY + self._above(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Sigma to add, [N, c, c]: 0 within the range of good web."""
        middle, reach = (self.brightest + self.darkest) / 2, (self.brightest - self.darkest) / 2
        beyond: Tensor = ((self._above(pixels) - (middle - MIDDLE_GREY)).abs() - reach).clamp(min=0)
        return beyond / GREYS_PER_SIGMA

    def _above(self, pixels: Tensor) -> Tensor:
        above: Tensor = self.windows(cells_above(pixels, self.seen_px))
        return above[:, 0]
