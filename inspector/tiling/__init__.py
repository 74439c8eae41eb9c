"""From frames to tiles: where the web is, how the grid lies on it, which rows each trigger decides.

Pure: no threads, no I/O, no clocks. What it does not know: scores, limits, engines.
"""

from inspector.records import Grid, Region, Strip
from inspector.tiling.grid import (
    Plan,
    check_channels,
    check_frame_size,
    check_width,
    cut_region,
    grid_for,
    least_rows,
    plan_between,
    plan_for,
    rows_of_frames,
    rows_waited,
    tile_rows,
    tiles_per_s,
)
from inspector.tiling.picture import draw_grid
from inspector.tiling.region import find_region, region_finder
from inspector.tiling.strip import Tiler, least_width_px, too_narrow

__all__ = [
    "Grid",
    "Plan",
    "Region",
    "Strip",
    "Tiler",
    "check_channels",
    "check_frame_size",
    "check_width",
    "cut_region",
    "draw_grid",
    "find_region",
    "grid_for",
    "least_rows",
    "least_width_px",
    "plan_between",
    "plan_for",
    "region_finder",
    "rows_of_frames",
    "rows_waited",
    "tile_rows",
    "tiles_per_s",
    "too_narrow",
]
