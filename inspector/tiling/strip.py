"""The strip: which rows of the web each trigger decides, and the tiles that decide them.

In seamless mode frames are joined to pieces of web without a break, and the grid is the piece's: tile
row k has its interior at rows [k * stride, k * stride + tile), wherever frames begin and end
(docs/decisions/0001). Otherwise every frame is a piece of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from inspector.config import Line
from inspector.interfaces import CameraInfo
from inspector.records import U8, Acquired, Frame, Grid, LostFrame, Reason, Region, Stamp, Strip, TileBatch
from inspector.tiling.grid import (
    WHOLE_SHARE,
    check_columns,
    check_frame_size,
    cut,
    cut_region,
    least_rows,
    origins,
    starts,
)
from inspector.tiling.region import fixed_columns, region_finder

NO_WEB = "no web in view"


def least_width_px(line: Line, calibrated_mm: tuple[float, float] | None) -> int:
    """How much of the web's width an image of its own must show, px: most of what limits were set on; 0 without.

    ``calibrated_mm``: left and right edge of the web when limits were set.
    """
    if line.web.seamless or line.region.kind == "fixed" or calibrated_mm is None:
        return 0
    return math.floor(WHOLE_SHARE * (calibrated_mm[1] - calibrated_mm[0]) / line.web.mm_per_px)


def too_narrow(width_px: int, least_px: int) -> str:
    """A sentence's middle, for what is less than ``least_width_px``."""
    return (
        f"only {width_px} px of the web's width in view, less than the {least_px} px that are {WHOLE_SHARE:.0%} of "
        "what limits were set on"
    )


@dataclass(slots=True)
class _Piece:
    """An unbroken run of rows, as far as it is still needed. Rows count from the piece's first."""

    number: int
    region: Region  # its columns
    frame_shape: tuple[int, ...]  # width, and channels if any
    rows: int = 0  # seen so far
    next_tile_row: int = 0
    kept: list[U8] = field(default_factory=list)  # views of frames that the next tile row reaches into
    kept_from: int = 0  # first row of the first of them
    encoder: int = 0  # counts at row ``rows``


