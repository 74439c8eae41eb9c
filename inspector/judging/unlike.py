"""Whether the web as a whole is unlike what was learnt: another fabric, other light, a lens out of focus.

A fault is small against a metre of web, and whatever it scores, more than half of the cells around it score as good web
does. So their median tells of the web what no defect does: good web's lies near 0, that of another fabric or of a
blurred picture well above FAR_SIGMA, though few of its cells may be above the limit. Then recipe or optics are wrong,
which is worth one sentence to a person, once. The verdicts stay what they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from inspector.records import Outcome, Verdict

FAR_SIGMA = 3.0  # a median; good tiles of four real packs have 2.1 at most, other fabrics 4 to 15
OVER_M = 1.0  # of inspected web
BEGINS = 0.5  # of its area
ENDS = 0.1


class Unlike:
    """Watches how much of the web is unlike what was learnt, over the last OVER_M that were inspected.

    Args:
        counts_per_m: of the web's encoder.
    """

    def __init__(self, counts_per_m: float) -> None:
        self._counts_per_m = counts_per_m
        self._over = OVER_M * counts_per_m
        self._seen: deque[tuple[int, float]] = deque()  # counts, share of them that is unlike
        self._counts = 0  # of what is in it
        self._far = 0.0  # counts that were unlike, in all
        self._was_told = False
        self.share = 0.0  # of the last OVER_M, while the web is told to be unlike; else 0

    @property
    def metres(self) -> float:
        """How much web was unlike in all; 0 where it never was so much of it that it was told."""
        return self._far / self._counts_per_m if self._was_told else 0.0

    def add(self, verdicts: Sequence[Verdict]) -> bool | None:
        """Take the verdicts of one trigger, one per lane.

        Returns:
            True where the web begins to be unlike, False where it is as learnt again, None where nothing changed.
        """
        looked = [one for one in verdicts if one.outcome is not Outcome.NOT_INSPECTED]
        width = sum(one.x_end_mm - one.x_start_mm for one in looked)
        counts = looked[0].encoder_end - looked[0].encoder_start if looked else 0
        if not (width > 0 and counts > 0):  # a web that stands still says nothing new
            return None
        far = sum(one.x_end_mm - one.x_start_mm for one in looked if one.median >= FAR_SIGMA)
        self._seen.append((counts, far / width))
        self._counts += counts
        self._far += counts * far / width
        while self._counts - self._seen[0][0] >= self._over:
            self._counts -= self._seen.popleft()[0]
        if self._counts < self._over:
            return None
        share = sum(counts * one for counts, one in self._seen) / self._counts
        was = self.share > 0
        now = share >= (ENDS if was else BEGINS)
        self.share = share if now else 0.0
        self._was_told |= now
        return None if now == was else now
