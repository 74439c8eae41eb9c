"""Limits for what is large and faint, each from the good windows of one shape (``judging.levelled``).

Which shapes, and what they find at as many false alarms: docs/decisions/0006 and ``tools/limit_trial.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inspector.calibrating.blocks import BLOCK_PX, block_peaks
from inspector.calibrating.differing import raised
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
        """Whether a map, [rows, columns], holds one, of whole cells."""
        if self.across_px % px_per_cell or self.along_px % px_per_cell:
            return False
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
    """Return the windows that at least one of the images' maps holds."""
    return tuple(one for one in WINDOWS if any(one.fits(cells, px_per_cell) for cells in images))


def unfitting(images: Sequence[F32], px_per_cell: int) -> tuple[FoundWide, ...]:
    """Return the other windows, and why they have no limit."""
    fit = fitting(images, px_per_cell)
    return tuple(
        FoundWide(one, None, None, 0, 0.0, f"no good image holds its {one.across_px} x {one.along_px} px")
        for one in WINDOWS
        if one not in fit
    )


def find_wide(
    window: Window,
    images: Sequence[F32],
    px_per_cell: int,
    limit_sigma: float,
    rate: float,
    *,
    images_differ: bool = False,
) -> FoundWide:
    """Find the limit of windows of one shape.

    Args:
        window: the shape.
        images: the maps of good images, divided by the zones' factors, [rows, columns] sigma each; those that are
            smaller than the window don't count.
        px_per_cell: side of a cell.
        limit_sigma: of the cells.
        rate: share of its blocks in which a window of good web may exceed its limit.
        images_differ: whether images' cells do, so that other web's windows lie higher than any seen (``differing``).
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
    holding = [place for place, cells in enumerate(images) if window.fits(cells, px_per_cell)]
    means = [window_means(images[place], shape, px_per_cell) for place in holding]
    peaks = [block_peaks(one, px_per_cell, *window.block_px).ravel() for one in means]
    blocks = sum(len(one) for one in peaks)
    if blocks < LEAST_BLOCKS:
        why = f"{blocks} blocks of the {len(holding)} images that hold it are too few, {LEAST_BLOCKS} are wanted"
        return FoundWide(window, None, None, blocks, rate, why)
    counts = np.array([one.size for one in means], np.float64)
    mean = float(np.average([one.mean(dtype=np.float64) for one in means], weights=counts))
    squares = [float(((one - mean) ** 2).mean(dtype=np.float64)) for one in means]
    deviation = math.sqrt(float(np.average(squares, weights=counts)))
    mean, deviation = round(mean, 6), max(round(deviation, 6), 1e-6)
    try:
        scores = [(one - mean) / deviation for one in peaks]
        found = find_limit(scores, rate, MOST_EXCEEDANCES)
        if images_differ:
            found = raised(found, scores, rate, by_offsets=True)
    except ValueError:
        return FoundWide(window, None, None, blocks, rate, "all score the same")
    found = replace(found, suspects=tuple(holding[place] for place in found.suspects))
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
