"""What a threshold makes of the test images: right and wrong alarms, and what escapes, by type and by size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from inspector.evaluating.bootstrap import Interval
from inspector.evaluating.faults import Fault
from inspector.evaluating.peaks import Peaks
from inspector.evaluating.threshold import Threshold
from inspector.images.reading import GOOD

SIZE_EDGES_PX = (4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Confusion:
    """Items above and below a threshold; ratios are None where they divide by zero."""

    true_positives: int  # faulty and above
    false_positives: int  # good and above
    false_negatives: int  # faulty and not above
    true_negatives: int
    precision: float | None  # TP / (TP + FP)
    recall: float | None  # TP / (TP + FN)
    f1: float | None  # 2 TP / (2 TP + FP + FN), the harmonic mean of both
    f1_ci95: Interval | None = None


@dataclass(frozen=True, slots=True)
class KindEscapes:
    """Escapes of one kind of fault. Intervals are those of shares, 0 to 1, None as ``threshold`` says."""

    images: int
    images_escaped: int  # no tile above
    images_off_fault: int  # above, but on none of the faults that the mask shows: right by chance
    faults: int
    faults_escaped: int
    images_escaped_share_ci95: Interval | None = None  # of images_escaped / images
    faults_escaped_share_ci95: Interval | None = None  # of faults_escaped / faults


@dataclass(frozen=True, slots=True)
class SizeEscapes:
    """Escapes of faults whose extent lies in [from, to)."""

    from_px: int
    to_px: int | None  # None: no upper edge
    from_mm: float | None  # None: no line, or no upper edge
    to_mm: float | None
    faults: int
    faults_escaped: int
    faults_escaped_share_ci95: Interval | None


@dataclass(frozen=True, slots=True)
class Escapes:
    """Faulty images and faults that stay at or below a threshold."""

    images: int
    images_escaped: int
    images_escaped_share_ci95: Interval | None
    faults: int
    faults_escaped: int
    faults_escaped_share_ci95: Interval | None
    by_kind: dict[str, KindEscapes]
    by_size: tuple[SizeEscapes, ...]


def escapes(images: Sequence[Peaks], threshold: Threshold, mm_per_px: float | None) -> Escapes:
    """Count faulty images and faults that stay at or below a threshold; ``mm_per_px`` None leaves out mm."""
    kinds = sorted({one.kind for one in images} - {GOOD})
    edges = pairwise((0, *SIZE_EDGES_PX, None))
    return Escapes(
        *threshold.escaped([[] if one.kind == GOOD else [one.highest] for one in images]),
        *_faults(images, threshold, lambda fault: True),
        by_kind={kind: _of_kind(images, kind, threshold) for kind in kinds},
        by_size=tuple(_of_size(images, threshold, low or 0, high, mm_per_px) for low, high in edges),
    )


def confusion(above: npt.ArrayLike, faulty: npt.ArrayLike) -> Confusion:
    """Count bool [N] decisions against bool [N] labels; no interval."""
    alarmed, labels = np.asarray(above, np.bool_), np.asarray(faulty, np.bool_)
    tp, fp = int((alarmed & labels).sum()), int((alarmed & ~labels).sum())
    fn, tn = int((~alarmed & labels).sum()), int((~alarmed & ~labels).sum())
    return Confusion(
        tp, fp, fn, tn, _ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn)
    )


def image_confusion(images: Sequence[Peaks], threshold: Threshold) -> Confusion:
    """Hold images against a threshold by their highest tile."""
    return _confusion([[one.highest] for one in images], [[one.kind != GOOD] for one in images], threshold)


def tile_confusion(images: Sequence[Peaks], threshold: Threshold) -> Confusion | None:
    """Hold the tiles of images with a truth against a threshold; None without any mask."""
    if not any(one.faulty is not None for one in images if one.kind != GOOD):
        return None
    peaks = [one.tiles if one.faulty is not None else one.tiles[:0] for one in images]
    faulty = [one.faulty if one.faulty is not None else np.zeros(0, np.bool_) for one in images]
    return _confusion(peaks, faulty, threshold)


def _confusion(
    peaks: Sequence[npt.ArrayLike], faulty: Sequence[npt.ArrayLike], threshold: Threshold
) -> Confusion:
    above = np.concatenate([np.asarray(one, np.float64) for one in peaks]) > threshold.sigma
    found = confusion(above, np.concatenate([np.asarray(one, np.bool_) for one in faulty]))
    return replace(found, f1_ci95=threshold.f1_ci95(found.f1, peaks, faulty))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _faults(
    images: Sequence[Peaks], threshold: Threshold, which: Callable[[Fault], bool]
) -> tuple[int, int, Interval | None]:
    return threshold.escaped([[fault.peak_sigma for fault in one.faults if which(fault)] for one in images])


def _of_kind(images: Sequence[Peaks], kind: str, threshold: Threshold) -> KindEscapes:
    count, missed, images_ci95 = threshold.escaped(
        [[one.highest] if one.kind == kind else [] for one in images]
    )
    faults, faults_missed, faults_ci95 = threshold.escaped(
        [[fault.peak_sigma for fault in one.faults] if one.kind == kind else [] for one in images]
    )
    off = sum(_off_fault(one, threshold.sigma) for one in images if one.kind == kind)
    return KindEscapes(count, missed, off, faults, faults_missed, images_ci95, faults_ci95)


def _off_fault(one: Peaks, threshold_sigma: float) -> bool:
    on_fault = any(fault.peak_sigma > threshold_sigma for fault in one.faults)
    return one.faulty is not None and one.highest > threshold_sigma and not on_fault


def _of_size(
    images: Sequence[Peaks], threshold: Threshold, low: int, high: int | None, mm_per_px: float | None
) -> SizeEscapes:
    return SizeEscapes(
        low,
        high,
        None if mm_per_px is None else low * mm_per_px,
        None if mm_per_px is None or high is None else high * mm_per_px,
        *_faults(
            images,
            threshold,
            lambda fault: low <= fault.extent_px and (high is None or fault.extent_px < high),
        ),
    )
