"""Which good images score far above the others: the one rule of training, teaching and calibration.

An image is held against the median of all, which a few faults among them do not move; against their tail they
could hide each other.
"""

from __future__ import annotations

import numpy as np

from inspector.records import F64

# Of 149 good images of two real packs three lie farther, two of them with a speck or a streak to be seen.
SPREADS = 5.5  # robust standard deviations (1.4826 MAD) above the median
LEAST_SPREAD = 0.25  # of the median: few images may look more alike than they are


def far_above(highest: F64) -> list[int]:
    """Return the places of images whose highest score is far above what the others' are, worst first.

    Args:
        highest: of each image, float64 [N], N >= 1, sigma; below 1 sigma all are alike.
    """
    median = float(np.median(highest))
    spread = max(LEAST_SPREAD * abs(median), 1.4826 * float(np.median(np.abs(highest - median))))
    far = np.flatnonzero(highest > max(1.0, median + SPREADS * spread))
    return [int(place) for place in far[np.argsort(-highest[far], kind="stable")]]
