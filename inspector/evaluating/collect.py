"""What is kept of test images gone through, and the figures that follow from it. Nothing here opens a file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np

from inspector.evaluating.bootstrap import Interval, auroc_ci95, pixel_ci95
from inspector.evaluating.faults import faults_of
from inspector.evaluating.metrics import Curve, PixelFigures, auroc, roc
from inspector.evaluating.peaks import Peaks
from inspector.evaluating.report import ImageScore, KindFigures
from inspector.evaluating.seeing import Seen, inside, on_canvas
from inspector.images.reading import GOOD, Mask
from inspector.images.scoring import Scored
from inspector.records import F32, Grid


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of merit with their intervals; see ``report.Evaluation``."""

    image_auroc: float | None
    image_auroc_ci95: Interval | None
    tile_auroc: float | None
    tile_auroc_ci95: Interval | None
    pixel_auroc: float | None
    pixel_auroc_ci95: Interval | None
    aupro: float | None
    aupro_ci95: Interval | None
    by_kind: dict[str, KindFigures]


@dataclass(frozen=True, slots=True)
class Curves:
    """What the report draws; None where undefined."""

    image_roc: Curve | None
    pixel_roc: Curve | None
    pro: Curve | None


class Collected:
    """Test images, one after the other. Their pixels are not kept.

    Args:
        grid: how tiles lie.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.scores: list[ImageScore] = []
        self.peaks: list[Peaks] = []  # of the same images
        self.rows: list[int] = []  # of web that each of them shows
        self.columns: list[int] = []
        self.seconds = 0.0
        self.masks = 0
        self.without_mask = 0
        self.without_web = 0
        self.faults_outside = 0
        self.learnt = 0
        self.held_back = 0
        self.good_calibrated = 0
        self.repeated = 0
        self._pixels_sha256: set[str] = set()
        self._tile_scores: list[F32] = []  # of images with a truth
        self._tile_faulty: list[Mask] = []
        self._with_truth: list[bool] = []  # their labels: faulty or not
        self._pixels: defaultdict[str, PixelFigures] = defaultdict(PixelFigures)  # of each kind

    def add(self, seen: Seen) -> Peaks | None:
        """Count an image. Returns what a limit sees of it, or None where there is no web."""
        scored = seen.scored
        if scored is None:
            self.without_web += 1
            return None
        kind = seen.file.kind
        score = float(scored.tile_scores.max())
        median = float(np.median(scored.cells))
        self.scores.append(ImageScore(seen.name, kind, score, len(scored.tile_scores), median))
        self.rows.append(scored.region.height_px)
        self.columns.append(scored.region.width_px)
        self.seconds += scored.seconds
        self._count_known(seen)
        peaks = self._peaks(seen, scored)
        self.peaks.append(peaks)
        if seen.truth is None or peaks.faulty is None:
            self.without_mask += 1
            return peaks
        judged, scores = on_canvas(seen, scored, self.grid.px_per_cell)
        self.masks += kind != GOOD
        self._pixels[kind].add(scores, seen.truth, judged)
        self.faults_outside += _faults_outside(seen.truth, judged)
        self._tile_scores.append(scored.tile_scores)
        self._tile_faulty.append(peaks.faulty)
        self._with_truth.append(kind != GOOD)
        return peaks

    def _count_known(self, seen: Seen) -> None:
        """Count what makes figures look better, or surer, than they are."""
        self.learnt += seen.before.learnt
        self.held_back += seen.before.held_back
        self.good_calibrated += seen.before.calibrated and seen.file.kind == GOOD
        self.repeated += seen.pixels_sha256 in self._pixels_sha256
        self._pixels_sha256.add(seen.pixels_sha256)

    def _peaks(self, seen: Seen, scored: Scored) -> Peaks:
        kind, tiles, cell = seen.file.kind, scored.map_peaks.astype(np.float64), self.grid.px_per_cell
        if seen.truth is None:
            return Peaks(seen.name, kind, tiles, None, ())
        truth = seen.truth[inside(scored.region)]
        faults = faults_of(truth, scored.judged, cell, tolerance_px=cell)
        return Peaks(seen.name, kind, tiles, _faulty_tiles(truth, scored, self.grid.tile_px), faults)

    @property
    def kinds(self) -> dict[str, int]:
        """Images of each kind, "good" among them."""
        return dict(sorted(Counter(one.kind for one in self.scores).items()))

    @property
    def tiles_faulty(self) -> int:
        """Tiles with a pixel of a mask."""
        return sum(int(one.sum()) for one in self._tile_faulty)

    @property
    def faults(self) -> int:
        """8-connected pieces of the masks, inside the region."""
        return sum(one.faults for one in self._pixels.values())

    def figures(self) -> Figures:
        """Work out the figures of merit."""
        tile_auroc = tile_ci = None
        if self.masks:
            tile_auroc = auroc(np.concatenate(self._tile_scores), np.concatenate(self._tile_faulty))
            tile_ci = auroc_ci95(self._tile_scores, self._tile_faulty, self._with_truth)
        of_all = self._of(self.kinds)
        return Figures(
            image_auroc=of_all.image_auroc,
            image_auroc_ci95=of_all.image_auroc_ci95,
            tile_auroc=tile_auroc,
            tile_auroc_ci95=tile_ci,
            pixel_auroc=of_all.pixel_auroc,
            pixel_auroc_ci95=of_all.pixel_auroc_ci95,
            aupro=of_all.aupro,
            aupro_ci95=of_all.aupro_ci95,
            by_kind={kind: self._of((GOOD, kind)) for kind in self.kinds if kind != GOOD},
        )

    def curves(self) -> Curves:
        """ROC over images and pixels, and PRO."""
        image_roc = roc(*self._image_scores(self.kinds))
        if not self.masks:
            return Curves(image_roc, None, None)
        pixels = PixelFigures.of_all(self._pixels.values())
        return Curves(image_roc, pixels.roc(), pixels.pro())

    def _image_scores(self, kinds: Collection[str]) -> tuple[list[float], list[bool]]:
        of_kinds = [one for one in self.scores if one.kind in kinds]
        return [one.score for one in of_kinds], [one.kind != GOOD for one in of_kinds]

    def _of(self, kinds: Collection[str]) -> KindFigures:
        """Work out the figures of images of these kinds alone."""
        scores, faulty = self._image_scores(kinds)
        pixel_auroc, aupro, pixel_ci, aupro_ci = self._pixel_figures(kinds)
        return KindFigures(
            image_auroc=auroc(scores, faulty),
            image_auroc_ci95=auroc_ci95([[one] for one in scores], [[one] for one in faulty], faulty),
            pixel_auroc=pixel_auroc,
            pixel_auroc_ci95=pixel_ci,
            aupro=aupro,
            aupro_ci95=aupro_ci,
        )

    def _pixel_figures(
        self, kinds: Collection[str]
    ) -> tuple[float | None, float | None, Interval | None, Interval | None]:
        """Pixel AUROC and AUPRO of images of these kinds, then their intervals; None without masks."""
        parts = {kind: one for kind, one in self._pixels.items() if kind in kinds}
        if not parts.keys() - {GOOD}:
            return None, None, None, None
        pixels = PixelFigures.of_all(parts.values())
        faulty = np.repeat([kind != GOOD for kind in parts], [len(one.images) for one in parts.values()])
        pixel_auroc, aupro = pixels.auroc(), pixels.aupro()
        return pixel_auroc, aupro, *pixel_ci95(pixels.images, faulty, pixel_auroc, aupro)


def _faulty_tiles(truth: Mask, scored: Scored, tile_px: int) -> Mask:
    """Which tiles have a pixel of the mask: bool [N]. ``truth`` is the region's."""
    tiles = (truth[row : row + tile_px, column : column + tile_px] for row, column in scored.origins_px)
    return np.array([tile.any() for tile in tiles], np.bool_)


def _faults_outside(truth: Mask, judged: Mask) -> int:
    """How many 8-connected pieces of the mask no judged pixel touches."""
    count, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    touched = np.unique(labels[truth & judged])
    return int(count - 1 - len(touched))
