"""A threshold over test images, and how sure the counts at it are: bootstrap 95 % confidence intervals.

F1 and the shares that escape are ratios of counts that add up over images, so ``bootstrap.draws`` weighs them: the
same drawings for every figure. A threshold read off the good test tiles is read off anew from those of each drawing,
for where it lies is as uncertain as what escapes there.

An interval is None where drawing brings nothing but the figure itself: a single image bears on it, or those that do
are alike (none escaped, or all). [0, 0] would read as a promise that so few images can't give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inspector.evaluating.bootstrap import Interval, can_be_drawn, draws, interval
from inspector.evaluating.peaks import Peaks
from inspector.images.reading import GOOD, Mask
from inspector.records import F64


@dataclass(frozen=True, slots=True)
class Threshold:
    """What lies strictly above it is an alarm."""

    sigma: float
    image_faulty: Mask  # [images]
    drawings: tuple[
        tuple[float, F64], ...
    ]  # a threshold, and how often each image is drawn where it holds: [drawings, images]
    off_good_tiles: bool  # read off the good test tiles, so good images bear on whatever is counted

    def escaped(self, peaks: Sequence[npt.ArrayLike]) -> tuple[int, int, Interval | None]:
        """Count what stays at or below.

        Args:
            peaks: one array per image: highest cells of the items it has, sigma; empty where it has none.

        Returns:
            Items, those that escaped, and the interval of the one's share of the other.
        """
        of_image, values = _flat(peaks)
        items = self._per_image(of_image)
        count, missed = len(values), int((values <= self.sigma).sum())
        if not count:
            return 0, 0, None
        share_ci95 = self._ci95(
            missed / count, items > 0, lambda sigma: (self._per_image(of_image[values <= sigma]), items)
        )
        return count, missed, share_ci95

    def f1_ci95(
        self, f1: float | None, peaks: Sequence[npt.ArrayLike], faulty: Sequence[npt.ArrayLike]
    ) -> Interval | None:
        """Interval of F1.

        Args:
            f1: the figure itself.
            peaks: one array per image, as in ``escaped``.
            faulty: bool, likewise: the items' labels.
        """
        of_image, values = _flat(peaks)
        labels = np.concatenate([np.asarray(one, np.bool_) for one in faulty])
        of_faulty = self._per_image(of_image[labels])

        def ratio(sigma: float) -> tuple[F64, F64]:
            """2 TP / (2 TP + FP + FN), where TP + FP are above and TP + FN faulty."""
            above = values > sigma
            return 2 * self._per_image(of_image[above & labels]), self._per_image(of_image[above]) + of_faulty

        return self._ci95(f1, self._per_image(of_image) > 0, ratio)

    def _per_image(self, of_image: npt.NDArray[np.intp]) -> F64:
        return np.bincount(of_image, minlength=len(self.image_faulty)).astype(np.float64)

    def _ci95(
        self, figure: float | None, bears: Mask, ratio: Callable[[float], tuple[F64, F64]]
    ) -> Interval | None:
        """Interval of a ratio of two counts that add up over images.

        Args:
            figure: the ratio itself.
            bears: bool [images], which have items.
            ratio: both counts at a threshold, of each image: float64 [images].
        """
        if self.off_good_tiles:
            bears = bears | ~self.image_faulty
        if not can_be_drawn(self.image_faulty[bears]):
            return None
        drawn: list[float] = []
        for sigma, weights in self.drawings:
            part, whole = (weights @ one for one in ratio(sigma))
            drawn += (part[whole > 0] / whole[whole > 0]).tolist()
        found = interval(figure, drawn)
        return None if found is None or found[0] == found[1] else found


def fixed(images: Sequence[Peaks], sigma: float) -> Threshold:
    """Return a threshold that the test images have no part in."""
    faulty = _faulty(images)
    return Threshold(sigma, faulty, ((sigma, np.concatenate(list(draws(faulty)))),), off_good_tiles=False)


def at_rate(
    images: Sequence[Peaks], false_alarms_per_100m: float, tiles_per_100m: int
) -> tuple[int, Threshold | None]:
    """Read off the good test tiles the threshold that gives just so many false alarms.

    A rate r allows k = floor(N r / tiles_per_100m) of the N good tiles above the threshold, which is therefore the
    score of the (k + 1)-th highest. With k = 0 these tiles can't show the rate, and with k = N the line has not so
    many tiles: nothing is carried beyond what was seen.

    Returns:
        k, and the threshold, None where k is 0 or N.
    """
    faulty = _faulty(images)
    of_image, peaks = _flat([one.good_tiles for one in images])
    order = np.argsort(-peaks, kind="stable")
    of_image, highest_first = of_image[order], peaks[order]

    def read_off(weights: F64) -> tuple[int, float]:
        """k and the threshold, NaN where undefined, of images drawn so often, [images]."""
        at_or_above = np.cumsum(weights[of_image])
        tiles = round(at_or_above[-1]) if len(at_or_above) else 0
        # 1e-9: 0.29 * 100 is 28.999999999999996 in floating point and allows 29.
        allowed = min(math.floor(tiles * false_alarms_per_100m / tiles_per_100m + 1e-9), tiles)
        if not 0 < allowed < tiles:
            return allowed, math.nan
        return allowed, float(highest_first[np.searchsorted(at_or_above, allowed, side="right")])

    allowed, sigma = read_off(np.ones(len(images)))
    if math.isnan(sigma):
        return allowed, None
    weights = np.concatenate(list(draws(faulty)))
    sigmas = np.array([read_off(one)[1] for one in weights])
    levels = np.unique(sigmas[np.isfinite(sigmas)])
    drawings = tuple((float(level), weights[sigmas == level]) for level in levels)
    return allowed, Threshold(sigma, faulty, drawings, off_good_tiles=True)


def _faulty(images: Sequence[Peaks]) -> Mask:
    return np.array([one.kind != GOOD for one in images], np.bool_)


def _flat(items: Sequence[npt.ArrayLike]) -> tuple[npt.NDArray[np.intp], F64]:
    """Which image each item is of, and its value: both [items]."""
    values = [np.asarray(one, np.float64) for one in items]
    of_image = np.repeat(np.arange(len(values)), [len(one) for one in values])
    return of_image, np.concatenate([np.zeros(0), *values])
