"""What zones and windows cost the inspect thread: milliseconds a strip, and no engine or camera needed.

    python tools/bench_levels.py [--strips N]

A strip of 512 x 2048 px is 128 x 512 cells; the demo line has three of them a second.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np

from inspector.calibrating.wide import WINDOWS
from inspector.judging import Scratch, levelled
from inspector.records import Levels, WideLimit, Zone

ROWS, COLUMNS, PX_PER_CELL, MM_PER_PX = 128, 512, 4, 0.2


def main() -> None:
    """Level seeded noise, with and without zones and windows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strips", type=int, default=300)
    given = parser.parse_args()
    edges = np.linspace(0, COLUMNS * PX_PER_CELL * MM_PER_PX, 9).tolist()
    zones = tuple(Zone(from_mm=left, to_mm=right, factor=1.1) for left, right in pairwise(edges))
    wide = tuple(
        WideLimit(
            name=one.name,
            across_px=one.across_px,
            along_px=one.along_px,
            clip_sigma=8.0,
            mean_sigma=0.0,
            deviation_sigma=0.4,
            limit_deviations=9.0,
        )
        for one in WINDOWS
    )
    random = np.random.default_rng(0)
    for name, levels, shift in (
        ("one limit", Levels(18.0), 0.0),
        ("zones", Levels(18.0, zones), 0.0),
        ("zones and windows", Levels(18.0, zones, wide), 0.0),
        ("the same, faulty web", Levels(18.0, zones, wide), 5.0),  # every window near its limit
    ):
        cells, above = (
            random.normal(shift, 1, (rows, COLUMNS)).astype(np.float32)
            for rows in (ROWS, levels.rows_above(PX_PER_CELL))
        )
        took, scratch = [], Scratch()
        for _ in range(given.strips):
            began = time.perf_counter()
            levelled(levels, cells, above, PX_PER_CELL, 0, MM_PER_PX, scratch)
            took.append((time.perf_counter() - began) * 1000)
        print(
            f"{name:20} median {np.median(took):5.2f} ms, 99 % below {np.quantile(took, 0.99):5.2f} ms a strip"
        )


if __name__ == "__main__":
    main()
