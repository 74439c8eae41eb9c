"""Figures of merit: ROC, AUROC, PRO and AUPRO, exact for the scores they are given, in bounded memory.

Pixel figures would need every pixel's score at once. Here each score is put into one of 262,144 bins,
equally wide on an arcsinh scale (0.00008 sigma near zero, 0.008 % of the score far out), and the
figures are exact for scores so rounded: equal bins count as ties. Each image's own counts are kept in
64 times wider bins, for ``bootstrap``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from inspector.images.reading import Mask
from inspector.records import F32, F64

Counts: TypeAlias = npt.NDArray[Any]  # real numbers [levels], by rising score

BINS = 1 << 18
WIDE_BINS = 1 << 12
LOWEST_SIGMA, HIGHEST_SIGMA = -100.0, 1e6  # beyond them scores are ties
AUPRO_FPR = 0.3


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve over the false positive rate, from (0, 0) to (1, 1)."""

    x: F64  # [K], rising: share of good items at or above a threshold
    y: F64  # [K], rising: share of faulty items (ROC), or mean share of each fault's pixels (PRO)


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """One image's judged pixels in wide bins of rising score."""

    good: npt.NDArray[np.int32]  # [WIDE_BINS]
    faulty: npt.NDArray[np.int32]  # [WIDE_BINS]
    overlap: F32  # [WIDE_BINS]; each fault's pixels, weighing 1 together
    faults: int


NONE_FAULTY = np.zeros(WIDE_BINS, np.int32), np.zeros(WIDE_BINS, np.float32)  # shared by all good images


def auroc(scores: npt.ArrayLike, faulty: npt.ArrayLike) -> float | None:
    """Area under the ROC curve: how often a faulty item scores above a good one, ties counting half.

    Args:
        scores: float [N], finite.
        faulty: bool [N].

    Returns:
        0 to 1, or None where one of the classes is empty. (Mann-Whitney U over the product of the counts.)
    """
    return auroc_of_counts(*_counts(scores, faulty))


def roc(scores: npt.ArrayLike, faulty: npt.ArrayLike) -> Curve | None:
    """Return the ROC curve of float [N] scores and bool [N] labels; None where one of the classes is empty."""
    return roc_of_counts(*_counts(scores, faulty))


def _counts(scores: npt.ArrayLike, faulty: npt.ArrayLike) -> tuple[Counts, Counts]:
    values, labels = np.asarray(scores, np.float64), np.asarray(faulty, np.bool_)
    levels, places = np.unique(values, return_inverse=True)
    return (
        np.bincount(places[~labels], minlength=len(levels)),
        np.bincount(places[labels], minlength=len(levels)),
    )


def auroc_of_counts(good: Counts, faulty: Counts) -> float | None:
    """AUROC of counts per level, both [levels]; None where one of the classes is empty."""
    if not good.any() or not faulty.any():
        return None
    below = np.cumsum(good) - good
    wins = float((faulty * (below + 0.5 * good)).sum(dtype=np.float64))
    return wins / (float(good.sum()) * float(faulty.sum()))


def roc_of_counts(good: Counts, faulty: Counts) -> Curve | None:
    """ROC curve of counts per level, both [levels]; None where one of the classes is empty."""
    if not good.any() or not faulty.any():
        return None
    return Curve(_from_above(good, float(good.sum())), _from_above(faulty, float(faulty.sum())))


def pro_of_counts(good: Counts, overlap: Counts, faults: float) -> Curve | None:
    """Mean per-region overlap over the false positive rate; None without faults or without good pixels.

    Args:
        good: good pixels per level, [levels].
        overlap: faulty pixels per level, each over the size of its fault, [levels].
        faults: how many there are.
    """
    if not faults or not good.any():
        return None
    return Curve(_from_above(good, float(good.sum())), _from_above(overlap, faults))


