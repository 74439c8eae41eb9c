"""Calibrate: a line's limits, from good web alone.

Only images that the students never learnt from count; a student knows its own lessons too well, and a
limit set on them would be too low. Nor do those that training held back, which every constant of the graph comes
from, where the others are enough. How limits follow from the maps: ``good_web``; what is told of them:
``calibrated``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from inspector.backends import failures_told, open_backend
from inspector.backends.artifact import Recipe, load_recipe, write_atomically
from inspector.calibrating.calibrated import (
    Calibration,
    GoodImage,
    GoodWeb,
    Target,
    draw_pictures,
    limits_of,
    summary,
    suspects_of,
)
from inspector.calibrating.good_web import FoundLevels, GoodMap, find_levels
from inspector.calibrating.populations import TwoGroups, TwoKinds, two_groups
from inspector.calibrating.refusals import (
    refuse_few,
    refuse_narrow,
    refuse_one,
    refuse_other_scale,
    refuse_set_by_hand,
    wanted_tiles,
)
from inspector.calibrating.tail import FARTHEST, SOUND_IMAGES
from inspector.config import Line, Site
from inspector.errors import ConfigError, DataError, a_few
from inspector.images.reading import Image, ImageFile, open_data
from inspector.images.scoring import read_for, score_image
from inspector.interfaces import Backend
from inspector.judging.unlike import FAR_SIGMA
from inspector.limits import limits_file, to_toml, usable_limits
from inspector.records import Grid, Region
from inspector.tiling import grid_for, plan_for, region_finder, rows_of_frames

__all__ = ["FARTHEST", "calibrate", "draw_pictures", "summary"]

MOST_NAMED, MOST_OF_A_KIND = 5, 3


def calibrate(
    data: Path,
    recipe: str,
    line_id: str,
    site: Site,
    *,
    false_alarms_per_100m: float | None = None,
    false_alarms_per_hour: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Calibration:
    """Set the limits of a line and write them to ``calibration/line-<id>.<recipe>.toml``.

    Args:
        data: folder of good images, or an MVTec-style tree, of which only train/good counts.
        recipe: name of a folder in engines/, with an engine built for the line's backend.
        line_id: line of the config; its grid, region, speed and mm per pixel hold.
        site: the plant.
        false_alarms_per_100m: how many pieces of good web may be called faulty; 1 unless the rate is given per hour.
        false_alarms_per_hour: the same target in another way, at the line's speed.
        overwrite: replace limits, too, that a person set by hand.
        progress: told how many images are done, and of how many.
        warn: told a sentence about what lies in ``data`` and is not looked at.

    Returns the limits as written, the images that did not count for them, and what ``draw_pictures`` wants.

    Raises:
        DataError: the images can't be used, are too few, all score alike, or are plainly of two kinds (``TwoKinds``).
        ArtefactError: recipe or engine are missing, don't fit, or score NaN; the limits there were set by hand; a
            file can't be written.
        ConfigError: there is no such line, its grid doesn't fit, or the rate of false alarms makes no sense.
    """
    line = site.line(line_id)
    target = target_of(false_alarms_per_100m, false_alarms_per_hour, line)
    learnt = load_recipe(site.engines / recipe)
    refuse_other_scale(learnt, line, line_id)
    before = usable_limits(site, line_id, recipe)
    if before is not None and not overwrite:
        refuse_set_by_hand(before, limits_file(site, line_id, recipe))
    folder = open_data(data)
    if not folder.good:
        raise DataError(f"{data}: no good images in train/good; limits are set on good web alone")
    for sentence in folder.good_overlooked:
        warn(sentence)
    backend = open_backend(site.engines / recipe, line.engine.backend, line.engine.threads)
    with closing(backend), failures_told(backend):
        web = score_good(folder.good, learnt, line, backend, progress)
    return replace(set_limits(web, learnt, line_id, site, target, data=data), before=before)


def set_limits(
    web: GoodWeb,
    learnt: Recipe,
    line_id: str,
    site: Site,
    target: Target,
    *,
    data: Path,
) -> Calibration:
    """Set the limits of a line on good web that is scored, and write them, as ``calibrate`` does.

    Args:
        web: images that the students never learnt from, each once, as the line's engine scores them.
        learnt: the recipe.
        line_id: line of the config.
        site: the plant.
        target: false alarms asked for (``target_of``).
        data: where the images are from.

    Returns and raises what ``calibrate`` does.
    """
    line, recipe = site.line(line_id), learnt.name
    region_mm = _region_mm(web.images, line)
    per_100m = _tiles_per_100m(web, line, region_mm[1] - region_mm[0])
    rate = target.per_100m / per_100m
    if rate >= 1:
        raise ConfigError(
            f"{target.words} can't be had: line {line_id} has {per_100m} tiles in 100 m; give a number below that"
        )
    refuse_narrow(data, region_mm, line, line_id)
    web = _without_validation(web, rate)
    refuse_few(data, web, line_id, rate, per_100m)
    found = _find(data, web, region_mm, line.web.mm_per_px, target)
    suspects = len(found.cells.suspects)
    refuse_one(data, web, len(web.images) - suspects, line_id)
    refuse_few(data, web.without(found.cells.suspects), line_id, rate, per_100m, suspects=suspects)
    groups = two_groups(web.typical(found.levelled))
    if groups is not None and groups.beyond_doubt:
        said = f"{data}: {_two_kinds(groups, web)}"
        raise TwoKinds(said, groups, [image.file.path for image in web.images])
    limits = limits_of(
        web,
        found,
        target,
        line_id=line_id,
        recipe=recipe,
        onnx_sha256=learnt.onnx_sha256,
        line=line,
        region_mm=region_mm,
        tiles_per_100m=per_100m,
        data=_shown_path(data, site),
        two_groups="" if groups is None else _two_kinds(groups, web),
        unlike=_unlike(web, recipe),
    )
    write_atomically(limits_file(site, line_id, recipe), to_toml(limits).encode())
    return Calibration(limits, suspects_of(web, found), web, found)


def score_good(
    files: Sequence[ImageFile],
    recipe: Recipe,
    line: Line,
    backend: Backend,
    progress: Callable[[int, int], None],
) -> GoodWeb:
    """Score good images as a line's limits are calibrated on them, those that the students learnt from left out.

    Args:
        files: images, each once.
        recipe: says which images were learnt from and which held back.
        line: its grid and region hold.
        backend: an open engine.
        progress: told how many images are done, and of how many.

    Raises DataError for images that can't be used, ArtefactError for scores that are no numbers.
    """
    grid = grid_for(line, backend.info)
    locate = region_finder(line)
    seen: dict[str, Path] = {}
    images = []
    for done, file in enumerate(files):
        progress(done, len(files))
        image = read_for(file, backend.info.channels)
        if image.pixels_sha256 in seen:
            raise DataError(
                f"{file.path} and {seen[image.pixels_sha256]} are the same image; remove one, it can't count twice"
            )
        seen[image.pixels_sha256] = file.path
        if not image.is_among(recipe.learnt_sha256):
            held_back = image.is_among(recipe.validation_sha256)
            images.append(_good_image(image, held_back, locate(image.pixels), backend, grid))
    progress(len(files), len(files))
    return GoodWeb(tuple(images), len(files) - len(images), 0, backend.info, grid)


def target_of(per_100m: float | None, per_hour: float | None, line: Line) -> Target:
    """What was asked for, one of the two or neither. Raises ConfigError for a rate that makes no sense."""
    if per_100m is not None and per_hour is not None:
        raise ConfigError("false alarms are asked for per 100 m and per hour at once; give one of the two")
    asked = per_hour if per_hour is not None else 1.0 if per_100m is None else per_100m
    unit = "100 m" if per_hour is None else "hour"
    if not (math.isfinite(asked) and asked > 0):
        raise ConfigError(f"{asked:g} false alarms per {unit} can't be had; give a number above 0")
    of_100m_in_an_hour = line.web.speed_m_min * 60 / 100
    if per_hour is None:
        return Target(
            asked, asked * of_100m_in_an_hour, line.web.speed_m_min, f"{asked:g} false alarms per {unit}"
        )
    return Target(
        asked / of_100m_in_an_hour, asked, line.web.speed_m_min, f"{asked:g} false alarms per {unit}"
    )


def _two_kinds(groups: TwoGroups, web: GoodWeb) -> str:
    """Which images, and what to do."""
    names = [
        a_few([web.images[place].name for place in part], MOST_OF_A_KIND)
        for part in (groups.lower, groups.upper)
    ]
    return (
        f"the good images are of two kinds: {len(groups.lower)} typically score {groups.lower_sigma:.1f} sigma "
        f"({names[0]}), {len(groups.upper)} {groups.upper_sigma:.1f} ({names[1]}); look at both: if both are good, "
        "train on both, and if they are two fabrics, make two recipes"
    )


def _unlike(web: GoodWeb, recipe: str) -> str:
    """A sentence where the images as a whole are none that the recipe knows: few faults would reach such a limit."""
    medians = [float(np.median(image.cells)) for image in web.images]
    if np.median(medians) < FAR_SIGMA:
        return ""
    far = [image.name for image, median in zip(web.images, medians, strict=True) if median >= FAR_SIGMA]
    return (
        f"{len(far)} of {len(medians)} images are as a whole unlike what recipe {recipe} learnt, with a median of "
        f"{np.median(medians):.1f} sigma where good web's lies near 0 ({a_few(far, MOST_NAMED)}): another fabric, "
        "other light, a lens out of focus? Few faults would reach this limit; train a recipe on such web, or calibrate "
        "on the web it learnt"
    )


def _good_image(
    image: Image, held_back: bool, region: Region | None, backend: Backend, grid: Grid
) -> GoodImage:
    path = image.file.path
    if region is None:
        raise DataError(f"{path}: no web to be seen; take the image out, or set the line's region by hand")
    if region.right_px > (width := image.pixels.shape[1]):
        raise DataError(
            f"{path}: {width} px wide, but the line's region reaches to column {region.right_px}; "
            "take the image out, or set region.right_mm to fit"
        )
    scored = score_image(backend, grid, path, image.pixels, region)
    return GoodImage(image.file, image.sha256, held_back, region, len(scored.tile_scores), scored.cells)


def _region_mm(images: Sequence[GoodImage], line: Line) -> tuple[float, float]:
    """The judged web's edges; where each image has its own, their medians."""
    if not images:
        return 0.0, line.web.width_mm
    edges = np.median([(image.region.left_px, image.region.right_px) for image in images], axis=0)
    left, right = (round(float(edge) * line.web.mm_per_px, 3) for edge in edges)
    return left, right


