"""All limits of a line from the maps of its good images: zones, cells, windows. Nothing here opens a file.

The rate of false alarms asked for is shared out: WIDE_SHARE of it to each shape of window, the rest to the cells.
What exceeds one limit seldom exceeds another, so that the shares add up to the rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspector.calibrating.blocks import block_peaks, blocks_per_100m
from inspector.calibrating.differing import raised
from inspector.calibrating.tail import FoundLimit, find_limit
from inspector.calibrating.wide import FoundWide, find_wide, fitting, unfitting
from inspector.calibrating.zoning import find_zones
from inspector.judging import zone_factors
from inspector.records import F32, Grid, Zone

WIDE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class GoodMap:
    """What the engine saw of one good image."""

    cells: F32  # [rows, columns] sigma, finite
    left_px: int  # column of the camera at which they begin


@dataclass(frozen=True, slots=True)
class FoundLevels:
    """What good web says about all limits of a line."""

    zones: tuple[Zone, ...]
    cells: FoundLimit  # in sigma, of blocks
    block_rate: float  # of false alarms, for the cells
    wide: tuple[FoundWide, ...]  # of every shape; the last those that fit into no image
    levelled: tuple[F32, ...]  # the maps, divided by their zones' factors

    @property
    def suspects(self) -> tuple[int, ...]:
        """Places of all images that don't count for one limit or the other, each once."""
        return tuple(dict.fromkeys((*self.cells.suspects, *(place for place, _ in self.wide_suspects))))

    @property
    def wide_suspects(self) -> tuple[tuple[int, str], ...]:
        """Places of images that stand out by a window, and its name."""
        kept = [place for place in range(len(self.levelled)) if place not in self.cells.suspects]
        return tuple(
            (kept[place], one.window.name) for one in self.wide if one.found for place in one.found.suspects
        )


def find_levels(
    maps: Sequence[GoodMap],
    region_mm: tuple[float, float],
    grid: Grid,
    mm_per_px: float,
    false_alarms_per_100m: float,
) -> FoundLevels:
    """Find a line's limits.

    Args:
        maps: one a good image.
        region_mm: edges of the judged web, from the camera's first column.
        grid: how tiles lie.
        mm_per_px: of the camera's picture.
        false_alarms_per_100m: asked for.

    Raises:
        ValueError: the highest scores are all equal.
    """
    cell = grid.px_per_cell
    lefts = [one.left_px for one in maps]
    zones = find_zones([one.cells for one in maps], lefts, region_mm, grid.tile_px, cell, mm_per_px)
    levelled = tuple(one.cells for one in maps)
    if zones:
        levelled = tuple(
            one.cells / zone_factors(zones, one.cells.shape[1], cell, one.left_px, mm_per_px) for one in maps
        )
    width_px = round((region_mm[1] - region_mm[0]) / mm_per_px)
    windows = fitting(levelled, cell)
    share = 1 - WIDE_SHARE * len(windows)
    block_rate = false_alarms_per_100m * share / blocks_per_100m(width_px, mm_per_px)
    peaks = [block_peaks(one, cell).ravel() for one in levelled]
    cells = raised(find_limit(peaks, block_rate), peaks, block_rate)
    kept = [one for place, one in enumerate(levelled) if place not in cells.suspects]
    wide = tuple(
        find_wide(
            one,
            kept,
            cell,
            cells.limit,
            false_alarms_per_100m * WIDE_SHARE / blocks_per_100m(width_px, mm_per_px, *one.block_px),
            images_differ=cells.spread > 0,
        )
        for one in windows
    )
    return FoundLevels(zones, cells, block_rate, (*wide, *unfitting(levelled, cell)), levelled)


def highest_px(cells: F32, left_px: int, top_px: int, px_per_cell: int) -> tuple[float, float]:
    """Return the middle of the highest cell of a map: (x, y) in its image."""
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    return left_px + (float(column) + 0.5) * px_per_cell, top_px + (float(row) + 0.5) * px_per_cell
