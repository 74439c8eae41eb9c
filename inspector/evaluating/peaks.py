"""One test image as a limit sees it."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.evaluating.faults import Fault
from inspector.images.reading import GOOD, Mask
from inspector.records import F64


@dataclass(frozen=True, slots=True)
class Peaks:
    """The highest cells of one test image's tiles and faults."""

    image: str  # kind/file
    kind: str
    tiles: F64  # [N], highest cell of each tile, sigma
    faulty: Mask | None  # [N], which tiles have a pixel of the mask; None: a faulty image without a mask
    faults: tuple[Fault, ...]  # empty without a mask, and where all of it lies outside the region

    @property
    def highest(self) -> float:
        """Of all its tiles, sigma."""
        return float(self.tiles.max())

    @property
    def good_tiles(self) -> F64:
        """Of a good image all tiles, else none: good tiles beside a fault may show its blur."""
        return self.tiles if self.kind == GOOD else self.tiles[:0]
