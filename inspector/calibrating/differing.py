"""Good images that differ from each other: a limit that holds for web that differs as much.

The tail (``tail``) takes blocks of all images together, and its bootstrap draws images again that were seen. Where one
image typically scores a fifth or more higher than another, because light, focus or cloth change along a roll, other web
will have images higher than any that was seen, and no drawing shows them. So this reckons:

    score of a block = factor of its image * score on the typical image,  log factor ~ N(0, spread)

Means over windows (``wide``) move up and down as a whole instead: score = offset of the image + score on the typical
one, offset ~ N(0, spread).

The spread is the deviation of the logarithms of images' medians, less what medians scatter by themselves; a block's
score on the typical image has a tail as ever. Averaged over factors (Gauss and Hermite's rule) that says which limit so
many blocks exceed. The spread is known from few images, so its upper confidence bound counts (chi-squared, by Wilson
and Hilferty, PNAS 17, 1931).

Where images differ by 20 to 30 %, the tail alone keeps its promise in 5 to 68 of 100 runs, on ten images with up to 80
times the false alarms asked for; so raised, in 62 to 98, with 0.3 to 2.6 times (``tools/differing_trial.py``;
docs/method.md has its table).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from inspector.calibrating.tail import CONFIDENCE, FoundLimit, Tail, fit_tail
from inspector.records import F64

LEAST_SPREAD = 0.05  # images more alike than this are what the tail takes them for
LEAST_BLOCKS = 8  # of an image; fewer have no median to speak of
MEDIAN_SCATTER = math.pi / 2  # variance of a median against that of a mean, of Gauss-like values
NODES = 31
HALVINGS = 40
LEAST_TYPICAL = 0.1  # sigma; what scores less is no measure of anything


@dataclass(frozen=True, slots=True)
class Differing:
    """How good images differ, and what blocks score on the typical one."""

    spread: float  # of the logarithm of images' factors, or of their offsets
    images: int
    typical: F64  # block scores, each divided by its image's factor or less its offset, sorted
    tail: Tail  # of these
    by_offsets: bool = False

    @classmethod
    def of(cls, scores: Sequence[F64], *, by_offsets: bool = False) -> Differing | None:
        """Take both from block scores, one array an image.

        Images of fewer than LEAST_BLOCKS don't count; None where fewer than two do, or their tail can't be fitted.
        """
        scores = [one for one in scores if len(one) >= LEAST_BLOCKS]
        if len(scores) < 2:
            return None
        levels = scores if by_offsets else [np.log(np.maximum(one, LEAST_TYPICAL)) for one in scores]
        medians = np.array([np.median(one) for one in levels])
        scatter = float(np.mean([MEDIAN_SCATTER * one.var() / len(one) for one in levels]))
        between = max(0.0, float(medians.var(ddof=1)) - scatter)
        trust = between / (between + scatter) if between else 0.0
        offsets = trust * (medians - medians.mean())
        typical = np.sort(
            np.concatenate(
                [
                    one - offset if by_offsets else one / math.exp(offset)
                    for one, offset in zip(scores, offsets.tolist(), strict=True)
                ]
            )
        )
        try:
            return cls(math.sqrt(between), len(scores), typical, fit_tail(typical), by_offsets)
        except ValueError:
            return None

    def bound(self, rate: float, confidence: float = CONFIDENCE) -> float:
        """The limit that a share ``rate`` of blocks exceeds, the spread as large as it may be with that confidence."""
        least = _chi_squared(self.images - 1, 1 - confidence)
        return self.quantile(rate, self.spread * math.sqrt((self.images - 1) / least))

    def quantile(self, rate: float, spread: float) -> float:
        """The limit that a share ``rate`` of blocks exceeds, over all images that differ by ``spread``."""
        low, high = 0.0, max(float(self.typical[-1]), LEAST_TYPICAL)
        while self.rate_above(high, spread) > rate:
            low, high = high, 2 * high
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rate_above(middle, spread) > rate else (low, middle)
        return high

    def rate_above(self, limit: float, spread: float) -> float:
        """Share of blocks above a limit, over all images that differ by ``spread``."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        offsets = (spread * nodes).tolist()
        shares = [
            self._share_above(limit - offset if self.by_offsets else limit / math.exp(offset))
            for offset in offsets
        ]
        return float(np.dot(weights, shares) / weights.sum())

    def _share_above(self, score: float) -> float:
        """On the typical image: counted where scores were seen, by the tail beyond."""
        if score < self.tail.threshold:
            return 1 - float(np.searchsorted(self.typical, score, side="right")) / len(self.typical)
        return self.tail.share_above(score)


def raised(
    found: FoundLimit,
    scores: Sequence[F64],
    rate: float,
    confidence: float = CONFIDENCE,
    *,
    by_offsets: bool = False,
) -> FoundLimit:
    """A limit as ``find_limit`` found it, raised where images differ so much that it wouldn't hold for others.

    Args:
        found: from these scores.
        scores: per image its blocks' scores, suspects among them.
        rate: share of good blocks.
        confidence: of the bound.
        by_offsets: whether images differ by an offset instead of a factor.
    """
    kept = [one for place, one in enumerate(scores) if place not in found.suspects]
    differing = Differing.of(kept, by_offsets=by_offsets)
    if differing is None or differing.spread < LEAST_SPREAD:
        return found
    bound = max(found.bound, differing.bound(rate, confidence))
    return replace(found, bound=bound, limit=max(found.limit, bound), spread=differing.spread)


def _chi_squared(freedom: int, share: float) -> float:
    """The quantile of chi-squared that a ``share`` of it lies below."""
    part = 2 / (9 * freedom)
    return freedom * (1 - part + NormalDist().inv_cdf(share) * math.sqrt(part)) ** 3
