"""Figures of merit: AUROC and AUPRO, exact for the scores they are given, in bounded memory.

Pixel figures would need every pixel's score at once. Here each score is put into one of 262,144 bins,
equally wide on an arcsinh scale (0.00008 sigma near zero, 0.008 % of the score far out), and the
figures are exact for scores so rounded: equal bins count as ties.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from inspector.learning.images import Mask
from inspector.records import F32

F64: TypeAlias = npt.NDArray[np.float64]

BINS = 1 << 18
LOWEST_SIGMA, HIGHEST_SIGMA = -100.0, 1e6  # beyond them scores are ties
AUPRO_FPR = 0.3


def auroc(scores: npt.ArrayLike, faulty: npt.ArrayLike) -> float | None:
    """Area under the ROC curve: how often a faulty item scores above a good one, ties counting half.

    Args:
        scores: float [N], finite.
        faulty: bool [N].

    Returns:
        0 to 1, or None where one of the classes is empty. (Mann-Whitney U over the product of the counts.)
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(faulty, np.bool_)
    _, places = np.unique(values, return_inverse=True)
    return _area(np.bincount(places[~labels]), np.bincount(places[labels]))


def _area(good: npt.NDArray[np.int64], faulty: npt.NDArray[np.int64]) -> float | None:
    """AUROC from counts per rising score."""
    size = max(len(good), len(faulty))
    good, faulty = np.pad(good, (0, size - len(good))), np.pad(faulty, (0, size - len(faulty)))
    if not good.any() or not faulty.any():
        return None
    below = np.cumsum(good) - good
    wins = float((faulty * (below + 0.5 * good)).sum(dtype=np.float64))
    return wins / (float(good.sum()) * float(faulty.sum()))


class PixelFigures:
    """Pixel AUROC and AUPRO, collected image by image."""

    def __init__(self) -> None:
        self._good = np.zeros(BINS, np.int64)
        self._faulty = np.zeros(BINS, np.int64)
        self._overlap = np.zeros(BINS, np.float64)  # each fault's pixels, weighing 1 together
        self.faults = 0

    def add(self, scores: F32, mask: Mask, judged: Mask) -> None:
        """Count one image.

        Args:
            scores: float32 [H, W], finite where judged.
            mask: bool [H, W], the truth; 8-connected pixels are one fault.
            judged: bool [H, W]; what lies outside counts for nothing.
        """
        bins = _bins(scores)
        self._good += np.bincount(bins[judged & ~mask], minlength=BINS)
        truth = judged & mask
        if not truth.any():
            return
        self._faulty += np.bincount(bins[truth], minlength=BINS)
        _, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
        found = labels[truth] - 1
        sizes = np.bincount(found)
        self._overlap += np.bincount(bins[truth], weights=1.0 / sizes[found], minlength=BINS)
        self.faults += len(sizes)

    def auroc(self) -> float | None:
        """Pixel AUROC, or None without both good and faulty pixels."""
        return _area(self._good, self._faulty)

    def aupro(self) -> float | None:
        """Area under the mean per-region overlap, false positive rate 0 to 0.3, normalised to 0..1.

        Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 129, 2021, section 4.2. None without
        both good and faulty pixels.
        """
        if not self.faults or not self._good.any():
            return None
        rate = np.concatenate([[0.0], np.cumsum(self._good[::-1]) / self._good.sum()])
        overlap = np.concatenate([[0.0], np.cumsum(self._overlap[::-1]) / self.faults])
        inside = rate <= AUPRO_FPR
        rates = np.append(rate[inside], AUPRO_FPR)
        overlaps = np.append(overlap[inside], np.interp(AUPRO_FPR, rate, overlap))
        return float(np.trapezoid(overlaps, rates) / AUPRO_FPR)


def _bins(scores: F32) -> npt.NDArray[np.int64]:
    low, high = np.arcsinh(LOWEST_SIGMA), np.arcsinh(HIGHEST_SIGMA)
    scaled = (np.arcsinh(scores.astype(np.float64)) - low) * ((BINS - 1) / (high - low))
    return np.asarray(np.clip(np.nan_to_num(scaled), 0, BINS - 1), np.int64)
