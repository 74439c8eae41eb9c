"""Test images as an engine sees them, each with the truth that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np

from inspector.backends.artifact import Recipe
from inspector.errors import DataError
from inspector.images.reading import GOOD, Cut, Image, ImageFile, Mask, canvas, canvas_mask, read_mask
from inspector.images.scoring import Scored, read_for, score_image
from inspector.interfaces import Backend
from inspector.records import F32, U8, Grid, Levels, Region


@dataclass(frozen=True, slots=True)
class Before:
    """What an image was used for before it came here: figures from it flatter what was made of it."""

    learnt: bool  # the students learnt from it
    held_back: bool  # training held it back, and the graph's constants come from it
    calibrated: bool  # the line's limit was set on it


@dataclass(frozen=True, slots=True)
class Seen:
    """One image, gone through."""

    file: ImageFile
    pixels: U8  # [H, W] or [H, W, 3], resized where asked for
    truth: Mask | None  # [H, W]; None: faulty, but no mask says where
    scored: Scored | None  # None: no web to look at
    before: Before
    pixels_sha256: str  # as the file has them: a copy's are the same

    @property
    def name(self) -> str:
        """Kind and file, as in the tree."""
        return f"{self.file.kind}/{self.file.path.name}"


class Look:
    """An engine and how it looks at images.

    Args:
        engine: open.
        recipe: the engine's.
        cut: how images become tiles.
        region: "whole", "fixed" or "auto": what ``locate`` is called.
        locate: finds the region to be judged, uint8 [H, W(, 3)] -> Region or None where no web is in view.
        levels: limits of a line, which judge the cells; None: no line.
        mm_per_px: of that line's picture.
        calibrated_sha256: of the images that these limits were set on.
    """

    def __init__(
        self,
        engine: Backend,
        recipe: Recipe,
        cut: Cut,
        region: str,
        locate: Callable[[U8], Region | None],
        levels: Levels | None = None,
        mm_per_px: float = 1.0,
        calibrated_sha256: Set[str] = frozenset(),
    ) -> None:
        self.cut = cut
        self.region = region
        self.grid = Grid(recipe.tile_px, recipe.margin_px, cut.overlap_px, recipe.px_per_cell)
        self._engine = engine
        self._recipe = recipe
        self._locate = locate
        self._levels = levels
        self._mm_per_px = mm_per_px
        self._calibrated_sha256 = calibrated_sha256
        self.grey_pieces: list[str] = []  # places in masks that count as good web, though something is drawn

    def read(self, file: ImageFile) -> tuple[Image, Before]:
        """Read an image, and see what it was used for. Raises DataError."""
        image = read_for(file, self._recipe.channels)
        known = (self._recipe.learnt_sha256, self._recipe.validation_sha256, self._calibrated_sha256)
        return image, Before(*(image.is_among(hashes) for hashes in known))

    def at(self, file: ImageFile) -> Seen:
        """Read an image and its mask, and score it. Raises DataError and ArtefactError as reading and scoring do."""
        image, before = self.read(file)
        truth = self._truth(file, (image.pixels.shape[0], image.pixels.shape[1]))
        pixels = canvas(image.pixels, self.cut)
        region, scored = self._locate(pixels), None
        if region is not None:
            if region.right_px > pixels.shape[1]:
                raise DataError(
                    f"{file.path}: {pixels.shape[1]} px wide, but the line's region reaches to column "
                    f"{region.right_px}; take the image out, or give --region whole"
                )
            scored = score_image(self._engine, self.grid, file.path, pixels, region)
            if self._levels is not None:
                scored = scored.levelled(self._levels, self.grid, self._mm_per_px)
        return Seen(file, pixels, truth, scored, before, image.pixels_sha256)

    def _truth(self, file: ImageFile, shape: tuple[int, int]) -> Mask | None:
        if file.kind == GOOD:
            return canvas_mask(np.zeros(shape, np.bool_), self.cut)
        if file.mask is None:
            return None
        mask = canvas_mask(read_mask(file, shape, self.grey_pieces.append), self.cut)
        return mask if mask.any() else None


def on_canvas(seen: Seen, scored: Scored, px_per_cell: int) -> tuple[Mask, F32]:
    """Which pixels were judged, bool [H, W], and their scores, float32 [H, W] sigma, 0 where not judged."""
    height, width = seen.pixels.shape[:2]
    judged, scores = np.zeros((height, width), np.bool_), np.zeros((height, width), np.float32)
    region = inside(scored.region)
    judged[region], scores[region] = True, scored.pixel_scores(px_per_cell)
    return judged, scores


def above_on_canvas(seen: Seen, scored: Scored, px_per_cell: int, limit_sigma: float) -> Mask:
    """Which pixels lie in a cell above the limit, as judging sees it: bool [H, W]."""
    above = np.zeros(seen.pixels.shape[:2], np.bool_)
    above[inside(scored.region)] = scored.pixel_cells(px_per_cell) > limit_sigma
    return above


def inside(region: Region) -> tuple[slice, slice]:
    """Rows and columns of a region."""
    return slice(region.top_px, region.bottom_px), slice(region.left_px, region.right_px)