class Tiler:
    """Turns triggers, in order, into strips; every encoder count is decided by exactly one of them.

    Args:
        grid: how tiles lie.
        locate: where the web is in a frame (``region_finder``). Seamless asks until it is told, then keeps
            the columns for the run.
        seamless: whether frames join without a gap.
        least_width_px: where less web is seen across, the image is not inspected: what lies beside would be in no
            verdict. For images of their own; a seamless web's columns are those of its limits.
    """

    def __init__(
        self,
        grid: Grid,
        locate: Callable[[U8], Region | None],
        *,
        seamless: bool,
        least_width_px: int = 0,
    ) -> None:
        self._grid = grid
        self._locate = locate
        self._seamless = seamless
        self._least_width_px = least_width_px
        self._numbers = itertools.count()
        self._region: Region | None = None  # seamless: fixed once found
        self._piece: _Piece | None = None
        self._last: Stamp | None = None
        self._decided = 0  # encoder counts up to which strips were given

    @classmethod
    def for_line(
        cls, grid: Grid, line: Line, camera: CameraInfo, calibrated_mm: tuple[float, float] | None
    ) -> Tiler:
        """Return a line's tiler; raises ConfigError when its frames or its region can't be tiled.

        Args:
            grid: from ``grid_for``.
            line: the line's config.
            camera: as opened, with its frames' size.
            calibrated_mm: left and right edge of the web when limits were set; what ``auto`` takes for a
                seamless web, where the columns must stay those that the limit was set on. Images of their
                own may lie elsewhere, but must show as much of the web's width.
        """
        seamless = line.web.seamless
        check_frame_size(grid, camera.height_px, camera.width_px, seamless=seamless)
        columns = None
        if line.region.kind == "fixed":
            columns = line.region.left_mm, line.region.right_mm
        elif line.region.kind == "auto" and seamless:
            columns = calibrated_mm
        if columns is None:
            least_px = least_width_px(line, calibrated_mm)
            return cls(grid, region_finder(line), seamless=seamless, least_width_px=least_px)
        left, right = (round(edge / line.web.mm_per_px) for edge in columns)
        check_columns(grid, left, right, camera.width_px)
        return cls(grid, fixed_columns(left, right), seamless=seamless)

    def push(self, item: Acquired) -> list[Strip]:
        """Return what this trigger decides: one strip, and more where there is no trigger or no web.

        A strip without a batch says why, and is NOT_INSPECTED. Besides the trigger's own there may be one
        before it for a hole in the encoder counts which no trigger covers; and, where frames are pieces of
        their own, one for the rows before the web begins and one for those after it ends.
        """
        decided = self._decided
        try:
            strips = [*self._hole_before(item.stamp), *self._decide(item)]
        except BaseException:
            self._decided = decided  # whoever pushes the trigger again, as a lost one, leaves no hole
            raise
        self._last = item.stamp
        return strips

    def finish(self, why: str = "the web ended") -> list[Strip]:
        """Return the rows that wait for a next frame when there is none: not inspected, because ``why``."""
        if self._last is None or self._decided >= self._last.encoder_end:
            return []
        return [self._skip(self._last, Reason.STATE, f"{why} before this row of tiles was complete")]

    def _decide(self, item: Acquired) -> list[Strip]:
        if isinstance(item, LostFrame):
            return [self._skip(item.stamp, item.reason, item.detail)]
        unfit = self._unfit(item)
        if unfit is not None:
            return [self._skip(item.stamp, *unfit)]
        return self._join(item) if self._seamless else self._alone(item)

    def _hole_before(self, stamp: Stamp) -> list[Strip]:
        if self._last is None:
            self._decided = stamp.encoder_start
            return []
        missing = stamp.encoder_start - self._last.encoder_end
        if missing == 0:
            return []
        self._piece = None  # whatever comes is no neighbour of what was
        if stamp.encoder_start <= self._decided:
            return []
        detail = f"the encoder jumped by {missing} counts between two frames"
        return [self._skip(stamp, Reason.FRAME_LOST, detail, until=stamp.encoder_start)]

    def _skip(self, stamp: Stamp, reason: Reason, detail: str, until: int | None = None) -> Strip:
        """Decide everything still open up to ``until`` (the trigger's end) without a look; the piece ends."""
        self._piece = None
        start = self._decided
        self._decided = max(start, stamp.encoder_end if until is None else until)
        return Strip(stamp, start, self._decided, region=self._region, reason=reason, detail=detail)

    def _unfit(self, frame: Frame) -> tuple[Reason, str] | None:
        """Why a frame that did arrive can't be tiled."""
        height, width = frame.pixels.shape[:2]
        stamp = frame.stamp
        if stamp.encoder_start < self._decided or stamp.encoder_end < stamp.encoder_start:
            return Reason.FRAME_LOST, f"the encoder ran back to {stamp.encoder_start} counts"
        least = least_rows(self._grid, seamless=self._seamless)
        if height < least or width < self._grid.tile_px:
            size = f"{self._grid.tile_px} x {least}"
            return Reason.FRAME_INCOMPLETE, f"the image is {width} x {height} px, less than {size} px"
        if self._piece is not None and frame.pixels.shape[1:] != self._piece.frame_shape:
            return Reason.FRAME_INCOMPLETE, f"the image is {width} px wide, not as wide as those before"
        return None

    def _find(self, pixels: U8) -> tuple[Region | None, Reason, str]:
        """Where the web is, or why there is none to look at."""
        region = self._region or self._locate(pixels)
        if region is None:
            return None, Reason.STATE, NO_WEB
        if region.right_px > pixels.shape[1]:
            detail = f"the image is {pixels.shape[1]} px wide, the region reaches to {region.right_px} px"
            return None, Reason.FRAME_INCOMPLETE, detail
        least_height = 0 if self._seamless else self._grid.tile_px
        if region.width_px < self._grid.tile_px or region.height_px < least_height:
            detail = f"only {region.width_px} x {region.height_px} px of web in view, less than a tile"
            return None, Reason.STATE, detail
        if region.width_px < self._least_width_px:
            return None, Reason.STATE, too_narrow(region.width_px, self._least_width_px)
        return region, Reason.NONE, ""

    def _alone(self, frame: Frame) -> list[Strip]:
        """A frame that is a piece of its own; rows without web before and after are strips of their own."""
        region, reason, detail = self._find(frame.pixels)
        if region is None:
            return [self._skip(frame.stamp, reason, detail)]
        strips = []
        stamp, height = frame.stamp, frame.pixels.shape[0]
        begin, end = (_encoder_at(stamp, row, height) for row in (region.top_px, region.bottom_px))
        if region.top_px:
            strips.append(self._skip(stamp, Reason.STATE, NO_WEB, until=begin))
        tiles, places = cut_region(self._grid, frame.pixels, region)
        cells = self._grid.cells(region.height_px), self._grid.cells(region.width_px)
        strips.append(
            Strip(
                stamp,
                begin,
                end,
                TileBatch(stamp, tiles, places, self._grid.margin_px),
                region,
                piece=next(self._numbers),
                decided_px=cells[0] * self._grid.px_per_cell,
                canvas_cells=cells,
                row_marks=((0, begin), (region.height_px, end)),
            )
        )
        self._decided = end
        if region.bottom_px < height:
            strips.append(self._skip(stamp, Reason.STATE, NO_WEB))
        return strips

    def _join(self, frame: Frame) -> list[Strip]:
        """A frame of a seamless web: the tile rows that its rows complete."""
        stamp, height = frame.stamp, frame.pixels.shape[0]
        piece = self._piece
        if piece is None:
            region, reason, detail = self._find(frame.pixels)
            if region is None:
                return [self._skip(stamp, reason, detail)]
            self._region = region
            piece = _Piece(next(self._numbers), region, frame.pixels.shape[1:], encoder=stamp.encoder_start)
        grid = self._grid
        piece.kept.append(frame.pixels[:, piece.region.left_px : piece.region.right_px])
        first_row = piece.next_tile_row * grid.stride_px
        seen = piece.rows + height
        tile_rows = (seen - grid.margin_px - grid.tile_px) // grid.stride_px + 1 - piece.next_tile_row
        decided_px = tile_rows * grid.stride_px
        tops = [row * grid.stride_px for row in range(tile_rows)]
        lefts = starts(grid, piece.region.width_px)
        tiles = cut(grid, piece.kept, [first_row - piece.kept_from + top for top in tops], lefts)
        end = _encoder_at(stamp, first_row + decided_px - piece.rows, height)
        marks = (
            (0, self._decided),
            (piece.rows - first_row, piece.encoder),
            (seen - first_row, stamp.encoder_end),
        )
        strip = Strip(
            stamp,
            self._decided,
            end,
            TileBatch(stamp, tiles, origins(tops, lefts), grid.margin_px),
            piece.region,
            piece.number,
            first_row,
            decided_px,
            joins_next=True,
            canvas_cells=(grid.cells(decided_px + grid.overlap_px), grid.cells(piece.region.width_px)),
            row_marks=marks if piece.rows > first_row else marks[1:],
        )
        piece.rows, piece.encoder = seen, stamp.encoder_end
        piece.next_tile_row += tile_rows
        while piece.kept and piece.kept_from + len(piece.kept[0]) <= first_row + decided_px - grid.margin_px:
            piece.kept_from += len(piece.kept.pop(0))
        self._piece, self._decided = piece, end
        return [strip]


def _encoder_at(stamp: Stamp, row: int, height: int) -> int:
    """Encoder counts at a frame's row, linear and rounded down."""
    return stamp.encoder_start + row * (stamp.encoder_end - stamp.encoder_start) // height