def _tiles_per_100m(web: GoodWeb, line: Line, width_mm: float) -> int:
    frame_rows = rows_of_frames(line, [image.region.height_px for image in web.images])
    plan = plan_for(web.grid, line, round(width_mm / line.web.mm_per_px), frame_rows)
    return math.ceil(100 * plan.tiles_per_m)


def _without_validation(web: GoodWeb, rate: float) -> GoodWeb:
    """Leave out what training held back, if the rest is enough: SOUND_IMAGES, and as many tiles as a limit wants."""
    rest = replace(web, images=tuple(image for image in web.images if not image.held_back))
    if len(rest.images) < SOUND_IMAGES or rest.tiles < wanted_tiles(rate):
        return web
    return replace(rest, validation_left_out=len(web.images) - len(rest.images))


def _find(
    data: Path, web: GoodWeb, region_mm: tuple[float, float], mm_per_px: float, target: Target
) -> FoundLevels:
    peak = max(float(image.cells.max()) for image in web.images)
    if peak <= 0:
        raise DataError(
            f"{data}: good web scores {peak:.4g} sigma at most; the recipe is dead, train it again"
        )
    maps = [GoodMap(image.cells, image.region.left_px) for image in web.images]
    try:
        return find_levels(maps, region_mm, web.grid, mm_per_px, target.per_100m)
    except ValueError:
        raise DataError(
            f"{data}: tile after tile scores the same {peak:.4g} sigma; the images are alike or show "
            "nothing, or the recipe is dead: look at the images, then train again"
        ) from None


def _shown_path(data: Path, site: Site) -> str:
    """Relative to the plant's folder; of a folder elsewhere only its name."""
    full = data.resolve()
    return full.relative_to(site.root).as_posix() if full.is_relative_to(site.root) else full.name
