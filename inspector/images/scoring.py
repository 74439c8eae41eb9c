"""Images through an engine: tiles cut as the line cuts them, scored as the line scores them.

Knows backends and the grid; knows nothing of truth, nor where limits come from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from inspector.backends.engine import NO_STAMP, score_loose
from inspector.errors import ArtefactError, DataError
from inspector.images.reading import Image, ImageFile, read_images
from inspector.interfaces import Backend
from inspector.judging import levelled_alone, stitch
from inspector.records import F32, I32, U8, Grid, Levels, Region, TileBatch
from inspector.tiling import cut_region

BATCH = 16  # tiles at a time; bounds memory on large images


@dataclass(frozen=True, slots=True)
class Scored:
    """What the engine saw in one image."""

    region: Region  # that was looked at
    tile_scores: F32  # [N], sigma
    map_peaks: F32  # [N], highest of the judged cells of each tile: what a limit is held against
    origins_px: I32  # [N, 2] (row, col) of the interiors, from the region's corner
    cells: F32  # [rows, columns] over the region, highest score where tiles overlap
    judged: F32  # the same cells as a line's limits see them (``judging.levelled``); without a line they are the cells
    seconds: float  # in the engine

    def levelled(self, levels: Levels, grid: Grid, mm_per_px: float) -> Scored:
        """Return the same as a line's limits see it, the image being a piece of web of its own."""
        judged = levelled_alone(levels, self.cells, grid.px_per_cell, self.region.left_px, mm_per_px)
        side = grid.tile_px // grid.px_per_cell
        corners = self.origins_px // grid.px_per_cell
        peaks = [judged[row : row + side, column : column + side].max() for row, column in corners]
        return replace(self, judged=judged, map_peaks=np.array(peaks, np.float32))

    def pixel_scores(self, px_per_cell: int) -> F32:
        """The cells drawn out to pixels, bilinear: float32 [region height, region width]."""
        rows, columns = self.cells.shape
        size = (columns * px_per_cell, rows * px_per_cell)
        drawn = cv2.resize(self.cells, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(drawn[: self.region.height_px, : self.region.width_px], np.float32)

    def pixel_cells(self, px_per_cell: int) -> F32:
        """The judged cells as squares of pixels, each at its own score: float32 [region height, region width]."""
        drawn = self.judged.repeat(px_per_cell, axis=0).repeat(px_per_cell, axis=1)
        return drawn[: self.region.height_px, : self.region.width_px]


def read_for(file: ImageFile, channels: int) -> Image:
    """Read one image of a recipe's channels. Raises DataError."""
    return read_images([file], channels)[0]


def warm_up(backend: Backend) -> None:
    """Run one blank batch, so that what a runtime does once isn't timed as the speed of scoring."""
    score_loose(backend, np.zeros((BATCH, *backend.info.tile_shape), np.uint8))


def score_image(backend: Backend, grid: Grid, path: Path, pixels: U8, region: Region) -> Scored:
    """Score a region of an image as a piece of web of its own.

    Args:
        backend: an open engine.
        grid: how tiles lie; of the engine's tile size.
        path: of the image, for complaints.
        pixels: uint8 [H, W] or [H, W, 3] RGB.
        region: part of ``pixels``.

    Raises:
        DataError: the region is smaller than a tile.
        ArtefactError: a score is not a finite number.
    """
    if min(region.width_px, region.height_px) < grid.tile_px:
        raise DataError(
            f"{path}: {region.width_px}x{region.height_px} px of web, less than a tile of {grid.tile_px} px; "
            f"leave the image out, widen the region, or evaluate with --resize {grid.tile_px}"
        )
    tiles, origins = cut_region(grid, pixels, region)
    maps, scores, seconds = [], [], 0.0
    for start in range(0, len(tiles), BATCH):
        part = slice(start, start + BATCH)
        began = time.perf_counter()
        seen = backend.infer(TileBatch(NO_STAMP, tiles[part], origins[part], grid.margin_px))
        seconds += time.perf_counter() - began
        maps.append(seen.scores)
        scores.append(seen.tile_scores)
    tile_maps, tile_scores = np.concatenate(maps), np.concatenate(scores)
    if not (np.isfinite(tile_maps).all() and np.isfinite(tile_scores).all()):
        raise ArtefactError(f"{path}: recipe {backend.info.recipe} scores NaN or infinity; train it again")
    shape = (grid.cells(region.height_px), grid.cells(region.width_px))
    cells = stitch(tile_maps, origins, grid.px_per_cell, shape)
    return Scored(region, tile_scores, tile_maps.max(axis=(1, 2)), origins, cells, cells, seconds)
