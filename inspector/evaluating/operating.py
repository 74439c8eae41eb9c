"""What a limit makes of the test images: alarms, escapes, and what they cost in good web.

A limit is never chosen here. ``at_limit`` holds test images against one that calibration (or a person)
set. ``operating_points`` asks the other way round, what would escape if the line gave just so many false
alarms; its thresholds come from the good test tiles themselves. They are *evaluation operating points*:
they compare engines, and none of them may become a limit.

Everything is held against the highest cell, as judging does, and above means strictly above. Cells are on a line's own
scale (``judging.levelled``): another threshold than the limit is one at which all of its limits are moved alike; but
windows below half of their own limit never speak (``levelled.SHOWN``), so below half of the limit zones and cells alone
do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspector.config import Line, Site
from inspector.evaluating.escapes import Confusion, Escapes, escapes, image_confusion, tile_confusion
from inspector.evaluating.peaks import Peaks
from inspector.evaluating.threshold import at_rate, fixed
from inspector.interfaces import EngineInfo
from inspector.limits import Limits, load_limits
from inspector.records import F64
from inspector.tiling import grid_for, plan_for, rows_of_frames

FALSE_ALARMS_PER_100M = (1000.0, 100.0, 10.0, 1.0)
SHARES = (0.1, 0.05, 0.01)  # of good tiles: where nobody knows how many metres they are


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
    """Escapes at a rate of false alarms, None where the good test tiles can't show that rate."""

    false_alarms_per_100m: float | None  # None: without a line
    share_of_good_tiles: float | None  # above the threshold; None: with a line
    good_tiles_allowed: int  # above the threshold, for that rate
    good_tiles_above: int | None  # fewer where scores are equal
    evaluation_threshold_sigma: float | None  # read off the good test tiles: not a limit
    image: Confusion | None
    escapes: Escapes | None

    @property
    def figure(self) -> str:
        """The rate, as a number of its unit."""
        share = self.share_of_good_tiles
        return f"{self.false_alarms_per_100m:g}" if share is None else f"{share:.0%}"

    @property
    def why_unshown(self) -> str:
        """Why the good test tiles can't show the rate; empty where they do."""
        if self.evaluation_threshold_sigma is not None:
            return ""
        if self.good_tiles_allowed:
            return "such a rate lets every good tile be above, which tells nothing"
        return "the good test tiles are too few to show it"

    @property
    def unit(self) -> str:
        """Of the rate."""
        return "false alarms per 100 m" if self.share_of_good_tiles is None else "of good tiles"


def line_under_test(site: Site, line_id: str, recipe: str) -> LineUnderTest:
    """Load a line's limit. Raises ConfigError or ArtefactError as ``load_limits`` does."""
    return LineUnderTest(line_id, site.line(line_id), load_limits(site, line_id, recipe))


def web_of(
    under_test: LineUnderTest, engine: EngineInfo, image_rows: Sequence[int], width_px: int | None = None
) -> Web:
    """Return a line's measures, by the grid that the line itself would lay.

    Args:
        under_test: the line.
        engine: its tiles.
        image_rows: of the test images, which tell how high the line's frames are where its config doesn't.
        width_px: of what is judged of them; None: of the columns that the line's limits were set on.

    Raises ConfigError, ArtefactError.
    """
    line, (left_mm, right_mm) = under_test.line, under_test.limits.region_mm
    if width_px is None:
        width_px = round((right_mm - left_mm) / line.web.mm_per_px)
    plan = plan_for(grid_for(line, engine), line, width_px, rows_of_frames(line, image_rows))
    return Web(line.web.mm_per_px, math.ceil(100 * plan.tiles_per_m))


def at_limit(images: Sequence[Peaks], limit_sigma: float, web: Web | None) -> AtLimit:
    """Hold every image, tile and fault against a limit, sigma; ``web`` None leaves out metres and mm."""
    threshold = fixed(images, limit_sigma)
    good = _good_tiles(images)
    alarms = int((good > limit_sigma).sum())
    per_100m = web.tiles_per_100m / len(good) if web and len(good) else None
    return AtLimit(
        limit_sigma=limit_sigma,
        image=image_confusion(images, threshold),
        tile=tile_confusion(images, threshold),
        good_tiles=len(good),
        good_tiles_above=alarms,
        good_web_m=100 * len(good) / web.tiles_per_100m if web else None,
        false_alarms_per_100m=alarms * per_100m if per_100m is not None else None,
        one_alarm_per_100m=per_100m,
        escapes=escapes(images, threshold, web.mm_per_px if web else None),
    )


def operating_points(images: Sequence[Peaks], web: Web | None) -> tuple[OperatingPoint, ...]:
    """Return the escapes at each of FALSE_ALARMS_PER_100M, without a ``web`` of SHARES; see ``threshold.at_rate``."""
    good = _good_tiles(images)
    points = []
    for rate in SHARES if web is None else FALSE_ALARMS_PER_100M:
        per_100m, share = (None, rate) if web is None else (rate, None)
        allowed, threshold = at_rate(images, rate, 1 if web is None else web.tiles_per_100m)
        if threshold is None:
            points.append(OperatingPoint(per_100m, share, allowed, None, None, None, None))
            continue
        points.append(
            OperatingPoint(
                per_100m,
                share,
                allowed,
                int((good > threshold.sigma).sum()),
                threshold.sigma,
                image_confusion(images, threshold),
                escapes(images, threshold, web.mm_per_px if web else None),
            )
        )
    return tuple(points)


def _good_tiles(images: Sequence[Peaks]) -> F64:
    return np.concatenate([np.zeros(0), *(one.good_tiles for one in images)])