def aupro_of_counts(good: Counts, overlap: Counts, faults: float) -> float | None:
    """Area under ``pro_of_counts``, false positive rate 0 to 0.3, normalised to 0..1; None where that is None.

    Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 129, 2021, section 4.2.
    """
    curve = pro_of_counts(good, overlap, faults)
    if curve is None:
        return None
    inside = curve.x <= AUPRO_FPR
    rates = np.append(curve.x[inside], AUPRO_FPR)
    overlaps = np.append(curve.y[inside], np.interp(AUPRO_FPR, curve.x, curve.y))
    return float(np.trapezoid(overlaps, rates) / AUPRO_FPR)


def _from_above(counts: Counts, total: float) -> F64:
    """Share of ``total`` at or above each level, the highest first, after a 0: float64 [levels + 1]."""
    return np.concatenate([[0.0], np.cumsum(counts[::-1], dtype=np.float64) / total])


class PixelFigures:
    """Pixel AUROC and AUPRO, collected image by image: 6 MB, and 48 kB for each image with faults."""

    def __init__(self) -> None:
        self._good = np.zeros(BINS, np.int64)
        self._faulty = np.zeros(BINS, np.int64)
        self._overlap = np.zeros(BINS, np.float64)  # each fault's pixels, weighing 1 together
        self.faults = 0
        self.images: list[ImageCounts] = []  # in the order of ``add``

    def add(self, scores: F32, mask: Mask, judged: Mask) -> None:
        """Count one image.

        Args:
            scores: float32 [H, W], finite where judged.
            mask: bool [H, W], the truth; 8-connected pixels are one fault.
            judged: bool [H, W]; what lies outside counts for nothing.
        """
        bins = _bins(scores)
        good = np.bincount(bins[judged & ~mask], minlength=BINS)
        self._good += good
        truth = judged & mask
        if not truth.any():
            self.images.append(ImageCounts(_wide(good).astype(np.int32), *NONE_FAULTY, 0))
            return
        faulty = np.bincount(bins[truth], minlength=BINS)
        _, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
        found = labels[truth] - 1
        sizes = np.bincount(found)
        overlap = np.bincount(bins[truth], weights=1.0 / sizes[found], minlength=BINS)
        self._faulty += faulty
        self._overlap += overlap
        self.faults += len(sizes)
        wide = _wide(good).astype(np.int32), _wide(faulty).astype(np.int32), _wide(overlap).astype(np.float32)
        self.images.append(ImageCounts(*wide, len(sizes)))

    @classmethod
    def of_all(cls, parts: Iterable[PixelFigures]) -> PixelFigures:
        """Return the figures of the images of several, one part after the other."""
        whole = cls()
        for part in parts:
            whole._good += part._good
            whole._faulty += part._faulty
            whole._overlap += part._overlap
            whole.faults += part.faults
            whole.images += part.images
        return whole

    def auroc(self) -> float | None:
        """Pixel AUROC, or None without both good and faulty pixels."""
        return auroc_of_counts(self._good, self._faulty)

    def aupro(self) -> float | None:
        """AUPRO (see ``aupro_of_counts``), or None without both good and faulty pixels."""
        return aupro_of_counts(self._good, self._overlap, self.faults)

    def roc(self) -> Curve | None:
        """ROC curve over pixels, or None without both good and faulty ones."""
        return roc_of_counts(self._good, self._faulty)

    def pro(self) -> Curve | None:
        """PRO curve, or None without both good and faulty pixels."""
        return pro_of_counts(self._good, self._overlap, self.faults)


def _bins(scores: F32) -> npt.NDArray[np.int64]:
    low, high = np.arcsinh(LOWEST_SIGMA), np.arcsinh(HIGHEST_SIGMA)
    scaled = (np.arcsinh(scores.astype(np.float64)) - low) * ((BINS - 1) / (high - low))
    return np.asarray(np.clip(np.nan_to_num(scaled), 0, BINS - 1), np.int64)


def _wide(counts: Counts) -> Counts:
    return np.asarray(counts.reshape(WIDE_BINS, -1).sum(axis=1))
