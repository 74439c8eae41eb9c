"""Limits for what is large and faint, each from the good windows of one shape (``judging.levelled``).

Which shapes, and what they find at as many false alarms: docs/decisions/0006 and ``tools/limit_trial.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspector.calibrating.blocks import BLOCK_PX, block_peaks
from inspector.calibrating.tail import FoundLimit, find_limit
from inspector.judging import window_means
from inspector.records import F32, WideLimit

CLIP = 0.5  # of limit_sigma: cells count up to that, so that a fault of a few cells can't fill a window
LEAST_BLOCKS = 40  # of windows; fewer say too little about their tail
MOST_EXCEEDANCES = 60  # means have light tails, which look heavier the lower they are cut
LEAST_ACROSS_PX = 256  # of a block; windows of one place are of one piece
REACHABLE = 0.9  # of what a window of nothing but clipped cells has; a higher limit finds nothing


@dataclass(frozen=True, slots=True)
class Window:
    """The shape of a window, in pixels."""

    name: str
    across_px: int
    along_px: int

    @property
    def block_px(self) -> tuple[int, int]:
        """Sides of the blocks that its tail is made of, along and across: neighbouring windows are hardly two."""
        return max(BLOCK_PX, self.along_px), max(LEAST_ACROSS_PX, self.across_px)

    def fits(self, cells: F32, px_per_cell: int) -> bool:
        """Whether a map, [rows, columns], holds one."""
        rows, columns = cells.shape
        return bool(rows * px_per_cell >= self.along_px and columns * px_per_cell >= self.across_px)


WINDOWS = (
    Window("blot", 128, 128),  # stains, creases
    Window("across", 512, 16),  # missing and double picks
    Window("along", 16, 256),  # missing and broken ends
)


@dataclass(frozen=True, slots=True)
class FoundWide:
    """What good web says about one shape of window."""

    window: Window
    limit: WideLimit | None  # None: no limit, see ``why``
    found: FoundLimit | None  # in deviations
    blocks: int
    rate: float  # of false alarms asked for, per block
    why: str = ""


def fitting(images: Sequence[F32], px_per_cell: int) -> tuple[Window, ...]:
    """Return the windows that every one of the images' maps holds."""
    whole = [one for one in WINDOWS if one.across_px % px_per_cell == one.along_px % px_per_cell == 0]
    return tuple(one for one in whole if all(one.fits(cells, px_per_cell) for cells in images))


def find_wide(
    window: Window, images: Sequence[F32], px_per_cell: int, limit_sigma: float, rate: float
) -> FoundWide:
    """Find the limit of windows of one shape.

    Args:
        window: the shape; every image's map holds one.
        images: the maps of good images, divided by the zones' factors, [rows, columns] sigma each.
        px_per_cell: side of a cell.
        limit_sigma: of the cells.
        rate: share of its blocks in which a window of good web may exceed its limit.
    """
    clip = round(CLIP * limit_sigma, 4)
    shape = WideLimit(
        name=window.name,
        across_px=window.across_px,
        along_px=window.along_px,
        clip_sigma=clip,
        mean_sigma=0.0,
        deviation_sigma=1.0,
        limit_deviations=1.0,
    )
    means = [window_means(cells, shape, px_per_cell) for cells in images]
    counts = np.array([one.size for one in means], np.float64)
    mean = float(np.average([one.mean(dtype=np.float64) for one in means], weights=counts))
    squares = [float(((one - mean) ** 2).mean(dtype=np.float64)) for one in means]
    deviation = math.sqrt(float(np.average(squares, weights=counts)))
    peaks = [block_peaks(one, px_per_cell, *window.block_px).ravel() for one in means]
    blocks = sum(len(one) for one in peaks)
    if blocks < LEAST_BLOCKS:
        return FoundWide(
            window, None, None, blocks, rate, f"{blocks} blocks are too few, {LEAST_BLOCKS} are wanted"
        )
    mean, deviation = round(mean, 6), max(round(deviation, 6), 1e-6)
    try:
        found = find_limit([(one - mean) / deviation for one in peaks], rate, MOST_EXCEEDANCES)
    except ValueError:
        return FoundWide(window, None, None, blocks, rate, "all score the same")
    highest = (clip - mean) / deviation
    if not 0 < found.limit <= REACHABLE * highest:
        why = f"good web comes too near to {highest:.1f} deviations, the highest that a window can have"
        return FoundWide(window, None, found, blocks, rate, why)
    limit = WideLimit(
        name=window.name,
        across_px=window.across_px,
        along_px=window.along_px,
        clip_sigma=clip,
        mean_sigma=mean,
        deviation_sigma=deviation,
        limit_deviations=math.ceil(found.limit * 1e4) / 1e4,
    )
    return FoundWide(window, limit, found, blocks, rate)
