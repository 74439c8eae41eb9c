"""One scale for every limit: a map of sigma in which whatever is above its own limit is above *the* limit.

A line's optics differ across the web, and a fault may be large and too faint for any of its cells to stand out. So a
cell is divided by its zone's factor, and the mean over a window of many cells has a limit of its own:

    levelled = max(sigma / factor(column), limit_sigma * wide(window) / limit_deviations for every window over it)
    wide(window) = (mean of sigma / factor, clipped to +-clip_sigma, - mean_sigma) / deviation_sigma

It is then held against ``limit_sigma`` as sigma is: what it says of a cell is how near the cell comes to the nearest
limit. Without zones and windows all this is the identity.

Windows are for what no cell tells. So cells above their own limit, and the heat around them, count as 0 in a window: a
strong fault keeps its small box. What comes near the limit is clipped, so that a few such cells can't fill a window.

A window counts once, in the strip in which its last row is decided, and only where every cell of it was seen; its
value is laid over those of its cells that this strip decides, if it comes to half of its limit. Sums are built by
doubling, in an order that depends on the window alone: strips of any height give bit by bit the same, but within
HALO_CELLS above a strong cell of the next strip, of which this one knows nothing yet.
"""

from __future__ import annotations

import cv2
import numpy as np

from inspector.records import F32, Levels, WideLimit, Zone

HALO_CELLS = 8  # around a cell above its own limit, whose heat belongs to it
SHOWN = 0.5  # of a window's limit; what is below takes no part, which spares good web half of the work


class Scratch:
    """Two arrays that take turns, for one thread: fresh ones cost more in page faults than the sums themselves."""

    def __init__(self) -> None:
        self._arrays = [np.empty(0, np.float32), np.empty(0, np.float32)]
        self._turn = 0

    def other(self, rows: int, columns: int) -> F32:
        """Return [rows, columns] of anything, in the array that the call before this one did not use."""
        self._turn = 1 - self._turn
        if self._arrays[self._turn].size < rows * columns:
            self._arrays[self._turn] = np.empty(rows * columns, np.float32)
        return self._arrays[self._turn][: rows * columns].reshape(rows, columns)


def levelled(
    levels: Levels,
    cells: F32,
    above: F32,
    px_per_cell: int,
    left_px: int,
    mm_per_px: float,
    scratch: Scratch | None = None,
) -> F32:
    """Bring a stretch of web to one scale.

    Args:
        levels: limits.
        cells: [rows, columns] sigma, to be decided; anything not finite stays as it is.
        above: [k, columns] sigma, the rows just above them in the same piece of web, ``rows_kept`` of them
            where there are so many; k may be 0.
        px_per_cell: side of a cell.
        left_px: column of the camera at which column 0 begins.
        mm_per_px: of the camera's picture.
        scratch: to work in, where many strips follow; None: a fresh one.

    Returns:
        float32 [rows, columns]; above ``levels.limit_sigma`` is faulty.
    """
    if not (levels.zones or levels.wide):
        return cells
    factors = zone_factors(levels.zones, cells.shape[1], px_per_cell, left_px, mm_per_px)
    level = np.where(np.isfinite(cells), cells / factors, cells)
    seen = _without_strong(np.concatenate([above / factors, level]), levels.limit_sigma)
    reach = min(len(above), levels.rows_above(px_per_cell))
    seen = seen[len(above) - reach :]
    scratch = scratch or Scratch()
    for wide in levels.wide:
        height, width = wide.along_px // px_per_cell, wide.across_px // px_per_cell
        # Windows that end above were decided there; of those that end here, as many rows as reach up.
        skip = max(0, reach - height + 1)
        values = wide_values(seen[skip:], wide, px_per_cell, scratch)
        near = values >= SHOWN * wide.limit_deviations  # never where it was not seen whole: its cells say why
        if not near.any():
            continue
        values = np.where(near, values, np.float32(-np.inf))
        values *= np.float32(levels.limit_sigma / wide.limit_deviations)
        level = np.maximum(
            level, _spread(_spread(values, height, 0, scratch)[reach - skip :], width, 1, scratch)
        )
    return np.where(np.isfinite(cells), level, cells)


def levelled_alone(levels: Levels, cells: F32, px_per_cell: int, left_px: int, mm_per_px: float) -> F32:
    """``levelled`` for a piece of web of its own, with nothing above it."""
    nothing = np.zeros((0, cells.shape[1]), np.float32)
    return levelled(levels, cells, nothing, px_per_cell, left_px, mm_per_px)


