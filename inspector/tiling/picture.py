"""The grid drawn into a frame, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from inspector.config import Line
from inspector.records import U8, Grid, Region
from inspector.tiling.grid import starts

LONGEST_PX = 1600  # of the drawn frame; text stays readable on a screen
LEGEND_PX = 34
FONT = cv2.FONT_HERSHEY_SIMPLEX

# RGB
TILE = (86, 204, 242)
OVERLAP = (242, 169, 59)
MARGIN = (255, 92, 168)
REGION = (94, 220, 130)
LANE = (255, 255, 255)
PAPER = (24, 26, 30)


def draw_grid(
    pixels: U8,
    grid: Grid,
    line: Line,
    region: Region,
    lane_edges_mm: Sequence[float],
) -> U8:
    """Return a picture of a frame, its region, tiles, overlaps and lanes, and one tile's margin.

    Args:
        pixels: [H, W] or [H, W, 3] uint8, RGB.
        grid: how tiles lie.
        line: the line's config.
        region: from ``region_finder``.
        lane_edges_mm: from ``judging.lane_edges_mm``.

    Returns:
        RGB uint8 [h, w, 3], at most 1600 px wide, with a legend below.
    """
    mm_per_px = line.web.mm_per_px
    scale = min(1.0, LONGEST_PX / max(pixels.shape[:2]))
    size = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    canvas = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if canvas.ndim == 2:
        canvas = cv2.cvtColor(canvas, cv2.COLOR_GRAY2RGB)
    picture = _Picture(np.asarray(canvas, np.uint8), scale, region)
    lefts = starts(grid, region.width_px)
    tops = _tops(grid, region.height_px, seamless=line.web.seamless)
    picture.shade_outside()
    picture.tint_overlaps(grid, tops, lefts)
    for top in tops:
        for left in lefts:
            picture.box(left, top, grid.tile_px, TILE, 1)
    middle = tops[(len(tops) - 1) // 2], lefts[len(lefts) // 2]
    picture.box(middle[1], middle[0], grid.tile_px, TILE, 2)
    picture.box(middle[1] - grid.margin_px, middle[0] - grid.margin_px, grid.side_px, MARGIN, 2)
    picture.outline_region()
    picture.lanes([edge / mm_per_px for edge in lane_edges_mm])
    mm = [f"{px * mm_per_px:.4g} mm" for px in (grid.tile_px, grid.overlap_px, grid.margin_px)]
    legend = [
        (TILE, f"tile {mm[0]} = {grid.tile_px} px"),
        (OVERLAP, f"overlap {mm[1]}"),
        (MARGIN, f"margin {mm[2]}, seen but not judged"),
        (REGION, f"region {region.width_px * mm_per_px:.4g} mm, {len(lefts)} tiles across"),
    ]
    return np.vstack([picture.canvas, _legend(legend, picture.canvas.shape[1])])


def _tops(grid: Grid, height_px: int, *, seamless: bool) -> list[int]:
    """Tile rows of a piece's first frame; a seamless web's last one may reach into the next frame."""
    return list(range(0, height_px, grid.stride_px)) if seamless else starts(grid, height_px)


class _Picture:
    """A canvas with positions in px of the region."""

    def __init__(self, canvas: U8, scale: float, region: Region) -> None:
        self.canvas = canvas
        self._scale = scale
        self._region = region

    def box(self, left: int, top: int, side: int, colour: tuple[int, int, int], thick: int) -> None:
        """Outline a square."""
        cv2.rectangle(
            self.canvas, self._at(left, top), self._at(left + side, top + side), colour, thick, cv2.LINE_AA
        )

    def tint_overlaps(self, grid: Grid, tops: list[int], lefts: list[int]) -> None:
        """Colour what lies in more than one tile's interior."""
        height, width = self.canvas.shape[:2]
        rows, columns = np.zeros(height, np.uint8), np.zeros(width, np.uint8)
        for top in tops:
            rows[self._at(0, top)[1] : self._at(0, top + grid.tile_px)[1]] += 1
        for left in lefts:
            columns[self._at(left, 0)[0] : self._at(left + grid.tile_px, 0)[0]] += 1
        covered = (rows[:, None] > 0) & (columns > 0)
        inside = covered & ((rows[:, None] > 1) | (columns > 1))
        inside[self._at(0, self._region.height_px)[1] :] = False
        self.canvas[inside] = (0.68 * self.canvas[inside] + 0.32 * np.array(OVERLAP)).astype(np.uint8)

    def shade_outside(self) -> None:
        """Darken what is not judged."""
        (left, top), (right, bottom) = self._at(0, 0), self._at(self._region.width_px, self._region.height_px)
        inside = self.canvas[top:bottom, left:right].copy()
        self.canvas //= 3
        self.canvas[top:bottom, left:right] = inside

    def outline_region(self) -> None:
        """Outline what is judged."""
        right, bottom = self._at(self._region.width_px, self._region.height_px)
        cv2.rectangle(self.canvas, self._at(0, 0), (right - 1, bottom - 1), REGION, 2)

    def lanes(self, edges_px: list[float]) -> None:
        """Draw the edges between lanes and name each lane; positions from the frame's first column."""
        bottom = self.canvas.shape[0]
        for edge in edges_px[1:-1]:
            column = round(edge * self._scale)
            cv2.line(self.canvas, (column, 0), (column, bottom), LANE, 2)
        for lane in range(len(edges_px) - 1):
            middle = round((edges_px[lane] + edges_px[lane + 1]) / 2 * self._scale)
            _label(self.canvas, f"lane {lane}", middle, 24)

    def _at(self, column_px: int, row_px: int) -> tuple[int, int]:
        return (
            round((self._region.left_px + column_px) * self._scale),
            round((self._region.top_px + row_px) * self._scale),
        )


def _label(canvas: U8, text: str, middle: int, baseline: int) -> None:
    (width, height), _ = cv2.getTextSize(text, FONT, 0.6, 1)
    left = middle - width // 2
    cv2.rectangle(canvas, (left - 6, baseline - height - 6), (left + width + 6, baseline + 6), PAPER, -1)
    cv2.putText(canvas, text, (left, baseline), FONT, 0.6, LANE, 1, cv2.LINE_AA)


def _legend(entries: list[tuple[tuple[int, int, int], str]], width_px: int) -> U8:
    """A bar of swatches and words, in as many lines as the width wants."""
    bars, bar, left = [], np.full((LEGEND_PX, width_px, 3), PAPER, np.uint8), 12
    for colour, text in entries:
        (wide, _), _ = cv2.getTextSize(text, FONT, 0.5, 1)
        if left > 12 and left + 24 + wide > width_px:
            bars.append(bar)
            bar, left = np.full((LEGEND_PX, width_px, 3), PAPER, np.uint8), 12
        cv2.rectangle(bar, (left, 11), (left + 14, 23), colour, -1)
        cv2.putText(bar, text, (left + 22, 22), FONT, 0.5, (225, 228, 232), 1, cv2.LINE_AA)
        left += wide + 52
    return np.vstack([*bars, bar])
