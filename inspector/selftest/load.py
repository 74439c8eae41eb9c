"""What a line asks of its engine: how many tiles a frame gives, and how many a second the web brings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inspector.config import FolderCamera, GenicamCamera, Line
from inspector.limits import Limits
from inspector.records import Grid
from inspector.tiling import plan_between


@dataclass(frozen=True, slots=True)
class Load:
    """Of one line at its highest speed."""

    tiles: int  # of a frame, which go to the engine at once
    of_what: str  # they are, in words
    needed_tiles_per_s: float


def load_of(line: Line, grid: Grid, limits: Limits | None) -> Load:
    """Return what a line asks: of the columns that its limits were set on, of the whole width where there are none."""
    seen_mm = limits.region_mm if limits else (0.0, line.web.width_mm)
    plan = plan_between(grid, line, *seen_mm)
    rows, of_what = rows_of_tiles(line, grid)
    return Load(rows * plan.tiles_across, of_what, plan.tiles_per_s)


def rows_of_tiles(line: Line, grid: Grid) -> tuple[int, str]:
    """How many rows of tiles a frame gives, as far as the config tells its height; and in words what that is."""
    camera = line.camera
    if isinstance(camera, FolderCamera):
        return 1, "one row of them (a folder's images tell their height only when they are read)"
    height = camera.features.get("Height") if isinstance(camera, GenicamCamera) else camera.height_px
    if not isinstance(height, int):
        return 1, "one row of them (the config doesn't state the camera's Height)"
    beyond_px = height if line.web.seamless else height - grid.overlap_px
    return max(1, math.ceil(beyond_px / grid.stride_px)), f"a frame of {height} rows"
