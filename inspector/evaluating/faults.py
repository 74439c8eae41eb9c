"""The faults of a mask one by one: how large each is, and how high the engine scores on it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inspector.images.reading import Mask
from inspector.records import F32


@dataclass(frozen=True, slots=True)
class Fault:
    """One 8-connected piece of a mask, as far as it was looked at."""

    extent_px: int  # longer side of the upright box around it
    area_px: int
    peak_sigma: float  # highest cell on it or within the tolerance: above a limit, the fault is found


def faults_of(truth: Mask, cells: F32, px_per_cell: int, tolerance_px: int) -> tuple[Fault, ...]:
    """Take a mask apart.

    Args:
        truth: bool [H, W] of the region that was looked at.
        cells: float32 [ceil(H / px_per_cell), ceil(W / px_per_cell)], sigma, over the same region.
        px_per_cell: side of a cell.
        tolerance_px: a cell counts for a fault if one of its pixels lies this near, along rows and columns,
            to a pixel of the fault. Masks are drawn by hand, and a blurred map peaks beside an edge.

    Returns:
        The faults, from top to bottom.
    """
    height, width = truth.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(truth.astype(np.uint8), connectivity=8)
    kernel = np.ones((2 * tolerance_px + 1, 2 * tolerance_px + 1), np.uint8)
    faults = []
    for label in range(1, count):
        left, top, across, along, area = (int(value) for value in stats[label])
        rows = np.arange(max(0, top - tolerance_px), min(height, top + along + tolerance_px))
        columns = np.arange(max(0, left - tolerance_px), min(width, left + across + tolerance_px))
        piece = labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == label
        near = cv2.dilate(piece.astype(np.uint8), kernel) > 0
        peak = cells[np.ix_(rows // px_per_cell, columns // px_per_cell)][near].max()
        faults.append(Fault(max(across, along), area, float(peak)))
    return tuple(faults)
