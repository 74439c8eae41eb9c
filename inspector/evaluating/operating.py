"""What a limit makes of the test images: alarms, escapes, and what they cost in good web.

A limit is never chosen here. ``at_limit`` holds test images against one that calibration (or a person)
set. ``operating_points`` asks the other way round, what would escape if the line gave just so many false
alarms; its thresholds come from the good test tiles themselves. They are *evaluation operating points*:
they compare engines, and none of them may become a limit.

Everything is held against the highest cell, as judging does, and above means strictly above. Cells are on a line's own
scale (``judging.levelled``): another threshold than the limit is one at which all of its limits are moved alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from inspector.config import Line, Site
from inspector.evaluating.faults import Fault
from inspector.images.reading import GOOD, Mask
from inspector.interfaces import EngineInfo
from inspector.limits import Limits, load_limits
from inspector.records import F64
from inspector.tiling import grid_for, plan_for

SIZE_EDGES_PX = (4, 8, 16, 32, 64)
FALSE_ALARMS_PER_100M = (1000.0, 100.0, 10.0, 1.0)


@dataclass(frozen=True, slots=True)
class LineUnderTest:
    """A line of the plant and its limit, as ``evaluate`` takes them."""

    line_id: str
    line: Line
    limits: Limits


@dataclass(frozen=True, slots=True)
class Web:
    """From pixels and tiles to millimetres and metres of a line's web."""

    mm_per_px: float
    tiles_per_100m: int


@dataclass(frozen=True, slots=True)
class Peaks:
    """One test image as a limit sees it."""

    image: str  # kind/file
    kind: str
    tiles: F64  # [N], highest cell of each tile, sigma
    faulty: Mask | None  # [N], which tiles have a pixel of the mask; None: a faulty image without a mask
    faults: tuple[Fault, ...]  # empty without a mask

    @property
    def highest(self) -> float:
        """Of all its tiles, sigma."""
        return float(self.tiles.max())


@dataclass(frozen=True, slots=True)
class Confusion:
    """Items above and below a threshold; ratios are None where they divide by zero."""

    true_positives: int  # faulty and above
    false_positives: int  # good and above
    false_negatives: int  # faulty and not above
    true_negatives: int
    precision: float | None  # TP / (TP + FP)
    recall: float | None  # TP / (TP + FN)
    f1: float | None  # 2 TP / (2 TP + FP + FN), the harmonic mean of both


@dataclass(frozen=True, slots=True)
class KindEscapes:
    """Escapes of one kind of fault."""

    images: int
    images_escaped: int  # no tile above
    images_off_fault: int  # above, but on none of the faults that the mask shows: right by chance
    faults: int
    faults_escaped: int


@dataclass(frozen=True, slots=True)
class SizeEscapes:
    """Escapes of faults whose extent lies in [from, to)."""

    from_px: int
    to_px: int | None  # None: no upper edge
    from_mm: float | None  # None: no line, or no upper edge
    to_mm: float | None
    faults: int
    faults_escaped: int


@dataclass(frozen=True, slots=True)
class Escapes:
    """Faults that stay at or below a threshold."""

    faults: int
    faults_escaped: int
    by_kind: dict[str, KindEscapes]
    by_size: tuple[SizeEscapes, ...]


@dataclass(frozen=True, slots=True)
class AtLimit:
    """Test images held against a limit."""

    limit_sigma: float
    image: Confusion  # an image counts by its highest tile
    tile: Confusion | None  # of images with a truth; None without any mask
    good_tiles: int  # of good images
    good_tiles_above: int  # false alarms
    good_web_m: float | None  # length of this line's web with as many tiles; None: no line
    false_alarms_per_100m: float | None
    one_alarm_per_100m: (
        float | None
    )  # what a single false alarm would come to here: nothing finer can be seen
    escapes: Escapes


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Escapes at a rate of false alarms, None where the good test tiles are too few to show that rate."""

    false_alarms_per_100m: float
    good_tiles_allowed: int  # above the threshold, for that rate
    good_tiles_above: int | None  # fewer where scores are equal
    evaluation_threshold_sigma: float | None  # read off the good test tiles: not a limit
    image: Confusion | None
    escapes: Escapes | None


def line_under_test(site: Site, line_id: str, recipe: str) -> LineUnderTest:
    """Load a line's limit. Raises ConfigError or ArtefactError as ``load_limits`` does."""
    return LineUnderTest(line_id, site.line(line_id), load_limits(site, line_id, recipe))


def web_of(under_test: LineUnderTest, engine: EngineInfo) -> Web:
    """Return a line's measures, by the grid that the line itself would lay. Raises ConfigError, ArtefactError."""
    line, (left_mm, right_mm) = under_test.line, under_test.limits.region_mm
    plan = plan_for(grid_for(line, engine), line, round((right_mm - left_mm) / line.web.mm_per_px))
    return Web(line.web.mm_per_px, math.ceil(100 * plan.tiles_per_m))


