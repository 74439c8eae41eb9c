"""Evaluate: what a recipe's engine finds in an MVTec-style tree, in figures and in pictures.

One score per image (its highest tile), one per tile, and one per pixel (cells drawn out bilinearly, the
highest where tiles overlap). These rank. What is held against a line's limit is the cells as the line's zones and
windows see them. Nothing here is fitted to the test images, and no limit comes from them.
"""

from __future__ import annotations

import datetime
import glob
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from inspector import __version__
from inspector.backends import failures_told, open_backend
from inspector.backends.artifact import Recipe, load_recipe, see_that_it_takes_files
from inspector.errors import ArtefactError, ConfigError, DataError, a_few
from inspector.evaluating import bootstrap
from inspector.evaluating.collect import Collected
from inspector.evaluating.operating import LineUnderTest, Web, at_limit, operating_points, web_of
from inspector.evaluating.page import PAGE_FILE, Report, remove_page, write_page
from inspector.evaluating.panels import Shown, draw, picture_name
from inspector.evaluating.peaks import Peaks
from inspector.evaluating.report import Evaluation, FaultScore
from inspector.evaluating.seeing import Look, Seen, above_on_canvas, on_canvas
from inspector.images.pictures import write_picture
from inspector.images.reading import GOOD, SUFFIXES, Cut, DataFolder, ImageFile, open_data
from inspector.images.scoring import warm_up
from inspector.interfaces import EngineInfo
from inspector.limits import refuse_other_columns
from inspector.records import U8, Grid, Levels, Region
from inspector.tiling import find_region, grid_for, region_finder
from inspector.tiling.grid import WHOLE_SHARE
from inspector.tiling.region import whole_frame

OVERLAP_PX = 32
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Limit:
    """What the pictures draw, and whether figures may be held against it."""

    sigma: float | None
    source: str
    binding: bool  # set by calibration or by a person


def _refuse(error: ArtefactError) -> None:
    raise error


