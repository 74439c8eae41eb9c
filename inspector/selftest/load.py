"""What a line asks of its engine: how many tiles a frame gives, and how many a second the web brings."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.config import FolderCamera, Line
from inspector.limits import Limits
from inspector.records import Grid
from inspector.tiling import plan_between, tile_rows


@dataclass(frozen=True, slots=True)
class Load:
    """Of one line at its highest speed."""

    tiles: int  # of a frame, which go to the engine at once
    of_what: str  # they are, in words
    needed_tiles_per_s: float


def load_of(line: Line, grid: Grid, limits: Limits | None) -> Load:
    """Return what a line asks: of the columns that its limits were set on, of the whole width where there are none."""
    seen_mm = limits.region_mm if limits else (0.0, line.web.width_mm)
    plan = plan_between(grid, line, *seen_mm, line.frame_rows)
    rows, of_what = rows_of_tiles(line, grid)
    return Load(rows * plan.tiles_across, of_what, plan.tiles_per_s)


def rows_of_tiles(line: Line, grid: Grid) -> tuple[int, str]:
    """How many rows of tiles a frame gives, as far as the config tells its height; and in words what that is."""
    height = line.frame_rows
    if height is not None:
        return tile_rows(grid, height, seamless=line.web.seamless), f"a frame of {height} rows"
    why = "the config doesn't state the camera's Height"
    if isinstance(line.camera, FolderCamera):
        why = "a folder's images tell their height only when they are read"
    if not line.web.seamless:
        why += "; tiles/s are as if they joined"
    return 1, f"one row of them ({why})"
