"""Whether a new engine decides as the reference does where it counts: at a line's limit, on good web.

This room knows neither images nor limits: a room above brings both, and hands the web to any engine it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inspector.backends.golden import Tolerance
from inspector.interfaces import Backend
from inspector.records import F32


class AtLimit(Protocol):
    """Good web of a line, and the limit that it is held against."""

    @property
    def limit_sigma(self) -> float:
        """Of the line, on the scale of ``peaks``."""

    @property
    def false_alarm_rate(self) -> float:
        """What share of the pieces may be called faulty, as was asked for when the limit was calibrated."""

    def peaks(self, backend: Backend) -> F32:
        """Score the same web with any engine: the highest value of each of N pieces, [N], sigma.

        Raises InspectorError: the web can't be scored.
        """


@dataclass(frozen=True, slots=True)
class Decisions:
    """Pieces of good web, decided by two engines."""

    pieces: int
    differ: int  # above the limit with the one, not with the other
    allowed: int  # as many as false alarms were asked for in so much web; one at least
    near: int  # so near to the limit that the tolerance of the precision alone may decide them otherwise

    @property
    def words(self) -> str:
        """In a sentence's middle."""
        return (
            f"decides {self.differ} of {self.pieces} pieces of good web otherwise than the reference ({self.allowed} "
            f"may be, {self.near} are as near to the limit as is tolerated)"
        )


def compare(at_limit: AtLimit, reference: F32, seen: F32, tolerance: Tolerance) -> Decisions:
    """Lay the peaks of the new engine beside those of the reference, [N] each, sigma."""
    limit = np.full_like(reference, at_limit.limit_sigma)
    return Decisions(
        pieces=len(reference),
        differ=int(((seen > limit) != (reference > limit)).sum()),
        allowed=max(1, int(at_limit.false_alarm_rate * len(reference))),
        near=int((tolerance.units(reference, limit) <= 1).sum()),
    )
