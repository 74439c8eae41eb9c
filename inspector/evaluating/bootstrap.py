"""How sure a figure is: bootstrap 95 % confidence intervals over images.

Images are drawn with replacement, as many good and as many faulty ones as there were, and the figure is
worked out anew; the interval is that between the 2.5th and the 97.5th percentile (Davison and Hinkley,
Bootstrap Methods and their Application, 1997, sections 2.4 and 5.3.1). Whole images are drawn, because tiles
and pixels of one image resemble each other. The same images in the same order give the same interval.

What it can't know: faults and good web that no image shows. A figure of 1 has the interval [1, 1] however
few the images are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from inspector.evaluating.metrics import ImageCounts, aupro_of_counts, auroc_of_counts
from inspector.images.reading import Mask
from inspector.records import F64

Interval: TypeAlias = tuple[float, float]  # low, high

RESAMPLES = 1000
SEED = 20230609
BLOCK = 100  # resamples held at a time
TAILS = 0.025, 0.975


def auroc_ci95(
    scores: Sequence[npt.ArrayLike], faulty: Sequence[npt.ArrayLike], image_faulty: npt.ArrayLike
) -> Interval | None:
    """Interval of the AUROC over items that come in images.

    Args:
        scores: one array per image, float [N_i]: its tiles', or its own one.
        faulty: bool [N_i] each, the items' labels.
        image_faulty: bool [images], which of both kinds an image is drawn with.

    Returns:
        (low, high), which hold the figure itself; None where the figure is undefined, or where there is one
        single good or one single faulty image, of which nothing can be drawn but itself.
    """
    drawn_with = np.asarray(image_faulty, np.bool_)
    if not can_be_drawn(drawn_with):
        return None
    labels = np.concatenate([np.asarray(one, np.bool_) for one in faulty])
    of_image = np.repeat(np.arange(len(scores)), [len(np.asarray(one)) for one in scores])
    values = np.concatenate([np.asarray(one, np.float64) for one in scores])
    levels, places = np.unique(values, return_inverse=True)
    good_places, faulty_places = places[~labels], places[labels]
    good_of, faulty_of = of_image[~labels], of_image[labels]

    def figure(weights: F64) -> float | None:
        return auroc_of_counts(
            np.bincount(good_places, weights[good_of], len(levels)),
            np.bincount(faulty_places, weights[faulty_of], len(levels)),
        )

    drawn = [figure(weights) for block in draws(drawn_with) for weights in block]
    return interval(figure(np.ones(len(scores))), drawn)


def pixel_ci95(
    images: Sequence[ImageCounts],
    image_faulty: npt.ArrayLike,
    pixel_auroc: float | None,
    aupro: float | None,
) -> tuple[Interval | None, Interval | None]:
    """Intervals of pixel AUROC and AUPRO, in that order.

    Args:
        images: each one's counts in wide bins; what these round away is far below the interval's width.
        image_faulty: bool [images], which of both kinds an image is drawn with.
        pixel_auroc: the figure itself, from the fine bins.
        aupro: likewise.

    Returns:
        (low, high) of each, which hold the figure itself, or None as in ``auroc_ci95``.
    """
    drawn_with = np.asarray(image_faulty, np.bool_)
    if not can_be_drawn(drawn_with):
        return None, None
    # Most bins lie beyond all scores; empty ones change no figure, and their sums would take most of the time.
    used = np.any([(one.good > 0) | (one.faulty > 0) for one in images], axis=0)
    good, faulty, overlap = (
        np.stack([getattr(one, name)[used] for one in images]).astype(np.float64)
        for name in ("good", "faulty", "overlap")
    )
    faults = np.array([one.faults for one in images], np.float64)
    aurocs: list[float | None] = []
    aupros: list[float | None] = []
    for block in draws(drawn_with):
        good_sum, overlap_sum, faults_sum = block @ good, block @ overlap, block @ faults
        aurocs += [auroc_of_counts(*both) for both in zip(good_sum, block @ faulty, strict=True)]
        aupros += [aupro_of_counts(*all_) for all_ in zip(good_sum, overlap_sum, faults_sum, strict=True)]
    return interval(pixel_auroc, aurocs), interval(aupro, aupros)


def can_be_drawn(image_faulty: Mask) -> bool:
    """Whether drawing these images again can give others: bool [images], neither kind a single one."""
    counts = int(image_faulty.sum()), int((~image_faulty).sum())
    return 1 not in counts and any(counts)


def draws(image_faulty: Mask) -> Iterator[F64]:
    """How often each image is drawn: float64 [BLOCK, images] at a time, RESAMPLES rows in all."""
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES // BLOCK):
        weights = np.zeros((BLOCK, len(image_faulty)))
        for stratum in (image_faulty, ~image_faulty):
            count = int(stratum.sum())
            if count:
                weights[:, stratum] = rng.multinomial(count, np.full(count, 1 / count), BLOCK)
        yield weights


def interval(figure: float | None, drawn: Sequence[float | None]) -> Interval | None:
    """Percentiles of the resamples in which the figure is defined, widened to hold the figure itself."""
    defined = [one for one in drawn if one is not None]
    if figure is None or not defined:
        return None
    low, high = (float(edge) for edge in np.quantile(defined, TAILS))
    return min(low, figure), max(high, figure)
