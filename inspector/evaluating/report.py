"""What an evaluation found: figures and counts, as JSON and in words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from inspector.evaluating.bootstrap import Interval
from inspector.evaluating.escapes import Confusion, Escapes, KindEscapes, SizeEscapes
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
class KindFigures:
    """One type of fault against all good images, as if the others were not in the tree."""

    image_auroc: float | None
    image_auroc_ci95: Interval | None
    pixel_auroc: float | None  # None without a mask of this type
    pixel_auroc_ci95: Interval | None
    aupro: float | None  # likewise
    aupro_ci95: Interval | None


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
    image_auroc_by_kind: dict[str, float | None]  # those of figures_by_kind
    figures_by_kind: dict[str, KindFigures]
    images: int
    images_by_kind: dict[str, int]
    images_learnt: int  # that the students learnt from: these flatter every figure
    images_held_back: int  # in training, so that the recipe's constants come from them: these flatter, too
    good_images_calibrated: int  # that the line's limit was set on: none of them says how often it alarms
    images_repeated: int  # whose pixels are those of an image before: intervals take them for one more
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
    evaluation_operating_points: tuple[OperatingPoint, ...]  # of the evaluation, never limits
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
            (
                self.images_held_back,
                "images were held back in training, for the recipe's constants: every figure is flattered",
            ),
            (
                self.good_images_calibrated,
                f"good images are among those that line {self.line} was calibrated on: that they pass says nothing",
            ),
            (
                self.images_repeated,
                "images are copies of others, pixel by pixel: they make intervals too narrow; take them out",
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
        if len(self.figures_by_kind) > 1:
            lines.append(f"  {'type':24} {'image_auroc':26} {'pixel_auroc':26} aupro")
            lines += [_of_kind(kind, one) for kind, one in self.figures_by_kind.items()]
        if self.at_limit is None:
            lines.append("no limit: no alarms and escapes; name a calibrated line with --line")
        else:
            lines += self._at_limit(self.at_limit)
        points = self.evaluation_operating_points
        lines += [_point(one) for one in points if one.evaluation_threshold_sigma is not None]
        for why in dict.fromkeys(one.why_unshown for one in points if one.why_unshown):
            alike = [one for one in points if one.why_unshown == why]
            lines.append(f"at {', '.join(one.figure for one in alike)} {alike[0].unit}: {why}")
        return "\n".join(lines + self.remarks())

    def _figure(self, name: str) -> str:
        interval: Interval | None = getattr(self, f"{name}_ci95")
        sure = "" if interval is None else f"  95 %: {_between(interval, 4)}"
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
        if len(at.escapes.by_kind) > 1:
            lines.append(f"  escaped  {'all':24} {_escaped(at.escapes, 'images')}")
        for kind, one in at.escapes.by_kind.items():
            off = f"; {one.images_off_fault} above, but off the fault" if one.images_off_fault else ""
            lines.append(f"  escaped  {kind:24} {_escaped(one, 'images')}{off}")
        for size in at.escapes.by_size:
            if size.faults:
                mm = f"; {span(size.from_mm, size.to_mm)} mm" if size.from_mm is not None else ""
                extent = f"{span(size.from_px, size.to_px)} px"
                lines.append(f"  escaped  {extent:24} {_faults(size)}{mm}")
        if self.resize is not None and at.escapes.by_size:
            lines.append(f"  (px of images squeezed to {self.resize} px)")
        return lines


def span(low: float, high: float | None) -> str:
    """An extent in [low, high), in words; ``high`` None: no upper edge."""
    if high is None:
        return f"from {low:.4g}"
    return f"{low:.4g} to below {high:.4g}" if low else f"below {high:.4g}"


def _of_kind(kind: str, one: KindFigures) -> str:
    figures = (
        (one.image_auroc, one.image_auroc_ci95),
        (one.pixel_auroc, one.pixel_auroc_ci95),
        (one.aupro, one.aupro_ci95),
    )
    told = (
        _shown(value) + ("" if interval is None else f" ({_between(interval, 4)})")
        for value, interval in figures
    )
    return f"  {kind:24} {' '.join(f'{one:26}' for one in told)}".rstrip()


def _escaped(one: Escapes | KindEscapes, images: str) -> str:
    told = f"{one.images_escaped} of {one.images} {images}{_sure(one.images_escaped_share_ci95, 2)}"
    return f"{told}, {_faults(one)}" if one.faults else told


def _faults(one: Escapes | KindEscapes | SizeEscapes) -> str:
    return f"{one.faults_escaped} of {one.faults} faults{_sure(one.faults_escaped_share_ci95, 2)}"


def _between(interval: Interval, digits: int) -> str:
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _sure(interval: Interval | None, digits: int) -> str:
    return "" if interval is None else f" (95 %: {_between(interval, digits)})"


def _told(items: str, one: Confusion) -> str:
    f1 = f"F1 {_shown(one.f1)}{_sure(one.f1_ci95, 4)}"
    ratios = f"{f1}  precision {_shown(one.precision)}  recall {_shown(one.recall)}"
    faulty, good = one.true_positives + one.false_negatives, one.false_positives + one.true_negatives
    return (
        f"  {items:8} {ratios}  ({one.false_negatives} of {faulty} faulty escaped, "
        f"{one.false_positives} of {good} good rejected)"
    )


def _point(point: OperatingPoint) -> str:
    assert point.escapes is not None
    return (
        f"at {point.figure} {point.unit}: escaped "
        f"{_escaped(point.escapes, 'faulty images')} "
        f"(evaluation operating point above {point.evaluation_threshold_sigma:.2f} sigma, not a limit)"
    )


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"
