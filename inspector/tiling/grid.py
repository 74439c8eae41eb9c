"""The grid: where tiles lie on a length of web, and how they are cut out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from inspector.config import Line
from inspector.errors import ArtefactError, ConfigError
from inspector.interfaces import CameraInfo, EngineInfo
from inspector.records import I32, U8, Grid, Region

WHOLE_SHARE = 0.95  # of the web's width: what sees less sees part of it


def grid_for(line: Line, engine: EngineInfo) -> Grid:
    """Return the grid of a line: the engine's tiles at the overlap the config asks for.

    The overlap is rounded up to whole cells, so that the cells of neighbouring tiles coincide.

    Raises:
        ConfigError: tiles.size_mm is not the size of the engine's tiles at this line's mm per pixel.
        ArtefactError: the engine's own measures don't fit each other.
    """
    cell = engine.px_per_cell
    if engine.margin_px >= engine.tile_px:
        raise ArtefactError(
            f"recipe {engine.recipe}: its margin of {engine.margin_px} px is no narrower than its tile of "
            f"{engine.tile_px} px, and no line can cut such tiles; train the recipe again with a narrower --margin-px"
        )
    if engine.tile_px % cell or engine.margin_px < 0:
        raise ArtefactError(
            f"recipe {engine.recipe}: tiles of {engine.tile_px} px with a margin of {engine.margin_px} px "
            f"don't divide into cells of {cell} px; train the recipe again"
        )
    asked_px = line.tiles.size_mm / line.web.mm_per_px
    if abs(asked_px - engine.tile_px) > 0.5:
        right_mm = round(engine.tile_px * line.web.mm_per_px, 4)
        raise ConfigError(
            f"tiles.size_mm = {line.tiles.size_mm:g} is {asked_px:.1f} px at web.mm_per_px = "
            f"{line.web.mm_per_px:g}, but recipe {engine.recipe} was trained on {engine.tile_px} px; "
            f"set size_mm = {right_mm:g}"
        )
    # 1e-6: 6.4 / 0.2 is 32.000000000000004 in floating point and must not become 36.
    overlap_px = cell * math.ceil(line.tiles.overlap_mm / line.web.mm_per_px / cell - 1e-6)
    if overlap_px > engine.tile_px // 2 + cell:
        raise ConfigError(
            f"tiles.overlap_mm = {line.tiles.overlap_mm:g} is more than half of a tile; make it at most "
            f"{line.tiles.size_mm / 2:g}"
        )
    return Grid(engine.tile_px, engine.margin_px, overlap_px, cell)


def starts(grid: Grid, length_px: int) -> list[int]:
    """Return where interiors begin so that they cover ``length_px`` exactly; the last is shifted inwards.

    Exactly means to the cell: up to px_per_cell - 1 px beyond the end, which are mirrored web.

    Raises:
        ValueError: the length is shorter than a tile.
    """
    last = grid.cells(length_px) * grid.px_per_cell - grid.tile_px
    if last < 0:
        raise ValueError(f"{length_px} px are less than a tile of {grid.tile_px} px")
    return [*range(0, last, grid.stride_px), last]


def cut(grid: Grid, parts: Sequence[U8], tops: Sequence[int], lefts: Sequence[int]) -> U8:
    """Copy tiles with their margins straight from where the web lies: no pixel is copied twice on its way to a tile.

    What lies beyond the web is mirrored about its border pixel, which is not doubled.

    Args:
        grid: how tiles lie.
        parts: the web, one part below the other, each [H, W] or [H, W, 3] uint8.
        tops: first rows of interiors, from the first part's first.
        lefts: their first columns.

    Returns:
        [len(tops) * len(lefts), S, S(, 3)] uint8 with S = tile + 2 * margin, row by row.
    """
    side, margin = grid.side_px, grid.margin_px
    tiles = np.empty((len(tops) * len(lefts), side, side, *parts[0].shape[2:]), np.uint8)
    corners = [(top - margin, left - margin) for top in tops for left in lefts]
    for tile, corner in zip(tiles, corners, strict=True):
        _fill(tile, parts, *corner)
    return tiles


def _fill(tile: U8, parts: Sequence[U8], row: int, column: int) -> None:
    """Copy what lies under a tile whose corner is at (row, column); mirror what of it lies beyond the web."""
    side, (height, width) = len(tile), (sum(map(len, parts)), parts[0].shape[1])
    left, right = max(column, 0), min(column + side, width)
    begin = 0
    for part in parts:
        end = begin + len(part)
        top, bottom = max(row, begin), min(row + side, end)
        if top < bottom:
            above = top - row if top == 0 else 0
            below = row + side - bottom if bottom == height else 0
            beyond = above, below, left - column, column + side - right
            here, there = (
                part[top - begin : bottom - begin, left:right],
                tile[top - above - row : bottom + below - row],
            )
            if any(beyond):
                cv2.copyMakeBorder(here, *beyond, cv2.BORDER_REFLECT_101, dst=there)
            else:
                there[...] = here
        begin = end


def origins(tops: list[int], lefts: list[int]) -> I32:
    """Return [N, 2] (row, col), in the order of ``cut``."""
    return np.array([(top, left) for top in tops for left in lefts], np.int32).reshape(-1, 2)


def cut_region(grid: Grid, pixels: U8, region: Region) -> tuple[U8, I32]:
    """Cut a region as a piece of web of its own: edge tiles shifted inwards, margins mirrored at its edges.

    Args:
        grid: how tiles lie.
        pixels: [H, W] or [H, W, 3] uint8.
        region: part of ``pixels``, at least a tile in both directions.

    Returns:
        Tiles [N, S, S(, 3)] uint8 with S = tile + 2 * margin, and int32 [N, 2] (row, col) of their interiors
        from the region's corner. Scores are put together by ``judging.stitch``.

    Raises:
        ValueError: the region is smaller than a tile.
    """
    tops, lefts = starts(grid, region.height_px), starts(grid, region.width_px)
    web = pixels[region.top_px : region.bottom_px, region.left_px : region.right_px]
    return cut(grid, [web], tops, lefts), origins(tops, lefts)


def astray(grid: Grid, places: I32, rng: np.random.Generator) -> I32:
    """Move every place of a region's grid, int32 [N, 2] (row, col), up to half a stride, but none beyond the last.

    Returns:
        As many places, in the same order; where the region is one tile high or wide, they don't move that way.
    """
    reach = grid.stride_px // 2
    moved = places + rng.integers(-reach, reach + 1, places.shape)
    return np.asarray(np.clip(moved, 0, places.max(axis=0)), np.int32)


def cut_at(grid: Grid, pixels: U8, region: Region, places: I32) -> U8:
    """Cut single tiles out of a region, as ``cut_region`` cuts all: ``places`` int32 [N, 2] (row, col) of interiors."""
    web = pixels[region.top_px : region.bottom_px, region.left_px : region.right_px]
    side, margin = grid.side_px, grid.margin_px
    tiles = np.empty((len(places), side, side, *pixels.shape[2:]), np.uint8)
    for tile, (row, column) in zip(tiles, places, strict=True):
        _fill(tile, [web], int(row) - margin, int(column) - margin)
    return tiles


def least_rows(grid: Grid, *, seamless: bool) -> int:
    """Rows a frame must have: those of a tile.

    And those of a margin where frames join, so that every frame decides some web and none waits for two frames.
    """
    return grid.tile_px + (grid.margin_px if seamless else 0)


def rows_waited(grid: Grid, frame_rows: int, *, seamless: bool) -> int:
    """Return the rows that come in, at most, from a row of web until all that decides it is there.

    A row of a seamless web waits for its tile row and margin, and these for the frame's end; of a frame that is a piece
    of its own, for that alone.
    """
    return frame_rows + (least_rows(grid, seamless=True) if seamless else 0)


def tile_rows(grid: Grid, frame_rows: int, *, seamless: bool) -> int:
    """Return the rows of tiles that a frame brings, which go to the engine at once.

    A frame of a seamless web brings those that its rows complete, now one more and now one less: these are the most. A
    frame that is a piece of its own brings all that cover it, the last shifted inwards; one lower than a tile counts
    as a tile.
    """
    if seamless:
        return max(1, math.ceil(frame_rows / grid.stride_px))
    return len(starts(grid, max(frame_rows, grid.tile_px)))


def rows_a_tile_row(grid: Grid, frame_rows: int | None, *, seamless: bool) -> float:
    """Return the rows of web for every row of tiles: a stride where frames join, else a frame's share.

    ``frame_rows`` None: nobody knows how high frames are, and they are reckoned as if they joined.
    """
    if seamless or frame_rows is None:
        return grid.stride_px
    return frame_rows / tile_rows(grid, frame_rows, seamless=False)


def check_channels(camera: CameraInfo, engine: EngineInfo) -> None:
    """Raise ConfigError if a recipe for grey images is to look at colour, or the other way round."""
    if camera.channels == engine.channels:
        return
    names = {1: "grey", 3: "colour"}
    raise ConfigError(
        f"camera {camera.serial} delivers {camera.pixel_format}, which is {names[camera.channels]}, but recipe "
        f"{engine.recipe} looks at {names[engine.channels]}; set another PixelFormat, or use a recipe trained on it"
    )


def check_frame_size(grid: Grid, height_px: int, width_px: int, *, seamless: bool) -> None:
    """Raise ConfigError if frames of this size can't be tiled."""
    least_height = least_rows(grid, seamless=seamless)
    if width_px < grid.tile_px or height_px < grid.tile_px:
        raise ConfigError(
            f"images of {width_px} x {height_px} px are smaller than a tile of {grid.tile_px} px "
            f"square; use larger images, or a recipe with smaller tiles"
        )
    if height_px < least_height:
        raise ConfigError(
            f"frames of {height_px} rows are too short for a seamless web: a tile and its margin take "
            f"{least_height} rows; raise the camera's Height to at least {least_height}, or set "
            f"web.seamless = false"
        )


