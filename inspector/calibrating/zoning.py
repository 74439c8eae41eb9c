"""Zones across the web: where light or focus make good web score higher or lower than elsewhere.

A zone's factor is what its good web typically scores, in times of what all of the web does in the same image. With few
images such a ratio is mostly chance, so it is drawn to 1 by how much zones differ beyond it (empirical Bayes: Efron
and Morris, Data analysis using Stein's estimator, JASA 70, 1975):

    log factor = m * T / (T + S),    S = v / n,    T = max(0, variance of m over the zones - S)

where m is a zone's mean log ratio over n images, and v the variance of that ratio between images, pooled over the
zones. Images are the unit, not blocks: those of one image share its light.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from inspector.calibrating.blocks import block_columns, block_peaks
from inspector.records import F32, F64, Zone

LEAST_IMAGES = 3  # two have hardly a variance
LEAST_PEAK = 0.1  # sigma; below that a ratio says nothing
LOWEST, HIGHEST = 0.5, 2.0  # beyond that the light wants mending, not a factor
# Where no factor is farther from 1 than this, one limit does. On the loom, where they differ by up to 18 %, zones
# found three faults in 184 fewer: the highest tiles of good web don't follow its typical ones that closely.
LEAST_CHANGE = 0.2


def find_zones(
    images: Sequence[F32],
    lefts_px: Sequence[int],
    region_mm: tuple[float, float],
    tile_px: int,
    px_per_cell: int,
    mm_per_px: float,
) -> tuple[Zone, ...]:
    """Return zones about a tile wide over the judged web; empty where one limit does for all of it.

    Args:
        images: the maps of good images, [rows, columns] sigma each, finite.
        lefts_px: column of the camera at which each map begins.
        region_mm: edges of the judged web.
        tile_px: side of a tile.
        px_per_cell: side of a cell.
        mm_per_px: of the camera's picture.
    """
    left_mm, right_mm = region_mm
    count = round((right_mm - left_mm) / mm_per_px / tile_px)
    if count < 2 or len(images) < LEAST_IMAGES:
        return ()
    edges_mm = np.linspace(left_mm, right_mm, count + 1)
    ratios = np.array(
        [
            _log_ratios(cells, left_px, edges_mm, px_per_cell, mm_per_px)
            for cells, left_px in zip(images, lefts_px, strict=True)
        ]
    )
    if not np.isfinite(ratios).all():  # an image that doesn't show every zone
        return ()
    factors = np.clip(np.exp(_shrunk(ratios)), LOWEST, HIGHEST)
    if np.abs(factors - 1).max() < LEAST_CHANGE:
        return ()
    edges = [round(float(edge), 3) for edge in edges_mm]
    return tuple(
        Zone(from_mm=from_mm, to_mm=to_mm, factor=round(float(factor), 4))
        for (from_mm, to_mm), factor in zip(pairwise(edges), factors, strict=True)
    )


def _log_ratios(cells: F32, left_px: int, edges_mm: F64, px_per_cell: int, mm_per_px: float) -> F64:
    """How typical peaks of each zone relate to the whole image's, logarithms [zones]; NaN for a zone not in view."""
    peaks = np.maximum(block_peaks(cells, px_per_cell), LEAST_PEAK)
    starts = block_columns(cells.shape[1], px_per_cell)
    middles_px = left_px + (starts + np.append(starts[1:], cells.shape[1])) / 2 * px_per_cell
    zone = np.searchsorted(edges_mm[1:-1], middles_px * mm_per_px, side="right")
    typical = np.log(peaks).mean(axis=0)
    means = [
        typical[zone == one].mean() if (zone == one).any() else np.nan for one in range(len(edges_mm) - 1)
    ]
    return np.asarray(np.array(means) - np.mean(means), np.float64)


def _shrunk(ratios: F64) -> F64:
    """Draw each zone's mean of the ratios, [images, zones], to 0 as far as chance explains it: [zones]."""
    means = ratios.mean(axis=0)
    sampling = float(ratios.var(axis=0, ddof=1).mean()) / len(ratios)
    between = max(0.0, float(means.var(ddof=1)) - sampling)
    return np.asarray(means * (between / (between + sampling) if between else 0.0), np.float64)
