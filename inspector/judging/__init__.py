"""From scores to verdicts: stitch tiles, find what is above the limit, say PASS only for what was seen.

Pure: no threads, no I/O, no clocks. What it does not know: pixels, engines, how late it is.
"""

from inspector.judging.judge import Judge, beside_lanes, lane_edges_mm, stitch
from inspector.judging.levelled import (
    Scratch,
    levelled,
    levelled_alone,
    rows_kept,
    window_means,
    zone_factors,
)
from inspector.judging.unlike import Unlike

__all__ = [
    "Judge",
    "Scratch",
    "Unlike",
    "beside_lanes",
    "lane_edges_mm",
    "levelled",
    "levelled_alone",
    "rows_kept",
    "stitch",
    "window_means",
    "zone_factors",
]
