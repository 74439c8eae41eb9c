"""How visible a fault of the loom is, to an observer who knows it and the cloth: a bound for whatever inspects it.

Cloth with faults and the same cloth without are woven side by side; what differs is the fault, D, and good cloth has
the power spectrum S. Who looks for exactly this fault at exactly this place, and takes good cloth for stationary
Gaussian noise, tells both apart by

    d' = sqrt(sum over frequencies of |D|^2 / S)

deviations (prewhitening matched filter; ICRU Report 54, Medical imaging: the assessment of image quality, 1996). An
inspection knows neither fault nor place, so it needs several times the d' that would do for this observer.
"""

from __future__ import annotations

import math

import numpy as np

from inspector import config
from inspector.cameras.loom import Loom
from inspector.cameras.truth import Fault
from inspector.records import F64, U8

BLOCK_PX = 192  # a fault counts by the block of this size that shows most of it
PIECE_PX = 512  # rows woven at a time
SAMPLES = 400  # blocks of good cloth that its spectrum is from


def visibilities(width_px: int, mm_per_px: float, seed: int, per_m: float, metres: float) -> list[float]:
    """Return d' of each fault on a stretch of plain web, in the order of ``Loom.truth``."""
    looms = [Loom(width_px, mm_per_px, "plain", seed, config.FaultMix(per_m=one)) for one in (per_m, 0.0)]
    pieces = math.ceil(metres * 1000 / mm_per_px / PIECE_PX)
    faulty, good = (np.concatenate([loom.rows(PIECE_PX) for _ in range(pieces)]) for loom in looms)
    power = _spectrum(good)
    return [_visibility(fault, faulty, good, power, mm_per_px) for fault in looms[0].truth(0.0, metres)]


def _spectrum(good: U8) -> F64:
    """Power of good cloth by frequency, [block, block]; Hann windows, as Welch averages them."""
    random = np.random.default_rng(0)
    window = np.outer(np.hanning(BLOCK_PX), np.hanning(BLOCK_PX))
    total = np.zeros((BLOCK_PX, BLOCK_PX))
    for _ in range(SAMPLES):
        top, left = (int(random.integers(0, size - BLOCK_PX)) for size in good.shape)
        block = good[top : top + BLOCK_PX, left : left + BLOCK_PX].astype(np.float64)
        total += np.abs(np.fft.fft2((block - block.mean()) * window)) ** 2
    return np.asarray(total / SAMPLES / (window**2).sum(), np.float64)


def _visibility(fault: Fault, faulty: U8, good: U8, power: F64, mm_per_px: float) -> float:
    top, left = round(fault.y_m * 1000 / mm_per_px), round(fault.x_mm / mm_per_px)
    bottom, right = top + round(fault.h_mm / mm_per_px), left + round(fault.w_mm / mm_per_px)
    best = 0.0
    for y in range(top, min(bottom, len(good)), BLOCK_PX):
        for x in range(left, right, BLOCK_PX):
            part = slice(y, min(y + BLOCK_PX, bottom)), slice(x, min(x + BLOCK_PX, right))
            change = np.fft.fft2(faulty[part].astype(np.float64) - good[part], power.shape)
            best = max(best, float((np.abs(change) ** 2 / power).sum()) / power.size)
    return float(np.sqrt(best))