def at_limit(images: Sequence[Peaks], limit_sigma: float, web: Web | None) -> AtLimit:
    """Hold every image, tile and fault against a limit, sigma; ``web`` None leaves out metres and mm."""
    good = _good_tiles(images)
    alarms = int((good > limit_sigma).sum())
    per_100m = web.tiles_per_100m / len(good) if web and len(good) else None
    known = [(one.tiles, one.faulty) for one in images if one.faulty is not None]
    masked = any(one.faulty is not None for one in images if one.kind != GOOD)
    return AtLimit(
        limit_sigma=limit_sigma,
        image=_image_confusion(images, limit_sigma),
        tile=confusion(
            np.concatenate([tiles for tiles, _ in known]) > limit_sigma,
            np.concatenate([faulty for _, faulty in known]),
        )
        if masked
        else None,
        good_tiles=len(good),
        good_tiles_above=alarms,
        good_web_m=100 * len(good) / web.tiles_per_100m if web else None,
        false_alarms_per_100m=alarms * per_100m if per_100m is not None else None,
        one_alarm_per_100m=per_100m,
        escapes=escapes(images, limit_sigma, web),
    )


def operating_points(images: Sequence[Peaks], web: Web) -> tuple[OperatingPoint, ...]:
    """Return the escapes at each of FALSE_ALARMS_PER_100M.

    A rate r allows k = floor(N r / tiles_per_100m) of the N good test tiles above the threshold, which is
    therefore the score of the (k + 1)-th highest. With k = 0 these tiles can't show the rate, and with
    k = N the line has not so many tiles: None, nothing is carried beyond what was seen.
    """
    highest_first = np.sort(_good_tiles(images))[::-1]
    points = []
    for rate in FALSE_ALARMS_PER_100M:
        # 1e-9: 0.29 * 100 is 28.999999999999996 in floating point and allows 29.
        allowed = math.floor(len(highest_first) * rate / web.tiles_per_100m + 1e-9)
        if not 0 < allowed < len(highest_first):
            points.append(OperatingPoint(rate, min(allowed, len(highest_first)), None, None, None, None))
            continue
        threshold = float(highest_first[allowed])
        points.append(
            OperatingPoint(
                rate,
                allowed,
                int((highest_first > threshold).sum()),
                threshold,
                _image_confusion(images, threshold),
                escapes(images, threshold, web),
            )
        )
    return tuple(points)


def escapes(images: Sequence[Peaks], threshold_sigma: float, web: Web | None) -> Escapes:
    """Count faulty images and faults that stay at or below a threshold."""
    faults = [fault for one in images for fault in one.faults]
    kinds = sorted({one.kind for one in images} - {GOOD})
    edges = pairwise((0, *SIZE_EDGES_PX, None))
    return Escapes(
        faults=len(faults),
        faults_escaped=_escaped(faults, threshold_sigma),
        by_kind={
            kind: _kind_escapes([one for one in images if one.kind == kind], threshold_sigma)
            for kind in kinds
        },
        by_size=tuple(_size_escapes(faults, threshold_sigma, low or 0, high, web) for low, high in edges),
    )


def confusion(above: npt.ArrayLike, faulty: npt.ArrayLike) -> Confusion:
    """Count bool [N] decisions against bool [N] labels."""
    alarmed, labels = np.asarray(above, np.bool_), np.asarray(faulty, np.bool_)
    tp, fp = int((alarmed & labels).sum()), int((alarmed & ~labels).sum())
    fn, tn = int((~alarmed & labels).sum()), int((~alarmed & ~labels).sum())
    return Confusion(
        tp, fp, fn, tn, _ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn)
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _good_tiles(images: Sequence[Peaks]) -> F64:
    """Highest cells of good images' tiles: float64 [N]. Good tiles beside a fault may show its blur."""
    return np.concatenate([np.zeros(0), *(one.tiles for one in images if one.kind == GOOD)])


def _image_confusion(images: Sequence[Peaks], threshold_sigma: float) -> Confusion:
    return confusion([one.highest > threshold_sigma for one in images], [one.kind != GOOD for one in images])


def _escaped(faults: Sequence[Fault], threshold_sigma: float) -> int:
    return sum(fault.peak_sigma <= threshold_sigma for fault in faults)


def _kind_escapes(images: Sequence[Peaks], threshold_sigma: float) -> KindEscapes:
    above = [one for one in images if one.highest > threshold_sigma]
    faults = [fault for one in images for fault in one.faults]
    off = [one for one in above if one.faults and _escaped(one.faults, threshold_sigma) == len(one.faults)]
    return KindEscapes(
        len(images), len(images) - len(above), len(off), len(faults), _escaped(faults, threshold_sigma)
    )


def _size_escapes(
    faults: Sequence[Fault], threshold_sigma: float, low: int, high: int | None, web: Web | None
) -> SizeEscapes:
    inside = [one for one in faults if low <= one.extent_px and (high is None or one.extent_px < high)]
    return SizeEscapes(
        low,
        high,
        low * web.mm_per_px if web else None,
        high * web.mm_per_px if web and high is not None else None,
        len(inside),
        _escaped(inside, threshold_sigma),
    )
