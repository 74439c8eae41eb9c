"""The nouns that walk the corridor: frozen, units in the names, shapes in the comments.

Axes: ``x`` runs across the web from the camera's first column, ``y`` along it; a row is one line of
the web, row 0 the first seen. Time is monotonic microseconds (UTC only on the wire). An encoder
interval is half-open: ``[encoder_start, encoder_end)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

U8: TypeAlias = npt.NDArray[np.uint8]
F32: TypeAlias = npt.NDArray[np.float32]
F64: TypeAlias = npt.NDArray[np.float64]
I32: TypeAlias = npt.NDArray[np.int32]


def tile_shape(side_px: int, channels: int) -> tuple[int, ...]:
    """Of a tile's pixels, margins and all: (side, side) in grey, (side, side, 3) in colour."""
    return (side_px, side_px) if channels == 1 else (side_px, side_px, channels)


class Outcome(StrEnum):
    """What a verdict says. Anything but PASS is a reject for the receiver."""

    PASS = "PASS"
    FAIL = "FAIL"
    NOT_INSPECTED = "NOT_INSPECTED"


class Reason(StrEnum):
    """Why a verdict is not PASS (docs/wire.md explains each)."""

    NONE = ""
    SCORE = "score"
    DEFECT_SIZE = "defect_size"
    FRAME_LOST = "frame_lost"
    FRAME_INCOMPLETE = "frame_incomplete"
    LATE = "late"
    OVERLOAD = "overload"
    NAN = "nan"
    ENGINE_ERROR = "engine_error"
    SELFTEST = "selftest"
    STATE = "state"
    RECIPE_MISMATCH = "recipe_mismatch"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Identity of one trigger. It outlives the pixels: a lost frame still has its stamp."""

    line: str
    camera: str  # serial number
    sequence: int  # 0, 1, 2 ... without holes, lost frames included
    block_id: int  # the camera's own count
    encoder_start: int  # counts; the web under the frame's first row
    encoder_end: int  # counts; one past the web under the last row
    captured_us: int  # monotonic
    deadline_us: int  # monotonic; a verdict after this is NOT_INSPECTED (late)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of the web; our own copy, never a GenTL buffer."""

    stamp: Stamp
    pixels: U8  # [H, W] or [H, W, 3] RGB


@dataclass(frozen=True, slots=True)
class LostFrame:
    """A trigger whose pixels were lost, came incomplete, or were evicted. It keeps its place in the order."""

    stamp: Stamp
    reason: Reason  # FRAME_LOST, FRAME_INCOMPLETE or OVERLOAD
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EndOfWeb:
    """The camera has nothing more to give (a replay that does not loop)."""