def evaluate(
    data: Path,
    recipe_dir: Path,
    *,
    backend: str | None = None,
    resize: int | None = None,
    overlap_px: int | None = None,
    region: Literal["whole", "auto"] | None = None,
    pictures: Path | None = None,
    limit_sigma: float | None = None,
    line: LineUnderTest | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
    unwritten: Callable[[ArtefactError], None] = _refuse,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score the test images of an MVTec-style tree.

    Args:
        data: the tree: test/good, test/<fault>, ground_truth/<fault>.
        recipe_dir: engines/NAME, with an engine built for ``backend``.
        backend: "openvino", "onnxruntime" or "tensorrt"; None: the line's, without a line "openvino".
        resize: squeeze whole images to a square of that many pixels first; None: native resolution.
        overlap_px: of neighbouring tiles; None: the line's, without a line 32.
        region: "auto" leaves out background and selvedge; None: the line's, without a line "whole". Another than the
            line's is tried at its limit, and metres are those of a web as wide as what is judged of these images.
        pictures: folder to write a picture of every image to, and at the end an index.html; one of before is removed.
        limit_sigma: a limit given by hand, instead of the line's (its zones move with it, its windows don't);
            None without a line: the pictures show the highest tile of the tree's own train/good images that the
            students never learnt from, where there are any, and no figure is held against it.
        line: whose limit, grid, region, mm per pixel and tiles per metre hold; its limit must be this recipe's.
        warn: told a sentence about what is probably a mistake, before the work or, of masks, after it.
        unwritten: given, once, why pictures can't be written. Where it returns, the figures go on without them.
        progress: told how many images are done, and of how many.

    Raises:
        DataError: images or masks can't be used, the message names them; or there is no web in any image.
        ArtefactError: recipe or engine are missing, don't fit, or score NaN; the line's limit was set on other columns
            than it judges of these images; pictures can't be written, and ``unwritten`` is not given.
        ConfigError: the line's grid doesn't fit the recipe, no tiles can be cut so, or images are to be squeezed for a
            line.
    """
    tree = open_data(data)
    _refuse_kinds_without_images(tree)
    if not tree.test:
        raise DataError(
            f"{data}: no test images; evaluate wants test/good and test/<fault> as MVTec AD has them"
        )
    _refuse_stray_masks(tree)
    recipe = load_recipe(recipe_dir)
    if line is not None and resize is not None:
        raise ConfigError(
            f"--resize {resize} with --line {line.line_id}: a line sees pixels as they are and its limit holds for "
            "these; leave one of the two out"
        )
    if line is not None and overlap_px is not None:
        raise ConfigError(
            f"--overlap-px {overlap_px} with --line {line.line_id}: rates are those of the line's own tiles; leave one "
            "of the two out"
        )
    if pictures is not None:
        see_that_it_takes_files(pictures)
    if line is not None and region == line.line.region.kind:
        region = None
    warnings = [*tree.test_overlooked, *_resize_warning(recipe, resize), *_region_warning(line, region)]
    for sentence in warnings:
        warn(sentence)
    backend = backend or (line.line.engine.backend if line else "openvino")
    engine = open_backend(recipe_dir, backend, line.line.engine.threads if line else 0)
    with closing(engine), failures_told(engine):
        if overlap_px is None:
            overlap_px = grid_for(line.line, engine.info).overlap_px if line else OVERLAP_PX
        if overlap_px % recipe.px_per_cell:
            raise ConfigError(
                f"an overlap of {overlap_px} px is no multiple of the recipe's cell, {recipe.px_per_cell} px"
            )
        cut = Cut(recipe.tile_px, recipe.margin_px, overlap_px, resize)
        look = Look(
            engine,
            recipe,
            cut,
            *_region(region, line),
            *_levels(line, limit_sigma),
            calibrated_sha256=frozenset(line.limits.images.values() if line else ()),
        )
        warm_up(engine)
        limit = _limit(limit_sigma, line, tree, look, drawn=pictures is not None)
        collected = Collected(look.grid)
        shown: list[Shown] = []
        for done, file in enumerate(tree.test):
            progress(done, len(tree.test))
            seen = look.at(file)
            if line is not None and region is None:
                _refuse_other_columns(line, seen)
            peaks = collected.add(seen)
            if pictures is not None and peaks is not None:
                median = collected.scores[-1].median
                try:
                    if not shown:
                        remove_page(pictures / PAGE_FILE)
                    shown.append(_draw(pictures, seen, peaks, median, look.grid, limit.sigma, shown))
                except ArtefactError as error:
                    pictures = None
                    unwritten(error)
        progress(len(tree.test), len(tree.test))
        if not collected.scores:
            raise DataError(
                f"{data}: region {look.region!r} finds no web in any of the {len(tree.test)} test images: "
                "nothing is left to count; give --region whole to look at all of each"
            )
        for sentence in _grey_warning(look.grey_pieces):
            warn(sentence)
            warnings.append(sentence)
        web = None
        if line is not None:
            tried_px = None if region is None else round(float(np.median(collected.columns)))
            web = web_of(line, engine.info, collected.rows, tried_px)
        evaluation = _evaluation(data, recipe, engine.info, look, collected, limit, line, web, warnings)
    if pictures is not None:
        try:
            write_page(pictures / PAGE_FILE, Report(evaluation, collected.peaks, collected.curves(), shown))
        except ArtefactError as error:
            unwritten(error)
    return evaluation


def _grey_warning(places: Sequence[str]) -> list[str]:
    if not places:
        return []
    named = a_few(places, MOST_NAMED)
    return [
        (
            f"{len(places)} masks hold pieces that are grey all over and count as good web ({named}); a fault is drawn "
            "in white, 255, on black: save them so, if these are faults"
        )
    ]


def _resize_warning(recipe: Recipe, resize: int | None) -> list[str]:
    trained = recipe.training.resize
    if trained == resize:
        return []
    if trained is None:
        return [
            (
                f"recipe {recipe.name} learnt from images at native resolution as far as its recipe.toml tells, but "
                f"--resize {resize} squeezes these: leave it out, unless the recipe is older than that entry"
            )
        ]
    now = "are taken at native resolution" if resize is None else f"are squeezed to {resize} px"
    return [
        (
            f"recipe {recipe.name} learnt from whole images squeezed to {trained} px square, but these {now}: "
            f"give --resize {trained}"
        )
    ]


def _region_warning(line: LineUnderTest | None, region: str | None) -> list[str]:
    if line is None or region is None:
        return []
    return [
        (
            f"--region {region} is not what line {line.line_id} does: its region is {line.line.region.kind!r}, its "
            "limit was set on that; metres and rates are those of a web as wide as what is judged here"
        )
    ]


def _refuse_other_columns(line: LineUnderTest, seen: Seen) -> None:
    """Rates and zones of other columns are none of the line's; images that join no other may differ as in a run.

    Raises ArtefactError.
    """
    width_px, (left_mm, right_mm) = seen.pixels.shape[1], line.limits.region_mm
    share = width_px * line.line.web.mm_per_px / (right_mm - left_mm)
    whole = line.line.region.kind == "whole" and WHOLE_SHARE <= share <= 1 / WHOLE_SHARE
    if whole and not line.line.web.seamless:
        return
    try:
        refuse_other_columns(line.limits, line.line, line.line_id, width_px)
    except ArtefactError as error:
        raise ArtefactError(f"{seen.file.path}, {width_px} px wide: {error}") from None


def _region(asked: str | None, line: LineUnderTest | None) -> tuple[str, Callable[[U8], Region | None]]:
    """What the region is called, and the function that finds it."""
    if asked is None and line is not None:
        return line.line.region.kind, region_finder(line.line)
    return ("auto", find_region) if asked == "auto" else ("whole", whole_frame)


def _levels(line: LineUnderTest | None, by_hand: float | None) -> tuple[Levels | None, float]:
    """A line's limits, with the one given by hand in its place, and its mm per pixel."""
    if line is None:
        return None, 1.0
    levels = line.limits.levels
    return (levels if by_hand is None else replace(levels, limit_sigma=by_hand)), line.line.web.mm_per_px


