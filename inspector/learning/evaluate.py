"""Evaluate: what a recipe's engine finds in an MVTec-style tree, in figures and in pictures.

One score per image (its highest tile), one per tile, and one per pixel (cells drawn out bilinearly, the
highest where tiles overlap). Nothing here is fitted to the test images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from inspector.backends import open_backend
from inspector.backends.artifact import Recipe, load_recipe
from inspector.errors import DataError
from inspector.interfaces import Backend
from inspector.learning.images import (
    GOOD,
    SUFFIXES,
    Cut,
    DataFolder,
    ImageFile,
    Mask,
    canvas,
    canvas_mask,
    open_data,
    read_mask,
)
from inspector.learning.metrics import PixelFigures, auroc
from inspector.learning.pictures import Shown, draw, write_page, write_picture
from inspector.learning.report import Evaluation, ImageScore
from inspector.learning.scoring import Scored, read_for, score_image, warm_up
from inspector.records import F32, U8, Grid, Region
from inspector.tiling import find_region


@dataclass(frozen=True, slots=True)
class _Seen:
    """One image, gone through."""

    file: ImageFile
    pixels: U8  # [H, W] or [H, W, 3], resized where asked for
    truth: Mask | None  # [H, W]; None: faulty, but no mask says where
    scored: Scored | None  # None: no web to look at

    @property
    def name(self) -> str:
        """Kind and file, as in the tree."""
        return f"{self.file.kind}/{self.file.path.name}"


class _Look:
    """An engine and how it looks at images."""

    def __init__(self, engine: Backend, recipe: Recipe, cut: Cut) -> None:
        self.cut = cut
        self.grid = Grid(recipe.tile_px, recipe.margin_px, cut.overlap_px, recipe.px_per_cell)
        self._engine = engine
        self._channels = recipe.channels

    def at(self, file: ImageFile) -> _Seen:
        """Read an image and its mask, and score it."""
        image = read_for(file, self._channels)
        truth = self._truth(file, (image.pixels.shape[0], image.pixels.shape[1]))
        pixels = canvas(image.pixels, self.cut)
        height, width = pixels.shape[:2]
        region = Region(0, width, 0, height) if self.cut.region == "whole" else find_region(pixels)
        scored = None
        if region is not None:
            scored = score_image(self._engine, self.grid, file.path, pixels, region)
        return _Seen(file, pixels, truth, scored)

    def _truth(self, file: ImageFile, shape: tuple[int, int]) -> Mask | None:
        if file.kind == GOOD:
            return canvas_mask(np.zeros(shape, np.bool_), self.cut)
        if file.mask is None:
            return None
        mask = canvas_mask(read_mask(file, shape), self.cut)
        return mask if mask.any() else None


class _Results:
    """What is kept of the images gone through."""

    def __init__(self, grid: Grid, pictures: Path | None, limit_sigma: float | None) -> None:
        self.pixels = PixelFigures()
        self.images: list[ImageScore] = []
        self.tile_scores: list[F32] = []
        self.tile_faulty: list[Mask] = []
        self.shown: list[Shown] = []
        self.seconds = 0.0
        self.masks = 0
        self.without_mask = 0
        self.without_web = 0
        self.faults_outside = 0
        self._grid = grid
        self._pictures = pictures
        self._limit_sigma = limit_sigma

    def add(self, seen: _Seen) -> None:
        """Count an image, and draw it where pictures are wanted."""
        scored = seen.scored
        if scored is None:
            self.without_web += 1
            return
        score = float(scored.tile_scores.max())
        self.images.append(ImageScore(seen.name, seen.file.kind, score, len(scored.tile_scores)))
        self.seconds += scored.seconds
        height, width = seen.pixels.shape[:2]
        inside = _slices(scored.region)
        judged, scores = np.zeros((height, width), np.bool_), np.zeros((height, width), np.float32)
        judged[inside], scores[inside] = True, scored.pixel_scores(self._grid.px_per_cell)
        if seen.truth is None:
            self.without_mask += 1
        else:
            self.masks += seen.file.kind != GOOD
            self.pixels.add(scores, seen.truth, judged)
            self.faults_outside += _faults_outside(seen.truth, judged)
            self.tile_scores.append(scored.tile_scores)
            self.tile_faulty.append(_faulty_tiles(seen.truth[inside], scored, self._grid.tile_px))
        if self._pictures is not None:
            file = f"{seen.file.kind}-{seen.file.path.stem}.png"
            picture = draw(seen.pixels, scores, judged, seen.truth, self._limit_sigma)
            write_picture(self._pictures / file, picture)
            self.shown.append(Shown(file, seen.name, score))


def _slices(region: Region) -> tuple[slice, slice]:
    return slice(region.top_px, region.bottom_px), slice(region.left_px, region.right_px)


def _faulty_tiles(truth: Mask, scored: Scored, tile_px: int) -> Mask:
    """Which tiles have a pixel of the mask: bool [N]. ``truth`` is the region's."""
    tiles = (truth[row : row + tile_px, column : column + tile_px] for row, column in scored.origins_px)
    return np.array([tile.any() for tile in tiles], np.bool_)


