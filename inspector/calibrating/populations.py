"""Are the good images of one kind? A plain test for two groups with a gap between them.

Images are sorted by what their web typically scores and parted where the gap is widest, measured in the deviation that
remains within the groups. Among images of one kind (Gauss, Gumbel, uniform, Student with 4 degrees) a gap of
GAP * (1 + 15 / images) comes less than once in a thousand sets (of fewer than ten images, in a hundred). It is told
then; a limit is refused only where the gap is BEYOND_DOUBT times that and one group scores twice as high: one limit
for both would be no limit for the lower one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspector.errors import DataError
from inspector.records import F64

LEAST_IMAGES = 8
LEAST_GROUP, LEAST_SHARE = 3, 0.1  # fewer images are outliers, not a kind of web
GAP = 2.5
BEYOND_DOUBT = 4.0
TIMES = 2.0  # as high
LEAST_DEVIATION = 0.02  # of the logarithm: images more alike than this are no measure of each other


@dataclass(frozen=True, slots=True)
class TwoGroups:
    """Good images that fall apart into two kinds."""

    lower: tuple[int, ...]  # places in the list of images
    upper: tuple[int, ...]
    lower_sigma: float  # what the group typically scores
    upper_sigma: float
    beyond_doubt: bool


class TwoKinds(DataError):
    """Good images plainly of two kinds; whoever knows them by other names than their files' can name them."""

    def __init__(self, said: str, groups: TwoGroups, files: Sequence[Path]) -> None:
        self.lower = tuple(files[place] for place in groups.lower)
        self.upper = tuple(files[place] for place in groups.upper)
        self.lower_sigma, self.upper_sigma = groups.lower_sigma, groups.upper_sigma
        super().__init__(said)


def two_groups(typical: Sequence[float]) -> TwoGroups | None:
    """Part images into two groups, or say that they are of one kind (None).

    Args:
        typical: what each image's web typically scores, sigma.
    """
    count = len(typical)
    if count < LEAST_IMAGES:
        return None
    logs = np.log(np.maximum(typical, 0.1))
    order = np.argsort(logs, kind="stable")
    values: F64 = logs[order]
    least = max(LEAST_GROUP, int(np.ceil(LEAST_SHARE * count)))
    gaps = {cut: _gap(values, cut) for cut in range(least, count - least + 1)}
    cut = max(gaps, key=lambda at: gaps[at])
    wanted = GAP * (1 + 15 / count)
    if gaps[cut] <= wanted:
        return None
    lower, upper = (float(np.exp(np.median(part))) for part in (values[:cut], values[cut:]))
    beyond_doubt = gaps[cut] > BEYOND_DOUBT * wanted and upper > TIMES * lower
    return TwoGroups(
        tuple(int(place) for place in order[:cut]),
        tuple(int(place) for place in order[cut:]),
        lower,
        upper,
        beyond_doubt,
    )


def _gap(values: F64, cut: int) -> float:
    """The gap before place ``cut`` of rising values, in deviations within the two groups."""
    low, high = values[:cut], values[cut:]
    squares = float(((low - low.mean()) ** 2).sum() + ((high - high.mean()) ** 2).sum())
    return float(high[0] - low[-1]) / max(float(np.sqrt(squares / (len(values) - 2))), LEAST_DEVIATION)
