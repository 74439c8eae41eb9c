"""What an evaluation found: figures and counts, as JSON and in words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from inspector.evaluating.bootstrap import Interval
from inspector.evaluating.escapes import Confusion
from inspector.evaluating.operating import AtLimit, OperatingPoint
from inspector.judging.unlike import FAR_SIGMA

FIGURES = ("image_auroc", "tile_auroc", "pixel_auroc", "aupro")


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image's result."""

    image: str  # kind/file
    kind: str
    score: float  # its highest tile, sigma
    tiles: int
    median: float  # of its cells, sigma


@dataclass(frozen=True, slots=True)
class FaultScore:
    """One fault's result: an 8-connected piece of a mask, inside the region."""

    image: str  # kind/file
    kind: str
    extent_px: int  # longer side of the upright box around it
    area_px: int
    peak_sigma: float  # highest cell on it, or within tolerance_px of it


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out. AUROC and AUPRO run from 0 to 1 and are None where they aren't defined.

    ``..._ci95`` are bootstrap 95 % confidence intervals (low, high), None as ``bootstrap`` says.
    """

    recipe: str
    onnx_sha256: str
    backend: str
    backend_version: str
    precision: str
    inspector: str  # version
    date_utc: str  # ISO 8601
    data: str  # name of the folder
    resize: int | None
    trained_resize: int | None  # as recipe.toml tells it
    overlap_px: int
    region: str
    line: str | None  # whose limit and geometry hold; None: no line was named
    mm_per_px: float | None
    tiles_per_100m: int | None  # of the line's web, by the line's own grid
    image_auroc: float | None
    image_auroc_ci95: Interval | None
    tile_auroc: float | None  # a tile is faulty if its mask has a pixel
    tile_auroc_ci95: Interval | None
    pixel_auroc: float | None
    pixel_auroc_ci95: Interval | None
    aupro: float | None  # false positive rate 0 to 0.3
    aupro_ci95: Interval | None
    bootstrap_resamples: int
    bootstrap_seed: int
    image_auroc_by_kind: dict[str, float | None]  # one kind of fault against all good images
    images: int
    images_by_kind: dict[str, int]
    images_learnt: int  # that the students learnt from: these flatter every figure
    images_without_mask: int  # faulty ones; they count for image figures alone
    images_without_web: int  # region "auto" found none; they count for nothing
    tiles: int
    tiles_faulty: int
    faults: int  # 8-connected pieces of the masks, inside the region
    faults_outside_region: int
    tiles_per_second: float  # in the engine, reading and cutting left out
    limit_sigma: float | None  # of the pictures
    limit_source: str  # where that comes from
    at_limit: AtLimit | None  # None: limit_sigma was set by neither calibration nor a person
    evaluation_operating_points: (
        tuple[OperatingPoint, ...] | None
    )  # of the evaluation, never limits; None: no line
    tolerance_px: int  # how far beside a fault a cell above the threshold still finds it
    warnings: tuple[str, ...]
    scores: tuple[ImageScore, ...]
    fault_scores: tuple[FaultScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; undefined figures are None, that is null."""
        return dataclasses.asdict(self)

    def remarks(self) -> list[str]:
        """What a reader must know before believing a figure, a sentence each."""
        unlike = (
            f"images are as a whole unlike what was learnt (a median score of {FAR_SIGMA:g} sigma or more): another "
            "fabric, other light or focus stands out there, or a fault over half of the image"
        )
        counted = (
            (sum(one.median >= FAR_SIGMA for one in self.scores), unlike),
            (
                self.images_learnt,
                "images are among those the students learnt from: every figure is flattered",
            ),
            (self.images_without_mask, "faulty images without a mask: they count for image figures alone"),
            (self.images_without_web, "images in which no web was found: they count for nothing"),
            (self.faults_outside_region, "faults outside the region: nobody looked there"),
        )
        return [f"{count} {what}" for count, what in counted if count]

    def summary(self) -> str:
        """A few lines for a person."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.images_by_kind.items())
        lines = [
            f"{self.data} with recipe {self.recipe} on {self.backend} {self.precision}",
            f"{self.images} images ({kinds}), {self.tiles} tiles, {self.tiles_per_second:.1f} tiles/s",
            *(self._figure(name) for name in FIGURES),
        ]
        if len(self.image_auroc_by_kind) > 1:
            lines += [f"  {kind:24} {_shown(value)}" for kind, value in self.image_auroc_by_kind.items()]
        if self.at_limit is None:
            lines.append("no limit: no alarms and escapes; name a calibrated line with --line")
        else:
            lines += self._at_limit(self.at_limit)
        points = self.evaluation_operating_points or ()
        lines += [_point(one) for one in points if one.evaluation_threshold_sigma is not None]
        unseen = [one for one in points if one.evaluation_threshold_sigma is None]
        if unseen:
            rates = ", ".join(f"{one.false_alarms_per_100m:g}" for one in unseen)
            lines.append(f"at {rates} false alarms per 100 m: the good test tiles are too few to show it")
        return "\n".join(lines + self.remarks())

    def _figure(self, name: str) -> str:
        interval: Interval | None = getattr(self, f"{name}_ci95")
        sure = "" if interval is None else f"  95 %: {interval[0]:.4f} to {interval[1]:.4f}"
        return f"{name:12} {_shown(getattr(self, name))}{sure}"

    def _at_limit(self, at: AtLimit) -> list[str]:
        lines = [
            f"at the limit, {at.limit_sigma:.2f} sigma ({self.limit_source}):",
            _told("images", at.image),
        ]
        if at.tile is not None:
            lines.append(_told("tiles", at.tile))
        alarms = f"  false alarms  {at.good_tiles_above} of {at.good_tiles} good tiles"
        if at.good_web_m is not None and at.false_alarms_per_100m is not None:
            alarms += (
                f" ({at.good_web_m:.2f} m): {at.false_alarms_per_100m:.3g} per 100 m, "
                f"one would be {at.one_alarm_per_100m:.3g}"
            )
        lines.append(alarms)
        for kind, one in at.escapes.by_kind.items():
            faults = f", {one.faults_escaped} of {one.faults} faults" if one.faults else ""
            off = f"; {one.images_off_fault} above, but off the fault" if one.images_off_fault else ""
            lines.append(f"  escaped  {kind:24} {one.images_escaped} of {one.images} images{faults}{off}")
        return lines


def _told(items: str, one: Confusion) -> str:
    ratios = f"F1 {_shown(one.f1)}  precision {_shown(one.precision)}  recall {_shown(one.recall)}"
    faulty, good = one.true_positives + one.false_negatives, one.false_positives + one.true_negatives
    return (
        f"  {items:8} {ratios}  ({one.false_negatives} of {faulty} faulty escaped, "
        f"{one.false_positives} of {good} good rejected)"
    )


def _point(point: OperatingPoint) -> str:
    assert point.image is not None
    assert point.escapes is not None
    missed, faults = point.image.false_negatives, point.escapes.faults
    of_faults = f", {point.escapes.faults_escaped} of {faults} faults" if faults else ""
    return (
        f"at {point.false_alarms_per_100m:g} false alarms per 100 m: escaped {missed} of "
        f"{missed + point.image.true_positives} faulty images{of_faults} "
        f"(evaluation operating point above {point.evaluation_threshold_sigma:.2f} sigma, not a limit)"
    )


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"