def _limit(
    by_hand: float | None, line: LineUnderTest | None, tree: DataFolder, look: Look, *, drawn: bool
) -> _Limit:
    if by_hand is not None:
        return _Limit(by_hand, "given by hand", binding=True)
    if line is not None:
        moved = line.limits.set_by_hand
        source = f"line {line.line_id}, " + (f"set by hand: {moved}" if moved else "calibrated")
        return _Limit(line.limits.limit_sigma, source, binding=True)
    highest = _highest_unlearnt(tree.good, look) if drawn else None
    if highest is None:
        return _Limit(None, "none", binding=False)
    source = "for the pictures alone: the highest good tile of train/good that the students never learnt from"
    return _Limit(highest, source, binding=False)


def _draw(
    folder: Path,
    seen: Seen,
    peaks: Peaks,
    median: float,
    grid: Grid,
    limit_sigma: float | None,
    before: Sequence[Shown],
) -> Shown:
    assert seen.scored is not None, "only what was looked at is drawn"
    judged, scores = on_canvas(seen, seen.scored, grid.px_per_cell)
    above = None
    if limit_sigma is not None:
        above = above_on_canvas(seen, seen.scored, grid.px_per_cell, limit_sigma)
    file = picture_name(seen.file.kind, seen.file.path.stem, {one.file for one in before})
    write_picture(folder / file, draw(seen.pixels, scores, judged, seen.truth, above, limit_sigma))
    return Shown(file, peaks, None if above is None else float(above[judged].mean()), median)


