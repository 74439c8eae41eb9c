"""What cells are made of: means over blocks, and layers brought to cells and blurred."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inspector.learning.cells import (
    Shape,
    Smoothing,
    block_means,
    coarse_line,
    column_means,
    gaussian,
    row_means,
    smoothing_coarse,
    smoothing_line,
)

SHAPE = Shape(96, 32, 1)
SIGMA_PX = 8.0
RADIUS = 6  # cells: three sigmas


def noise(*size: int) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
@pytest.mark.parametrize("margin_px", [32, 0])
def test_a_layer_is_brought_to_cells_bilinearly_and_blurred_with_its_real_neighbours(
    stride: int, margin_px: int
) -> None:
    shape = Shape(SHAPE.tile_px, margin_px, 1)
    layer = noise(2, 3, shape.side_px // stride, shape.side_px // stride)
    cells = F.interpolate(layer, size=(shape.side_px // 4,) * 2, mode="bilinear", align_corners=False)
    line = gaussian(torch.arange(-RADIUS, RADIUS + 1) * 4, SIGMA_PX)
    seen = F.pad(cells, (RADIUS,) * 4, mode="replicate")
    blurred = F.conv2d(seen, torch.outer(line, line)[None, None].expand(3, 1, -1, -1), groups=3)
    inner = slice(margin_px // 4, margin_px // 4 + shape.cells)
    torch.testing.assert_close(Smoothing(SIGMA_PX, shape, stride)(layer), blurred[:, :, inner, inner])


@pytest.mark.parametrize("side", [32, 40, 320])  # columns by 16 at once, by fewer, and more than once
def test_means_of_blocks_are_those_of_a_pool_by_rows_and_columns(side: int) -> None:
    pixels = noise(2, 3, side, side)
    torch.testing.assert_close(block_means(pixels, 4), F.avg_pool2d(pixels, 4))
    torch.testing.assert_close(row_means(pixels, 4), F.avg_pool2d(pixels, (4, 1)))
    torch.testing.assert_close(column_means(pixels, 4), F.avg_pool2d(pixels, (1, 4)))


@pytest.mark.parametrize("sigma_px", [16.0, 24.0, 48.0])
@pytest.mark.parametrize("px_each", [1, 2, 4])
def test_a_wide_filter_in_two_is_that_filter(sigma_px: float, px_each: int) -> None:
    shape = Shape(512, 32, 1)
    whole = smoothing_line(sigma_px, shape).repeat_interleave(4 // px_each, 1) * px_each / 4
    in_two = smoothing_coarse(sigma_px, shape) @ coarse_line(shape.side_px // px_each, px_each)
    torch.testing.assert_close(
        in_two.sum(1), torch.ones(shape.cells)
    )  # an even web stays as it is, at the sides too
    inner = slice(
        shape.cells // 3, -shape.cells // 3
    )  # at the sides the whole one goes on with a single value
    off = (in_two - whole)[inner].abs().sum(1).max()
    assert float(off) < 0.08, "cells' own corners and what is cut off at three sigmas; of 1 in all"


def test_a_weave_does_not_beat_with_the_places_that_a_wide_filter_starts_from() -> None:
    shape, at = Shape(512, 32, 1), torch.arange(576)
    both = smoothing_coarse(24.0, shape) @ coarse_line(shape.side_px, 1)
    for period_px in (4.1, 7.7, 14.5, 15.3, 16.0, 16.6, 18.0, 20.0, 24.0):
        weave = torch.sin(2 * torch.pi * at / period_px)
        assert float((both @ weave)[32:-32].abs().max()) < 0.005