def check_width(camera: CameraInfo, line: Line) -> None:
    """Raise ConfigError where a line that judges all of its web doesn't see all of it: the rest is in no verdict."""
    seen_mm = camera.width_px * line.web.mm_per_px
    if line.region.kind != "fixed" and seen_mm < WHOLE_SHARE * line.web.width_mm:
        raise ConfigError(
            f"web.width_mm = {line.web.width_mm:g}, but the camera sees {seen_mm:g} mm of it ({camera.width_px} px at "
            f"web.mm_per_px = {line.web.mm_per_px:g}), and what lies beside is in no verdict; correct these, or set "
            "region.kind = 'fixed' with left_mm and right_mm to judge part of the web"
        )


def check_columns(grid: Grid, left_px: int, right_px: int, width_px: int) -> None:
    """Raise ConfigError if a region of these columns can't be tiled in frames of this width."""
    if right_px > width_px:
        raise ConfigError(
            f"the region reaches to column {right_px}, but frames are {width_px} px wide; "
            f"set region.right_mm to fit, or calibrate again"
        )
    if right_px - left_px < grid.tile_px:
        raise ConfigError(
            f"a region of {right_px - left_px} px is narrower than a tile of {grid.tile_px} px; widen it, or "
            f"use a recipe with smaller tiles"
        )


