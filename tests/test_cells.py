"""What cells are made of: means over blocks, and layers brought to cells and blurred."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inspector.learning.cells import Shape, Smoothing, block_means, column_means, gaussian, row_means

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


def test_means_of_blocks_are_those_of_a_pool_by_rows_and_columns() -> None:
    pixels = noise(2, 3, 32, 32)
    torch.testing.assert_close(block_means(pixels, 4), F.avg_pool2d(pixels, 4))
    torch.testing.assert_close(row_means(pixels, 4), F.avg_pool2d(pixels, (4, 1)))
    torch.testing.assert_close(column_means(pixels, 4), F.avg_pool2d(pixels, (1, 4)))
