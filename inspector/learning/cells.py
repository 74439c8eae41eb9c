"""A tile's measures in cells, and the blur over them: what every map of a graph has in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.images.reading import PX_PER_CELL
from inspector.records import tile_shape

# From a side, where it shows. A mirror image shows to the layers of stride 16 over 18 cells; constants that end
# sooner leave a bright line along the web's edges.
ZONE_CELLS = 20
MIDDLE_GREY = 128.0  # of 0 to 255
MEANS_AT_ONCE = 16  # of columns, in a product
COARSE_PX = 16  # between the values that wide filters start from
COARSE_SIGMA_PX = 10.0  # of the Gaussian that takes them: no weave's period may beat with them


@dataclass(frozen=True, slots=True)
class Shape:
    """A tile's measures, px."""

    tile_px: int
    margin_px: int
    channels: int

    @property
    def side_px(self) -> int:
        """Of a tile with its margins."""
        return self.tile_px + 2 * self.margin_px

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Of one tile's pixels, without the batch."""
        return tile_shape(self.side_px, self.channels)

    @property
    def cells(self) -> int:
        """Of the map, along one side."""
        return self.tile_px // PX_PER_CELL

    @property
    def zone(self) -> int:
        """Depth of the zone along a side, cells."""
        return min(ZONE_CELLS, self.cells // 3)


def grey(pixels: Tensor) -> Tensor:
    """Pixels [N, channels, S, S] to their mean over the channels, [N, 1, S, S]."""
    # A runtime doesn't see that the mean of a single channel is that channel, and goes through all pixels for it.
    return pixels if pixels.shape[1] == 1 else pixels.mean(1, keepdim=True)


def means_above(pixels: Tensor, side: int) -> Tensor:
    """Pixels [N, channels, S, S] to means of side x side above MIDDLE_GREY: [N, channels, S / side, S / side].

    So small a number leaves low precision room behind the point, and a whole one is exact in all of them. What a tile
    itself has in the middle would be smaller still, but taking that off goes through all pixels twice.
    """
    above = pixels - MIDDLE_GREY
    return above if side == 1 else block_means(above, side)


def greys_above(pixels: Tensor, side: int) -> Tensor:
    """The grey of ``means_above``, [N, 1, S / side, S / side]."""
    return grey(means_above(pixels, side))


def cells_above(pixels: Tensor, side: int) -> Tensor:
    """The mean of ``greys_above`` of every cell, margins and all: [N, 1, S / 4, S / 4]."""
    return block_means(greys_above(pixels, side), PX_PER_CELL // side)


def block_means(pixels: Tensor, side: int) -> Tensor:
    """The mean of every block of side x side pixels: [N, channels, S, S] to [N, channels, S / side, S / side]."""
    # Along one axis and then the other: a runtime pads the single channel of a pool or a bilinear resize to 8 or 16,
    # and takes two to four times as long.
    return row_means(column_means(pixels, side), side)


def row_means(pixels: Tensor, count: int) -> Tensor:
    """The mean of every ``count`` rows: [N, channels, rows, columns] to [N, channels, rows / count, columns]."""
    images, channels, rows, columns = pixels.shape
    return pixels.reshape(images, channels, rows // count, count, columns).mean(3)


def column_means(pixels: Tensor, count: int) -> Tensor:
    """The mean of every ``count`` columns: [N, channels, rows, columns] to [N, channels, rows, columns / count]."""
    # As a product, of a stretch of columns at a time: a runtime takes four times as long for means of neighbours.
    images, channels, rows, columns = pixels.shape
    means = columns // count
    stretch = math.gcd(means, MEANS_AT_ONCE)
    averaging = torch.eye(stretch).repeat_interleave(count, 0) / count
    parts = pixels.reshape(images, channels, -1, stretch * count) @ averaging
    return parts.reshape(images, channels, rows, means)


def gaussian(at: Tensor, sigma: float) -> Tensor:
    """Weights at some places, [n], of sum 1; [k, n]: of sum 1 in each row."""
    weights = torch.exp(-0.5 * (at.float() / sigma) ** 2)
    return weights / weights.sum(-1, keepdim=True)


def around(maps: Tensor, shape: Shape, rows: int, columns: int) -> Tensor:
    """Keep what a filter reaches for: the interior and so many cells beyond it, real ones as far as the margin goes.

    Maps over a tile with its margins, [N, L, S, S], to [N, L, cells + 2 * rows, cells + 2 * columns].
    """
    margin, cells = shape.margin_px // PX_PER_CELL, shape.cells
    down, across = min(margin, rows), min(margin, columns)
    kept = maps[:, :, margin - down : margin + cells + down, margin - across : margin + cells + across]
    return F.pad(kept, (columns - across, columns - across, rows - down, rows - down), mode="replicate")


def coarse_line(inputs: int, px_each: int) -> Tensor:
    """Gaussians of COARSE_SIGMA_PX every COARSE_PX along a line of ``inputs`` values, of so many px each, as a matrix.

    [inputs * px_each / COARSE_PX, inputs]; beyond the line there is nothing.
    """
    at = (torch.arange(inputs) + 0.5) * px_each
    middles = (torch.arange(inputs * px_each // COARSE_PX) + 0.5) * COARSE_PX
    return gaussian(at - middles[:, None], COARSE_SIGMA_PX)


def smoothing_coarse(sigma_px: float, shape: Shape) -> Tensor:
    """``smoothing_line`` of a wide Gaussian behind ``coarse_line``, as a matrix: [cells, S / COARSE_PX].

    Two products with few values between them take a runtime a fraction of the time of one with many. Variances of
    Gaussians one behind the other add up, so this one is the narrower for what ``coarse_line`` did.
    """
    count = shape.side_px // COARSE_PX
    reach = math.ceil(3 * sigma_px / COARSE_PX)
    cells = shape.margin_px + (torch.arange(shape.cells) + 0.5) * PX_PER_CELL
    places = torch.arange(-reach, count + reach)
    left = math.sqrt(sigma_px**2 - COARSE_SIGMA_PX**2)
    weights = gaussian(cells[:, None] - (places + 0.5) * COARSE_PX, left)
    return torch.zeros(shape.cells, count).index_add(1, places.clamp(0, count - 1), weights)


def line_filter(weights: Tensor, first: int, outputs: int, step: int, inputs: int) -> Tensor:
    """A filter along a line of ``inputs`` values as a matrix, [outputs, inputs]; the outermost value goes on beyond.

    Output ``k`` is the sum of ``weights`` times the values from ``first + k * step`` on.
    """
    matrix = torch.zeros(outputs, inputs)
    for place, weight in enumerate(weights.tolist()):
        for output in range(outputs):
            matrix[output, min(max(first + output * step + place, 0), inputs - 1)] += weight
    return matrix


class Separable(nn.Module):
    """A filter of rows times one of columns over single maps, as two matrix products.

    Runtimes lay out the channels of a convolution by eights, of which a single map fills one: as products the same
    filters take a fraction of the time.

    Args:
        down: [rows out, rows in].
        across: [columns out, columns in].
    """

    down: Tensor
    across: Tensor

    def __init__(self, down: Tensor, across: Tensor) -> None:
        super().__init__()
        self.register_buffer("down", down)
        self.register_buffer("across", across.T.contiguous())

    def forward(self, maps: Tensor) -> Tensor:
        """[N, L, rows in, columns in] to [N, L, rows out, columns out]."""
        return self.down @ (maps @ self.across)


class Smoothing(Separable):
    """2-D Gaussian over cells that uses real neighbours as far as the margin goes; beyond, the outermost cell goes on.

    Maps over a tile with its margins, [N, L, cells, cells], to those of its interior. Coarser maps are brought to
    cells first, bilinearly; both are linear, so both are in the same two products.

    Args:
        sigma_px: of the Gaussian, pixels of the tile.
        shape: of the tiles.
        stride: px of the tile per cell of the maps that it is given.
    """

    def __init__(self, sigma_px: float, shape: Shape, stride: int = PX_PER_CELL) -> None:
        line = smoothing_line(sigma_px, shape) @ to_cells(shape, stride)
        super().__init__(line, line)


def to_cells(shape: Shape, stride: int) -> Tensor:
    """Bilinear interpolation along a tile with its margins as a matrix, [cells, S / stride]."""
    given = torch.eye(shape.side_px // stride)
    size = shape.side_px // PX_PER_CELL
    return F.interpolate(given[None], size=size, mode="linear", align_corners=False)[0].T


def smoothing_line(sigma_px: float, shape: Shape) -> Tensor:
    """A Gaussian along a tile with its margins, in cells, as a matrix: [cells, S]."""
    radius = math.ceil(3 * sigma_px / PX_PER_CELL)
    weights = gaussian(torch.arange(-radius, radius + 1) * PX_PER_CELL, sigma_px)
    first = shape.margin_px // PX_PER_CELL - radius
    return line_filter(weights, first, shape.cells, 1, shape.side_px // PX_PER_CELL)
