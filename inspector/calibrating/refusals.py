"""What no limit is set on, too little good web or web of another scale or width; and limits that are not replaced."""

from __future__ import annotations

import math
from pathlib import Path

from inspector.backends.artifact import Recipe
from inspector.calibrating.calibrated import GoodWeb
from inspector.calibrating.tail import FARTHEST, LEAST_IMAGES, LEAST_TILES, SOUND_IMAGES
from inspector.config import Line
from inspector.errors import ArtefactError, ConfigError, DataError
from inspector.limits import Limits
from inspector.tiling.grid import WHOLE_SHARE

SAME_SCALE = 0.05


def refuse_other_scale(learnt: Recipe, line: Line, line_id: str) -> None:
    """Raise ConfigError where the recipe learnt the web at another scale than the line shows it."""
    training, mm_per_px = learnt.training, line.web.mm_per_px
    if training.resize is not None:
        raise ConfigError(
            f"recipe {learnt.name} learnt from images squeezed to {training.resize} px, which line {line_id} never "
            "shows; train one on frames as the camera takes them"
        )
    if training.mm_per_px is not None and not math.isclose(training.mm_per_px, mm_per_px, rel_tol=SAME_SCALE):
        raise ConfigError(
            f"recipe {learnt.name} learnt at {training.mm_per_px:g} mm/px, line {line_id} has {mm_per_px:g}; train one "
            "at the line's scale"
        )


def refuse_set_by_hand(before: Limits, file: Path) -> None:
    """Raise ArtefactError where a person set the limits that would be replaced: that was for a reason."""
    word = " ".join(before.set_by_hand.split())
    if word:
        raise ArtefactError(
            f"{file}: {before.limit_sigma:.2f} sigma, set by hand ({word}); what is measured would take its place: "
            "keep it, or replace it by --overwrite"
        )


def wanted_tiles(rate: float) -> int:
    """So many tiles of good web a limit for a share ``rate`` of tiles wants at the least."""
    return max(LEAST_TILES, math.ceil(1 / (FARTHEST * rate)))


def refuse_narrow(data: Path, region_mm: tuple[float, float], line: Line, line_id: str) -> None:
    """Raise DataError where a line judges whole frames and the images are parts of such."""
    left, right = region_mm
    if line.region.kind == "whole" and right - left < WHOLE_SHARE * line.web.width_mm:
        raise DataError(
            f"{data}: the images show {right - left:g} mm of web at {line.web.mm_per_px:g} mm/px, but line {line_id} "
            f"judges all of its {line.web.width_mm:g} mm; give whole frames of its camera, or set the line's region"
        )


def refuse_one(data: Path, web: GoodWeb, counting: int, line_id: str) -> None:
    """Raise DataError where images that count are too few to say how images differ from each other."""
    if counting >= LEAST_IMAGES:
        return
    left = f" ({web.left_out} more were learnt from)" if web.left_out else ""
    if counting < len(web.images):
        left += f", {len(web.images) - counting} more stand out from it"
    raise DataError(
        f"{data}: one image counts for the limit of line {line_id}{left}; how good images differ from each other can't "
        f"be told from one: give {LEAST_IMAGES} at least, better {SOUND_IMAGES} or more, of other places of the web"
    )


def refuse_few(
    data: Path, web: GoodWeb, line_id: str, rate: float, per_100m: int, *, suspects: int = 0
) -> None:
    """Raise DataError where the tail would have to be carried farther than anyone can answer for."""
    tiles, wanted = web.tiles, wanted_tiles(rate)
    if tiles >= wanted:
        return
    has = f"{tiles} tiles of good web that the students never learnt from"
    if web.left_out:
        has += f" ({web.left_out} images were left out because they did)"
    if suspects:
        has += f", {suspects} images that stand out not counted"
    more = f"{(wanted - tiles) / per_100m * 100:.2f} m"
    if tiles:
        more = f"{math.ceil((wanted - tiles) * len(web.images) / tiles)} images like these or {more}"
    raise DataError(
        f"{data}: {has}, but a limit for line {line_id} wants at least {wanted}; give {more} of good web more"
    )
