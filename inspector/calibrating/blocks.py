"""Maps of good web cut into blocks: the scores of which the tail is made.

Blocks are smaller than tiles, so that there are sixteen times as many of them and the tail is carried on from more
than a handful. Neighbouring blocks are no more independent than neighbouring tiles; the bootstrap draws images.
Alarms are counted as blocks above the limit: a fault that lies in two counts twice, which errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inspector.records import F32, F64

BLOCK_PX = 64


def block_peaks(cells: F32, px_per_cell: int, along_px: int = BLOCK_PX, across_px: int = BLOCK_PX) -> F64:
    """Return the highest value of every block: float64 [block rows, block columns].

    Args:
        cells: [rows, columns], sigma or deviations; NaN is passed over.
        px_per_cell: side of a cell.
        along_px: sides of a block.
        across_px: the other.

    A last block of less than half a block's side belongs to the one before it.
    """
    by_rows = np.fmax.reduceat(cells, _starts(cells.shape[0], along_px // px_per_cell), axis=0)
    return np.fmax.reduceat(by_rows, _starts(cells.shape[1], across_px // px_per_cell), axis=1).astype(
        np.float64
    )


def block_columns(columns: int, px_per_cell: int) -> npt.NDArray[np.intp]:
    """Return the first column of cells of every block: [block columns]."""
    return np.array(_starts(columns, BLOCK_PX // px_per_cell))


def blocks_per_100m(
    width_px: int, mm_per_px: float, along_px: int = BLOCK_PX, across_px: int = BLOCK_PX
) -> float:
    """Blocks in 100 m of web of a width."""
    return max(1.0, width_px / across_px) * 100_000 / (along_px * mm_per_px)


def _starts(length: int, side: int) -> Sequence[int]:
    return range(0, max(1, length - side // 2), side)