def _faults_outside(truth: Mask, judged: Mask) -> int:
    """How many 8-connected pieces of the mask no judged pixel touches."""
    count, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    touched = np.unique(labels[truth & judged])
    return int(count - 1 - len(touched))


def evaluate(
    data: Path,
    recipe_dir: Path,
    *,
    backend: str = "openvino",
    resize: int | None = None,
    overlap_px: int = 32,
    region: Literal["whole", "auto"] = "whole",
    pictures: Path | None = None,
    limit_sigma: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score the test images of an MVTec-style tree.

    Args:
        data: the tree: test/good, test/<fault>, ground_truth/<fault>.
        recipe_dir: engines/NAME, with an engine built for ``backend``.
        backend: "openvino", "onnxruntime" or "tensorrt".
        resize: squeeze whole images to a square of that many pixels first; None: native resolution.
        overlap_px: of neighbouring tiles.
        region: "auto" leaves out background and selvedge.
        pictures: folder to write a picture of every image and an index.html to.
        limit_sigma: limit drawn in the pictures; None: the highest tile of the tree's own train/good
            images that the students never learnt from, where there are any.
        progress: told how many images are done, and of how many.

    Raises:
        DataError: images or masks can't be used; the message names them.
        ArtefactError: recipe or engine are missing, don't fit, or score NaN; pictures can't be written.
    """
    tree = open_data(data)
    if not tree.test:
        raise DataError(
            f"{data}: no test images; evaluate wants test/good and test/<fault> as MVTec AD has them"
        )
    _refuse_stray_masks(tree)
    recipe = load_recipe(recipe_dir)
    if overlap_px % recipe.px_per_cell:
        raise DataError(
            f"an overlap of {overlap_px} px is no multiple of the recipe's cell, {recipe.px_per_cell} px"
        )
    cut = Cut(recipe.tile_px, recipe.margin_px, overlap_px, resize, region)
    engine = open_backend(recipe_dir, backend, 0)
    try:
        warm_up(engine)
        look = _Look(engine, recipe, cut)
        if pictures is not None and limit_sigma is None:
            limit_sigma = _highest_unlearnt(tree.good, recipe, look)
        results = _Results(look.grid, pictures, limit_sigma)
        for done, file in enumerate(tree.test):
            progress(done, len(tree.test))
            results.add(look.at(file))
        progress(len(tree.test), len(tree.test))
        precision = engine.info.precision
    finally:
        engine.close()
    evaluation = _evaluation(data, recipe, backend, precision, cut, limit_sigma, results)
    if pictures is not None:
        write_page(pictures / "index.html", evaluation.data, evaluation.summary(), results.shown)
    return evaluation


def _evaluation(
    data: Path,
    recipe: Recipe,
    backend: str,
    precision: str,
    cut: Cut,
    limit_sigma: float | None,
    results: _Results,
) -> Evaluation:
    kinds = Counter(one.kind for one in results.images)
    good = [one.score for one in results.images if one.kind == GOOD]
    by_kind = {
        kind: auroc(
            good + (faulty := [one.score for one in results.images if one.kind == kind]),
            [False] * len(good) + [True] * len(faulty),
        )
        for kind in sorted(kinds)
        if kind != GOOD
    }
    tile_faulty = np.concatenate(results.tile_faulty) if results.tile_faulty else np.zeros(0, np.bool_)
    tile_scores = np.concatenate(results.tile_scores) if results.tile_scores else np.zeros(0, np.float32)
    tiles = sum(one.tiles for one in results.images)
    return Evaluation(
        recipe=recipe.name,
        onnx_sha256=recipe.onnx_sha256,
        backend=backend,
        precision=precision,
        data=data.resolve().name,
        resize=cut.resize,
        overlap_px=cut.overlap_px,
        region=cut.region,
        image_auroc=auroc(
            [one.score for one in results.images], [one.kind != GOOD for one in results.images]
        ),
        tile_auroc=auroc(tile_scores, tile_faulty) if results.masks else None,
        pixel_auroc=results.pixels.auroc() if results.masks else None,
        aupro=results.pixels.aupro() if results.masks else None,
        image_auroc_by_kind=by_kind,
        images=len(results.images),
        images_by_kind=dict(sorted(kinds.items())),
        images_without_mask=results.without_mask,
        images_without_web=results.without_web,
        tiles=tiles,
        tiles_faulty=int(tile_faulty.sum()),
        faults=results.pixels.faults,
        faults_outside_region=results.faults_outside,
        tiles_per_second=tiles / results.seconds if results.seconds else 0.0,
        limit_sigma=limit_sigma,
        scores=tuple(results.images),
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
        more = f" (and {len(stray) - 1} more)" if len(stray) > 1 else ""
        raise DataError(
            f"{stray[0]}{more}: a mask without an image; it must be called <stem of the image>_mask.png, "
            f"its image stand in test/{stray[0].parent.name}"
        )


def _highest_unlearnt(good: Sequence[ImageFile], recipe: Recipe, look: _Look) -> float | None:
    """The highest tile of the good images that the students never learnt from; None where there are none."""
    highest = None
    for file in good:
        if read_for(file, recipe.channels).sha256 in recipe.learnt_sha256:
            continue
        scored = look.at(file).scored
        if scored is not None:
            highest = max(float(scored.map_peaks.max()), -np.inf if highest is None else highest)
    return highest