def rows_kept(levels: Levels, px_per_cell: int) -> int:
    """How many rows above a strip its windows and the heat in them depend on."""
    return levels.rows_above(px_per_cell) + HALO_CELLS if levels.wide else 0


def _without_strong(sigma: F32, limit_sigma: float) -> F32:
    """Take out what cells above their own limit account for, with the heat around them: 0 there, as good web has it."""
    strong = sigma > limit_sigma
    if not strong.any():
        return sigma
    side = 2 * HALO_CELLS + 1
    near = cv2.dilate(strong.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return np.where(near & np.isfinite(sigma), np.float32(0), sigma)


def zone_factors(
    zones: tuple[Zone, ...], columns: int, px_per_cell: int, left_px: int, mm_per_px: float
) -> F32:
    """What each column of cells is divided by, float32 [columns]: its middle's zone; beyond them the outermost's."""
    if not zones:
        return np.ones(columns, np.float32)
    middles_mm = (left_px + (np.arange(columns) + 0.5) * px_per_cell) * mm_per_px
    place = np.searchsorted([zone.from_mm for zone in zones[1:]], middles_mm, side="right")
    return np.array([zone.factor for zone in zones], np.float32)[place]


def wide_values(sigma: F32, wide: WideLimit, px_per_cell: int, scratch: Scratch) -> F32:
    """Return the deviations of every whole window: float32 [rows - height + 1, columns - width + 1], or empty.

    The value at [r, c] is of the window whose first cell is [r, c]; else as ``window_means``.
    """
    means = window_means(sigma, wide, px_per_cell, scratch)
    return (means - np.float32(wide.mean_sigma)) / np.float32(wide.deviation_sigma)


def window_means(sigma: F32, wide: WideLimit, px_per_cell: int, scratch: Scratch | None = None) -> F32:
    """Return the clipped mean of every whole window, sigma: float32 [rows - height + 1, columns - width + 1], or empty.

    Args:
        sigma: [rows, columns], already divided by the zones' factors.
        wide: the window.
        px_per_cell: side of a cell; the window's sides are multiples of it.
        scratch: to work in; None: a fresh one.

    NaN where any cell of the window is not finite.
    """
    height, width = wide.along_px // px_per_cell, wide.across_px // px_per_cell
    if sigma.shape[0] < height or sigma.shape[1] < width:
        return np.zeros((0, 0), np.float32)
    scratch = scratch or Scratch()
    clipped = np.clip(sigma, -wide.clip_sigma, wide.clip_sigma, out=scratch.other(*sigma.shape))
    finite = np.isfinite(sigma)
    if not finite.all():
        clipped[~finite] = np.nan  # infinity would be clipped to a number
    sums = _summed(_summed(clipped, height, 0, scratch), width, 1, scratch)
    return sums / np.float32(height * width)


def _summed(cells: F32, length: int, axis: int, scratch: Scratch) -> F32:
    """Sum every ``length`` cells that follow each other along an axis, which becomes length - 1 shorter."""
    count = cells.shape[axis] - length + 1
    total, offset, run, size = None, 0, cells, 1  # ``run``: sums over ``size`` cells
    while True:
        if length & size:
            part = _from(run, offset, axis, count)
            total = part.copy() if total is None else total + part
            offset += size
        if 2 * size > length:
            break
        first, second = _from(run, 0, axis, run.shape[axis] - size), _from(run, size, axis)
        run = np.add(first, second, out=scratch.other(*first.shape))
        size *= 2
    assert total is not None
    return total


def _spread(values: F32, length: int, axis: int, scratch: Scratch) -> F32:
    """Lay every value over ``length`` cells along an axis, the highest where they overlap; length - 1 longer."""
    beyond = (length - 1) if axis == 0 else 0, (length - 1) if axis == 1 else 0
    rows, columns = values.shape
    run = scratch.other(rows + 2 * beyond[0], columns + 2 * beyond[1])
    run.fill(-np.inf)
    run[beyond[0] : beyond[0] + rows, beyond[1] : beyond[1] + columns] = values
    size = 1  # ``run``: the highest of ``size`` values
    while size < length:
        step = min(size, length - size)
        first, second = _from(run, 0, axis, run.shape[axis] - step), _from(run, step, axis)
        run = np.maximum(first, second, out=scratch.other(*first.shape))
        size += step
    return run


def _from(cells: F32, start: int, axis: int, count: int | None = None) -> F32:
    """Slice along an axis. Neither transposed nor copied: mixed memory orders cost three times as much."""
    part = slice(start, None if count is None else start + count)
    return cells[part] if axis == 0 else cells[:, part]
