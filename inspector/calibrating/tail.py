"""The tail of good scores: from a few hundred good tiles to a limit that one tile in 100,000 exceeds.

Scores are the highest cells of blocks (``blocks``), sixteen to a tile: with as few tiles as 51, whose peaks leave 15
to fit a tail to, limits scatter less and bring fewer false alarms (``tools/limit_trial.py``; its table is in
docs/method.md). Where below it says tile, the same holds for whatever the scores are of.

Peaks over threshold (Coles, An Introduction to Statistical Modeling of Extreme Values, 2001, section
4.3): what exceeds a high threshold u follows a generalised Pareto distribution with scale s and shape
c, and the score exceeded by a share p of all tiles is

    x(p) = u + s / c * ((q / p) ** c - 1),  for c -> 0:  u + s * log(q / p),  q = share of tiles above u

Scale and shape by probability-weighted moments (Hosking and Wallis, Technometrics 29, 1987), which
hold for small samples. The shape of a few dozen exceedances is mostly noise, so it is drawn to a prior
and kept within bounds: neither a finite end of the tail is believed in, nor a tail without a mean.

A limit too low costs false alarms, one too high lets faults through; the confidence settles between them.
In trials on Gumbel, gamma, lognormal and clustered scores (238 tiles, one in 30,000 asked for, 30 runs
each) the bound at 80 % lay 11 to 26 % above the true quantile and brought 0.2 to 0.7 times the false alarms
asked for on average. At 95 % limits were a tenth higher; at 50 % there were one to three times the alarms
asked for; with shapes down to -0.2 one to two times. On a heavy tail (Student, 6 degrees) the bound
brought 2.5 times the alarms asked for, and with 85 tiles up to 2.6 times on the others.

The upper bound is a bootstrap percentile, images drawn first and tiles within them second (Davison and
Hinkley, Bootstrap Methods, 1997, section 3.8), because tiles of one image resemble each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from inspector.images.far_above import far_above
from inspector.records import F64

TAIL_SHARE = 0.1  # of the tiles lie above u
LEAST_EXCEEDANCES = 15
PRIOR_SHAPE = 0.0  # exponential: the domain of maxima of Gauss-like cells
PRIOR_DEVIATION = 0.1
LOWEST_SHAPE, HIGHEST_SHAPE = 0.0, 0.5
LEAST_SPREAD = 1e-5  # of the threshold; less is rounding, not web
CONFIDENCE = 0.8
RESAMPLES = 300
LEAST_TILES = 50
LEAST_IMAGES = 2  # that count; how images differ from each other can't be told from one
FARTHEST = 1000.0  # times the tail may be carried beyond the tiles seen
SOUND = 10  # times the fewest tiles
SOUND_IMAGES = 10  # fewer draw a bootstrap that hardly knows how images differ
SUSPECT_RATE = 0.01  # how often the highest of good tiles may look like a suspect
SUSPECT_SHARE = 0.1  # of the images; beyond it those that are not far above the median are the web's nature
SEED = 20230609


@dataclass(frozen=True, slots=True)
class Tail:
    """A fitted tail; scores in sigma."""

    threshold: float  # u
    exceedances: int
    share: float  # q
    scale: float  # s
    shape: float  # c

    def quantile(self, rate: float) -> float:
        """The score that a share ``rate`` of good tiles exceeds; never below the threshold."""
        ratio = max(self.share / rate, 1.0)
        if abs(self.shape) < 1e-9:
            return self.threshold + self.scale * math.log(ratio)
        return self.threshold + self.scale / self.shape * float(ratio**self.shape - 1)

    def share_above(self, score: float) -> float:
        """The share of good tiles that exceeds a score from the threshold on: ``quantile`` the other way round."""
        excess = (score - self.threshold) / self.scale
        if abs(self.shape) < 1e-9:
            return self.share * math.exp(-excess)
        return self.share * float((1 + self.shape * excess) ** (-1 / self.shape))


def fit_tail(scores: F64, most: int | None = None) -> Tail:
    """Fit the upper tail of good blocks' scores, float [N], N > 15, finite.

    Args:
        scores: of blocks.
        most: exceedances that take part at most; None: TAIL_SHARE of all.

    Raises:
        ValueError: nothing lies above the threshold (the highest scores are all equal).
    """
    count = len(scores)
    above = max(LEAST_EXCEEDANCES, min(int(TAIL_SHARE * count), most or count))
    top = np.sort(np.partition(scores, count - above - 1)[count - above - 1 :])
    threshold, excess = float(top[0]), top[1:] - top[0]
    mean = float(excess.mean())
    if mean <= LEAST_SPREAD * abs(threshold):
        raise ValueError("the highest scores are all equal")
    # a1 estimates E[Y (1 - F(Y))]; plotting positions (i - 0.35) / n as Hosking and Wallis advise.
    a1 = float(((1 - (np.arange(1, above + 1) - 0.35) / above) * excess).mean())
    measured = 2 - mean / (mean - 2 * a1) if mean > 2 * a1 else -math.inf
    shape = _shrunk(measured, above)
    return Tail(threshold, above, above / count, mean * (1 - shape), shape)


def _shrunk(shape: float, exceedances: int) -> float:
    """Weigh a measured shape against the prior; its variance near zero is 4 / (3 n) (ibid., equation 9)."""
    if not math.isfinite(shape):
        return 0.0
    trust = PRIOR_DEVIATION**2 / (PRIOR_DEVIATION**2 + 4 / (3 * exceedances))
    return min(max(PRIOR_SHAPE + trust * (shape - PRIOR_SHAPE), LOWEST_SHAPE), HIGHEST_SHAPE)


def upper_bound(
    scores: Sequence[F64], rate: float, confidence: float = CONFIDENCE, most: int | None = None
) -> float:
    """One-sided upper confidence bound of ``fit_tail(...).quantile(rate)``.

    Args:
        scores: one array of block scores per image.
        rate: share of good blocks above the score.
        confidence: of the bound.
        most: as ``fit_tail`` takes it.
    """
    random = np.random.default_rng(SEED)
    quantiles = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(scores), size=len(scores))
        sample = np.concatenate([random.choice(scores[i], len(scores[i])) for i in drawn])
        if len(sample) <= LEAST_EXCEEDANCES:
            continue
        try:
            quantiles.append(fit_tail(sample, most).quantile(rate))
        except ValueError:
            quantiles.append(float(sample.max()))
    return float(np.quantile(quantiles, confidence))


@dataclass(frozen=True, slots=True)
class FoundLimit:
    """What the good blocks of some images say about a limit; in the unit of their scores."""

    limit: float
    blocks: int  # that count
    highest: float  # of them
    tail: Tail
    quantile: float
    bound: float  # upper confidence bound of the quantile
    suspects: tuple[int, ...]  # places in the list of images, highest first; not counted
    confidence: float = CONFIDENCE  # of the bound
    spread: float = 0.0  # of images against each other (``differing``); 0: none that counts


class TailFields(TypedDict):
    """A tail as a limits file tells it; numbers are rounded to what a person reads."""

    highest_sigma: float
    quantile_sigma: float
    bound_sigma: float
    confidence: float
    tail_threshold_sigma: float
    tail_exceedances: int
    tail_scale_sigma: float
    tail_shape: float


def tail_fields(found: FoundLimit) -> TailFields:
    """Return what a limits file tells of a limit whose scores are sigma."""
    return TailFields(
        highest_sigma=round(found.highest, 4),
        quantile_sigma=round(found.quantile, 4),
        bound_sigma=round(found.bound, 4),
        confidence=round(found.confidence, 4),
        tail_threshold_sigma=round(found.tail.threshold, 4),
        tail_exceedances=found.tail.exceedances,
        tail_scale_sigma=round(found.tail.scale, 4),
        tail_shape=round(found.tail.shape, 4),
    )


def find_limit(
    scores: Sequence[F64], rate: float, most: int | None = None, confidence: float = CONFIDENCE
) -> FoundLimit:
    """Set a limit that a share ``rate`` of good blocks exceeds at most, with a confidence: of 80 % unless told.

    It is the upper bound of the tail's quantile, and never below the highest good block. Images of which
    even the other images' tail can't be the explanation are *suspects*, most likely faults among the good
    images: they don't count, because a limit set by a fault would let its like pass.

    Args:
        scores: per image its blocks' scores, float64 [N], finite; more than 15 in all.
        rate: share of good blocks.
        most: as ``fit_tail`` takes it.
        confidence: of the bound.

    Raises:
        ValueError: the highest scores are all equal.
    """
    suspects = _suspects(scores, most)
    kept = [one for place, one in enumerate(scores) if place not in suspects]
    blocks = np.concatenate(kept)
    tail = fit_tail(blocks, most)
    bound = upper_bound(kept, rate, confidence, most)
    highest = float(blocks.max())
    return FoundLimit(
        max(bound, highest), len(blocks), highest, tail, tail.quantile(rate), bound, suspects, confidence
    )


def _suspects(scores: Sequence[F64], most: int | None) -> tuple[int, ...]:
    """Images whose highest block the tail of the others would bring once in a hundred such sets at most.

    Those far above the median are held against the tail of the images that are not: several faults together make
    a tail that explains each of them. Then, one by one, the highest against the tail of all others.
    """
    highest = np.array([one.max() for one in scores])
    far = far_above(highest)
    plain = [place for place in range(len(scores)) if place not in far]
    found = [place for place in far if _stands_out(scores, place, plain, most)]
    by_peak = [place for place in np.argsort(-highest, kind="stable").tolist() if place not in found]
    more = max(1, int(SUSPECT_SHARE * len(scores))) - len(found)
    for place in by_peak[: max(0, more)]:
        if not _stands_out(scores, place, [other for other in by_peak if other not in (*found, place)], most):
            break
        found.append(place)
    return tuple(found)


def _stands_out(scores: Sequence[F64], place: int, others: Sequence[int], most: int | None) -> bool:
    """Whether the tail of other images doesn't explain the highest block of one; False where they are too few."""
    count = sum(len(scores[other]) for other in others)
    if count < LEAST_TILES:
        return False
    bound = upper_bound([scores[other] for other in others], SUSPECT_RATE / count, most=most)
    return bool(scores[place].max() > bound)
