"""Which good images are learnt from and which are held back, and the tiles of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspector.errors import DataError
from inspector.images.reading import Cut, Image, Laid, cut_tiles, lay_tiles
from inspector.learning.augment import relit
from inspector.learning.teachers import AS_PUBLISHED
from inspector.records import I32, U8

FEWEST_IMAGES = 5  # different ones: four to learn from and one to hold back is the least that means anything
GOOD_NUMBER = 20  # of images; below it is told what to do
FEWEST_TILES = 4  # to learn from, and to hold back
# Of tiles of 256 px; of others as many as show as much web (``as_much_web``), so that memory and time are the same.
MOST_TILES = 320  # learnt from; more teach little and fill memory (2 MB each, with its relit copy)
MOST_VALIDATION = 160
USUAL_TILE_PX = 256
VALIDATION_SHARE = 0.2  # of the images


@dataclass(frozen=True, slots=True)
class Held:
    """Good tiles apart by image: what is learnt from, and what is held back."""

    learnt: list[Image]
    validation: list[Image]
    learnt_tiles: U8  # [N, S, S(, 3)], as the line's grid cuts them
    astray_tiles: U8  # of the same images, each cut a bit off its place
    validation_tiles: U8  # both kinds
    learnt_of: I32  # [N] which image of ``learnt`` a tile is of
    validation_of: I32
    without_web: list[Image]  # good images in which ``auto`` found none
    left_out_share: float  # of an image's area: the most that ``auto`` left out of one

    @property
    def names(self) -> list[str]:
        """Of the images learnt from, then of those held back."""
        return [image.file.path.name for image in (*self.learnt, *self.validation)]

    def lesson(self, pair: str, seed: int) -> U8:
        """Tiles that students of a pair learn from; of our own pair's, the second half off its place in other light."""
        if pair in AS_PUBLISHED:
            return self.learnt_tiles
        return np.concatenate([self.learnt_tiles, relit(self.astray_tiles, seed)])


def as_much_web(count: int, cut: Cut) -> int:
    """How many tiles, margins and all, have as many pixels as ``count`` tiles of 256 px with the same margins."""
    return round(count * ((USUAL_TILE_PX + 2 * cut.margin_px) / cut.side_px) ** 2)


def hold_back(images: Sequence[Image], cut: Cut, seed: int, data: Path) -> Held:
    """Split good images into those learnt from and those held back, and cut both into tiles.

    Validation tiles come from other images than training tiles: neighbours would flatter the constants.
    Images of the same content count once, and those without web not at all. Raises DataError where there are too few.
    """
    distinct = list({image.pixels_sha256: image for image in images}.values())
    laid_on = [(image, lay_tiles(image, cut)) for image in distinct]
    without_web = [image for image, laid in laid_on if not len(laid.places)]
    laid_on = [(image, laid) for image, laid in laid_on if len(laid.places)]
    if len(laid_on) < FEWEST_IMAGES:
        raise DataError(_too_few(data, len(images), len(distinct), len(laid_on)))
    rng = np.random.default_rng((seed, len(laid_on)))
    order = [laid_on[at] for at in rng.permutation(len(laid_on))]
    aside = max(1, round(VALIDATION_SHARE * len(order)))
    validation, learnt = ([image for image, _ in part] for part in (order[:aside], order[aside:]))
    on_grid = [laid for _, laid in order[aside:]]
    astray = [laid.astray(cut, rng) for laid in on_grid]
    kept, learnt_of = _chosen(on_grid, as_much_web(MOST_TILES, cut), rng)
    learnt_tiles, astray_tiles = (_cut(learnt, cut, laid, kept) for laid in (on_grid, astray))
    both = [_both_ways(laid, cut, rng) for _, laid in order[:aside]]
    kept, validation_of = _chosen(both, as_much_web(MOST_VALIDATION, cut), rng)
    validation_tiles = _cut(validation, cut, both, kept)
    for part, found, fewest in ((learnt, learnt_tiles, FEWEST_TILES), (validation, validation_tiles, 1)):
        if len(found) < fewest:
            raise DataError(
                f"{data}: only {len(found)} tiles of {cut.tile_px} px in {len(part)} images; take more images, "
                "smaller tiles, or --region whole if background was looked for in vain"
            )
    return Held(
        learnt,
        validation,
        learnt_tiles,
        astray_tiles,
        validation_tiles,
        learnt_of,
        validation_of,
        without_web,
        max(_share_left_out(*one, cut) for one in laid_on),
    )


def _too_few(data: Path, images: int, distinct: int, with_web: int) -> str:
    same = f" ({images}, but only {distinct} different)" if distinct < images else ""
    if with_web < distinct:
        same += f", {distinct - with_web} of them without web that can be told from background"
    count = f"1 good image{same} is" if distinct == 1 else f"{distinct} good images{same} are"
    whole = "; with --region whole all of every image is web" if with_web < distinct else ""
    return f"{data}: {count} too few; training wants at least {FEWEST_IMAGES}, better {GOOD_NUMBER} or more{whole}"


def _share_left_out(image: Image, laid: Laid, cut: Cut) -> float:
    """Of an image's area, what is no web. On an image that is squeezed as a whole: nothing."""
    if cut.resize is not None:
        return 0.0
    height, width = image.pixels.shape[:2]
    return float(1 - laid.region.height_px * laid.region.width_px / (height * width))


def _both_ways(on_grid: Laid, cut: Cut, rng: np.random.Generator) -> Laid:
    """Tiles on the grid, then off it; an image of a single tile has nowhere else to cut one."""
    if len(on_grid.places) < 2:
        return on_grid
    return Laid(on_grid.region, np.concatenate([on_grid.places, on_grid.astray(cut, rng).places]))


def _chosen(laid: Sequence[Laid], most: int, rng: np.random.Generator) -> tuple[I32, I32]:
    """Which of all tiles stay, and the image that each of these is of."""
    of = np.repeat(np.arange(len(laid), dtype=np.int32), [len(one.places) for one in laid])
    kept = _thinned(len(of), most, rng)
    return kept, of[kept]


def _cut(images: Sequence[Image], cut: Cut, laid: Sequence[Laid], kept: I32) -> U8:
    """Cut the tiles that stay, and no others: all tiles of many large images fill any memory."""
    parts, before = [], 0
    for image, one in zip(images, laid, strict=True):
        after = before + len(one.places)
        here = kept[(kept >= before) & (kept < after)] - before
        parts.append(cut_tiles(image, cut, Laid(one.region, one.places[here])))
        before = after
    return np.concatenate(parts)


def _thinned(tiles: int, most: int, rng: np.random.Generator) -> I32:
    """Which tiles stay, in order."""
    if tiles <= most:
        return np.arange(tiles, dtype=np.int32)
    return np.sort(rng.choice(tiles, most, replace=False)).astype(np.int32)