def _evaluation(
    data: Path,
    recipe: Recipe,
    engine: EngineInfo,
    look: Look,
    collected: Collected,
    limit: _Limit,
    line: LineUnderTest | None,
    web: Web | None,
    warnings: Sequence[str],
) -> Evaluation:
    figures = collected.figures()
    tiles = sum(one.tiles for one in collected.scores)
    held_against = limit.sigma if limit.binding else None
    return Evaluation(
        recipe=recipe.name,
        onnx_sha256=recipe.onnx_sha256,
        backend=engine.backend,
        backend_version=engine.version,
        precision=engine.precision,
        inspector=__version__,
        date_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        data=data.resolve().name,
        resize=look.cut.resize,
        trained_resize=recipe.training.resize,
        overlap_px=look.cut.overlap_px,
        region=look.region,
        line=line.line_id if line else None,
        mm_per_px=web.mm_per_px if web else None,
        tiles_per_100m=web.tiles_per_100m if web else None,
        image_auroc=figures.image_auroc,
        image_auroc_ci95=figures.image_auroc_ci95,
        tile_auroc=figures.tile_auroc,
        tile_auroc_ci95=figures.tile_auroc_ci95,
        pixel_auroc=figures.pixel_auroc,
        pixel_auroc_ci95=figures.pixel_auroc_ci95,
        aupro=figures.aupro,
        aupro_ci95=figures.aupro_ci95,
        bootstrap_resamples=bootstrap.RESAMPLES,
        bootstrap_seed=bootstrap.SEED,
        image_auroc_by_kind={kind: one.image_auroc for kind, one in figures.by_kind.items()},
        figures_by_kind=figures.by_kind,
        images=len(collected.scores),
        images_by_kind=collected.kinds,
        images_learnt=collected.learnt,
        images_held_back=collected.held_back,
        good_images_calibrated=collected.good_calibrated,
        images_repeated=collected.repeated,
        images_without_mask=collected.without_mask,
        images_without_web=collected.without_web,
        tiles=tiles,
        tiles_faulty=collected.tiles_faulty,
        faults=collected.faults,
        faults_outside_region=collected.faults_outside,
        tiles_per_second=tiles / collected.seconds if collected.seconds else 0.0,
        limit_sigma=limit.sigma,
        limit_source=limit.source,
        at_limit=at_limit(collected.peaks, held_against, web) if held_against is not None else None,
        evaluation_operating_points=operating_points(collected.peaks, web),
        tolerance_px=recipe.px_per_cell,
        warnings=tuple(warnings),
        scores=tuple(collected.scores),
        fault_scores=tuple(
            FaultScore(one.image, one.kind, fault.extent_px, fault.area_px, fault.peak_sigma)
            for one in collected.peaks
            for fault in one.faults
        ),
    )


def _refuse_kinds_without_images(tree: DataFolder) -> None:
    """A type of fault that nobody looks at would escape without being counted. Raises DataError."""
    seen = {file.path.parent for file in tree.test}
    for folder in sorted((tree.root / "test").glob("[!.]*")):
        if folder.is_dir() and folder not in seen and any(folder.glob("[!.]*")):
            raise DataError(
                f"{folder}: no image that this program reads ({', '.join(SUFFIXES)}) lies in it, but something does; "
                "save its images so, in this very folder, or take the folder out"
            )


def _refuse_stray_masks(tree: DataFolder) -> None:
    """A mask whose image is missing means that the pack is not what it seems. Raises DataError."""
    used = {file.mask for file in tree.test}
    stray = [
        path
        for path in sorted((tree.root / "ground_truth").glob("*/*"))
        if path.suffix.lower() in SUFFIXES and path not in used and path.parent.name != GOOD
    ]
    if stray:
        _refuse_unread_image(tree, stray[0])
        more = f" (and {len(stray) - 1} more)" if len(stray) > 1 else ""
        raise DataError(
            f"{stray[0]}{more}: a mask without an image; it must be called <stem of the image>_mask.png, "
            f"its image stand in test/{stray[0].parent.name}"
        )


def _refuse_unread_image(tree: DataFolder, mask: Path) -> None:
    """A mask's image may well stand there, in a format that nobody looks at. Raises DataError."""
    stem = mask.stem.removesuffix("_mask")
    for image in (tree.root / "test" / mask.parent.name).glob(f"{glob.escape(stem)}.*"):
        if image.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{image}: there is a mask of it, {mask}, but this program reads no {image.suffix}; save the image as "
                f"one of {', '.join(SUFFIXES)}"
            )


def _highest_unlearnt(good: Sequence[ImageFile], look: Look) -> float | None:
    """The highest tile of the good images that the students never learnt from; None where there are none."""
    highest = None
    for file in good:
        if look.read(file)[1].learnt:
            continue
        scored = look.at(file).scored
        if scored is not None:
            highest = max(float(scored.map_peaks.max()), -np.inf if highest is None else highest)
    return highest