Acquired: TypeAlias = Frame | LostFrame


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a frame that is web to be judged, half-open, pixels of the frame."""

    left_px: int
    right_px: int
    top_px: int
    bottom_px: int

    @property
    def width_px(self) -> int:
        """Columns of web."""
        return self.right_px - self.left_px

    @property
    def height_px(self) -> int:
        """Rows of web."""
        return self.bottom_px - self.top_px


@dataclass(frozen=True, slots=True)
class Grid:
    """How tiles lie on the web. ``tile_px`` and ``overlap_px`` are multiples of ``px_per_cell``."""

    tile_px: int  # side of the judged interior
    margin_px: int  # seen on every side, never judged
    overlap_px: int  # of neighbouring interiors
    px_per_cell: int  # side of one cell of the score map

    @property
    def stride_px(self) -> int:
        """From one tile to the next."""
        return self.tile_px - self.overlap_px

    @property
    def side_px(self) -> int:
        """Of a tile with its margins: what the engine takes."""
        return self.tile_px + 2 * self.margin_px

    def cells(self, length_px: int) -> int:
        """Cells that cover ``length_px``; the last may reach up to px_per_cell - 1 px beyond."""
        return -(-length_px // self.px_per_cell)


@dataclass(frozen=True, slots=True)
class TileBatch:
    """Tiles of one frame, each with a margin of real neighbouring pixels that is seen but never judged."""

    stamp: Stamp
    pixels: U8  # [N, h, w] or [N, h, w, 3]; h = w = tile + 2 * margin
    origins_px: I32  # [N, 2] (row, col) of the judged interior on the strip's canvas
    margin_px: int


@dataclass(frozen=True, slots=True)
class Strip:
    """What one trigger lets be decided: an encoder interval, and its tiles (docs/decisions/0001).

    The canvas is the area under the batch's interiors: row 0 is the first row decided here, column 0
    the region's first. Rows from ``decided_px`` on are overlap, decided by the strip after this one.
    """

    stamp: Stamp
    encoder_start: int  # counts; decided here, half-open; strips follow each other without holes
    encoder_end: int
    batch: TileBatch | None = None  # None: nothing to look at, see reason
    region: Region | None = None  # None: not known, or no web in view
    piece: int = -1  # which unbroken run of rows of the web; strips of one piece join up
    first_row: int = 0  # canvas row 0, px from the piece's first row
    decided_px: int = 0  # rows of the canvas decided here, multiple of px_per_cell
    joins_next: bool = False  # the web goes on below without a gap
    canvas_cells: tuple[int, int] = (0, 0)  # (rows, columns)
    row_marks: tuple[tuple[int, int], ...] = ()  # (canvas row in px, encoder counts), rising
    reason: Reason = Reason.NONE  # why there are no tiles
    detail: str = ""

    def encoder_at(self, row_px: float) -> float:
        """Encoder counts at a row of the canvas, linear within each frame."""
        rows, counts = zip(*self.row_marks, strict=True)
        return float(np.interp(row_px, rows, counts))


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """What the engine saw in a batch, in sigma above what good tiles show. May hold NaN; judging decides."""

    stamp: Stamp
    scores: F32  # [N, tile / px_per_cell, tile / px_per_cell], judged interior only
    tile_scores: F32  # [N]
    px_per_cell: int
    origins_px: I32  # [N, 2] as in the batch


class Zone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A strip along the web in which good web scores higher or lower than elsewhere."""

    from_mm: float  # from the camera's first column
    to_mm: float
    factor: float  # its limit is so many times the line's; the cells are divided by it


class WideLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A limit for what is large and faint: of the mean over a window. The formula: ``judging.levelled``."""

    name: str
    across_px: int  # sides of the window
    along_px: int
    clip_sigma: float  # of the cells before the mean
    mean_sigma: float  # of good windows
    deviation_sigma: float  # of good windows
    limit_deviations: float


@dataclass(frozen=True, slots=True)
class Levels:
    """All limits of a line, as judging takes them."""

    limit_sigma: float
    zones: tuple[Zone, ...] = ()  # one beside the other; empty: one limit for all of the web
    wide: tuple[WideLimit, ...] = ()

    def rows_above(self, px_per_cell: int) -> int:
        """How many rows of cells a window reaches up from its last."""
        return max((one.along_px // px_per_cell - 1 for one in self.wide), default=0)


@dataclass(frozen=True, slots=True)
class Defect:
    """A connected piece of web above the limit. Positions: mm across (camera column 0 = 0), m along."""

    defect_id: str
    x_mm: float
    y_m: float  # start, along the web
    w_mm: float
    h_mm: float
    area_mm2: float
    length_mm: float  # longer side of the smallest turned rectangle
    width_mm: float  # shorter side
    peak_sigma: float
    phase: str  # "new" at first sight; one that grows on into later strips: "update" ..., then "end"


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a frame's time went, milliseconds."""

    acq_ms: float = 0.0  # captured -> taken up by the inspect thread
    infer_ms: float = 0.0
    total_ms: float = 0.0  # captured -> verdict handed to the bus


@dataclass(frozen=True, slots=True)
class Verdict:
    """One per trigger and lane; the encoder intervals of a lane follow each other without holes."""

    stamp: Stamp
    lane: int  # 0 is the leftmost
    outcome: Outcome
    reason: Reason
    encoder_start: int
    encoder_end: int
    x_start_mm: float
    x_end_mm: float
    score: float  # highest sigma in the lane; NaN when nothing was looked at
    limit: float  # sigma
    n_tiles: int
    n_tiles_inspected: int
    defects: tuple[Defect, ...] = ()
    timings: Timings = field(default_factory=Timings)
    detail: str = ""
    median: float = math.nan  # of the cells that were looked at, sigma as the engine has it: tells of the web