def tiles_per_s(
    grid: Grid,
    region_width_px: int,
    speed_m_min: float,
    mm_per_px: float,
    *,
    frame_rows: int | None,
    seamless: bool,
) -> float:
    """Return the tiles a second that a web of this width brings at this speed.

    tiles across * rows per second / ``rows_a_tile_row``, rows per second = speed / 60 * 1000 / mm_per_px.
    """
    rows_per_s = speed_m_min / 60 * 1000 / mm_per_px
    across = len(starts(grid, region_width_px))
    return across * rows_per_s / rows_a_tile_row(grid, frame_rows, seamless=seamless)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `inspector check` tells about the grid."""

    region_width_px: int
    tiles_across: int
    stride_px: int
    overlap_px: int
    tile_rows: int | None  # of a frame that joins no other; None: they join, or their height isn't known
    tiles_per_m: float
    tiles_per_s: float  # what the web brings at full speed


def plan_for(grid: Grid, line: Line, region_width_px: int, frame_rows: int | None) -> Plan:
    """Return the plan of a line whose judged region is ``region_width_px`` wide and whose frames are so high.

    ``frame_rows`` None: not known; matters only where frames don't join (``rows_a_tile_row``).
    """
    web = line.web
    across = len(starts(grid, region_width_px))
    alone = None if web.seamless or frame_rows is None else tile_rows(grid, frame_rows, seamless=False)
    return Plan(
        region_width_px=region_width_px,
        tiles_across=across,
        stride_px=grid.stride_px,
        overlap_px=grid.overlap_px,
        tile_rows=alone,
        tiles_per_m=across * 1000 / web.mm_per_px / rows_a_tile_row(grid, frame_rows, seamless=web.seamless),
        tiles_per_s=tiles_per_s(
            grid,
            region_width_px,
            web.speed_m_min,
            web.mm_per_px,
            frame_rows=frame_rows,
            seamless=web.seamless,
        ),
    )


def rows_of_frames(line: Line, shown: Sequence[int]) -> int | None:
    """Return how high a line's frames are: as its config states it, else the median of images ``shown``, rows.

    None where neither tells.
    """
    if line.frame_rows is None and shown:
        return round(float(np.median(shown)))
    return line.frame_rows


def plan_between(grid: Grid, line: Line, left_mm: float, right_mm: float, frame_rows: int | None) -> Plan:
    """Return the plan of a line that judges from ``left_mm`` to ``right_mm`` of its camera's view, a tile at least."""
    width_px = max(grid.tile_px, round((right_mm - left_mm) / line.web.mm_per_px))
    return plan_for(grid, line, width_px, frame_rows)
