"""Images given to train, calibrate and evaluate: found, read, checked, cut into tiles.

DATA is either a folder of good images or an MVTec-style tree: ``train/good/*``, ``test/<kind>/*`` (kind
``good`` or the defect's name), ``ground_truth/<kind>/<stem>_mask.png``.

This module knows nothing of networks: it ends where uint8 tiles begin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from inspector.cameras.image_files import SUFFIXES as SUFFIXES
from inspector.cameras.image_files import UnfitImage, decode_file, is_grey
from inspector.errors import ConfigError, DataError, a_few
from inspector.records import I32, U8, Grid, Region
from inspector.tiling import find_region
from inspector.tiling.grid import astray, cut_at, origins, starts

Mask: TypeAlias = npt.NDArray[np.bool_]

GOOD = "good"
DARK = 127  # of a mask: what is above is fault
GREY_LABEL = 64  # darker specks are what lossy compression leaves
MOST_NAMED = 3
PX_PER_CELL = 4  # of every recipe trained here: fine enough for faults of 2 px, coarse enough to be cheap


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Where an image lies, what it shows, and where its mask lies (None: no mask, or a good image)."""

    path: Path
    kind: str  # "good" or the defect's name
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A DATA folder's files, sorted by name. ``test`` is empty for a plain folder of good images."""

    root: Path
    good: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]
    good_overlooked: tuple[str, ...] = ()  # sentences on what lies beside the good images and isn't looked at
    test_overlooked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image in memory."""

    file: ImageFile
    pixels: U8  # [H, W] or [H, W, 3] RGB
    sha256: str  # of the file
    pixels_sha256: str  # of shape, type and pixels: the same in whatever lossless format they are saved

    @property
    def channels(self) -> int:
        """1 (mono) or 3 (RGB)."""
        return 1 if self.pixels.ndim == 2 else 3

    def is_among(self, hashes: Container[str]) -> bool:
        """Whether its file's hash or its pixels' is one of some."""
        return self.sha256 in hashes or self.pixels_sha256 in hashes


@dataclass(frozen=True, slots=True)
class Cut:
    """How an image becomes tiles.

    Each tile is ``tile_px`` of judged interior with ``margin_px`` of real neighbourhood on every side,
    mirrored only at the image's own edges. ``resize`` first squeezes the whole image to a square of that
    many pixels. ``region`` "auto" leaves out tiles that touch background or selvedge.
    """

    tile_px: int = 256
    margin_px: int = 32
    overlap_px: int = 0
    resize: int | None = None
    region: Literal["whole", "auto"] = "whole"

    def __post_init__(self) -> None:
        """Refuse what can't be cut. Raises ConfigError."""
        if self.tile_px < 1 or self.margin_px < 0:
            raise ConfigError(f"tiles of {self.tile_px} px with a margin of {self.margin_px} px can't be cut")
        if self.tile_px % PX_PER_CELL or self.margin_px % PX_PER_CELL:
            raise ConfigError(
                f"tiles of {self.tile_px} px with a margin of {self.margin_px} px don't divide into cells of "
                f"{PX_PER_CELL} px"
            )
        if not 0 <= self.overlap_px <= self.tile_px // 2:
            raise ConfigError(
                f"an overlap of {self.overlap_px} px is not between 0 and half a tile ({self.tile_px} px)"
            )
        if self.resize is not None and self.resize < self.tile_px:
            raise ConfigError(
                f"--resize {self.resize} is smaller than a tile of {self.tile_px} px; give at least that"
            )

    @property
    def side_px(self) -> int:
        """Side of a tile with its margins, px."""
        return self.tile_px + 2 * self.margin_px


def open_data(root: Path) -> DataFolder:
    """Find a DATA folder's images. Raises DataError where there is no folder, no image in it, or no reading it."""
    try:
        return _opened(root)
    except OSError as error:
        raise DataError(
            f"{error.filename or root}: can't be read ({error.strerror}); give a folder that can"
        ) from None


def _opened(root: Path) -> DataFolder:
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; give a folder of good images, or a tree with train/good, and for `evaluate` with "
            "test/good and test/FAULT"
        )
    if (root / "train").is_dir() or (root / "test").is_dir():
        good = _listed(root / "train" / GOOD, GOOD)
        kinds = sorted(p for p in (root / "test").glob("*") if p.is_dir())
        for kind in kinds:
            if kind.name != GOOD and kind.name.lower() == GOOD:
                raise DataError(
                    f"{kind}: good web lies in a folder {GOOD!r}, and this would be a fault; rename it"
                )
        test = [
            file for kind in kinds for file in _listed(kind, kind.name, root / "ground_truth" / kind.name)
        ]
        beside_good = _overlooked(root / "train" / GOOD)
    else:
        good, test, kinds = _listed(root, GOOD), [], []
        beside_good = _overlooked(root)
    if not good and not test:
        raise DataError(
            f"{root}: no images here ({', '.join(SUFFIXES)}), neither directly nor in train/good, test/good or "
            "test/FAULT"
        )
    beside_test = [sentence for kind in kinds for sentence in _overlooked(kind)]
    return DataFolder(root, tuple(good), tuple(test), tuple(beside_good), tuple(beside_test))


def _listed(folder: Path, kind: str, masks: Path | None = None) -> list[ImageFile]:
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        mask = None
        if masks is not None and kind != GOOD:
            named = masks / f"{path.stem}_mask.png"
            mask = named if named.is_file() else None
        found.append(ImageFile(path, kind, mask))
    return found


def _overlooked(folder: Path) -> list[str]:
    """Sentences on files and folders that lie among images and are not looked at; hidden ones are nobody's images."""
    if not folder.is_dir():
        return []
    there = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    others = [path for path in there if path.is_file() and path.suffix.lower() not in SUFFIXES]
    told = []
    if others:
        suffixes = sorted({path.suffix.lower() or "without a suffix" for path in others})
        told.append(
            f"{len(others)} files in {folder} are no images that this program reads ({a_few(suffixes, MOST_NAMED)}); "
            f"save them as {SUFFIXES[0]} if they are images at all"
        )
    for inner in there:
        count = sum(path.suffix.lower() in SUFFIXES for path in inner.rglob("*")) if inner.is_dir() else 0
        if count:
            told.append(
                f"{inner} holds {count} images that are not looked at; put them into {folder} if they count"
            )
    return told


def read_image(file: ImageFile, channels: int | None = None) -> Image:
    """Read one image as uint8 mono or RGB.

    An opaque alpha channel is dropped. RGB whose three channels are equal is mono, unless 3 ``channels`` are
    wanted: a black frame of a colour camera is one of its frames. Raises DataError for a file that is missing,
    damaged, empty, not 8 bits deep, transparent, or of several pages.
    """
    try:
        pixels, data = decode_file(file.path)
    except UnfitImage as error:
        raise DataError(str(error)) from None
    image = Image(file, pixels, hashlib.sha256(data).hexdigest(), pixels_sha256(pixels))
    return image if channels == 3 else _as_grey(image)


def pixels_sha256(pixels: U8) -> str:
    """Hash of an image's shape, type and pixels, uint8 [H, W] or [H, W, 3]."""
    hashed = hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode())
    hashed.update(np.ascontiguousarray(pixels).data)
    return hashed.hexdigest()


def read_mask(
    file: ImageFile, shape: tuple[int, int], warn: Callable[[str], None] = lambda place: None
) -> Mask:
    """Return the truth of an image as bool [H, W]: all False for a good one. ``shape`` is the image's.

    ``warn`` is told a place where a whole piece of the mask is grey, and counts as good web.

    Raises DataError where the mask is missing, unreadable, of another size than its image, or drawn so dark that
    nothing of it counts.
    """
    if file.kind == GOOD:
        return np.zeros(shape, np.bool_)
    if file.mask is None:
        raise DataError(f"{file.path}: no mask ground_truth/{file.kind}/{file.path.stem}_mask.png beside it")
    pixels = read_image(ImageFile(file.mask, GOOD)).pixels
    mask = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    if mask.shape != shape:
        raise DataError(
            f"{file.mask}: the mask is {mask.shape[1]}x{mask.shape[0]} px but its image {shape[1]}x{shape[0]}; "
            "draw it anew on the image, or take both out"
        )
    truth = mask > DARK
    if mask.any() and not truth.any():
        raise DataError(
            f"{file.mask}: no pixel of the mask is above {DARK}, but some are {mask.max()}, not 0; a fault is drawn "
            "in white, 255, on black: save the mask so"
        )
    grey = _grey_piece(mask, truth)
    if grey is not None:
        warn(f"{file.mask} at column {grey[1]}, row {grey[0]}")
    return truth


def _grey_piece(mask: U8, truth: Mask) -> tuple[int, int] | None:
    """Row and column of a piece of a mask that is grey all over; None: there is none. A grey rim is rounding."""
    count, pieces = cv2.connectedComponents((mask >= GREY_LABEL).astype(np.uint8), connectivity=8)
    counted = np.zeros(count, np.bool_)
    counted[pieces[truth]] = True
    grey = np.argwhere((mask >= GREY_LABEL) & ~counted[pieces])
    return (int(grey[0, 0]), int(grey[0, 1])) if len(grey) else None


def read_images(files: Iterable[ImageFile], channels: int | None = None) -> list[Image]:
    """Read images that must all be alike: ``channels`` 1 or 3, or None for those of the first image that tells.

    RGB whose three channels are equal tells nothing: it may be grey, or a black frame of a colour camera.
    Raises DataError naming the odd one out.
    """
    images: list[Image] = []
    stored: list[int] = []  # channels of each file
    for file in files:
        image = read_image(file, channels or 3)
        stored.append(image.channels)
        images.append(
            image if channels == 3 else _as_grey(image)
        )  # at once: thousands in three channels fill memory
    against = "the recipe"
    if channels is None:
        telling = next((at for at, one in enumerate(images) if stored[at] == 1 or one.channels == 3), None)
        channels = 1 if telling is None else images[telling].channels
        against = "" if telling is None else images[telling].file.path.name
    if channels == 3:
        images = [_as_stored(one, count) for one, count in zip(images, stored, strict=True)]
    names = {1: "grey", 3: "colour"}
    for image in images:
        if image.channels != channels:
            raise DataError(
                f"{image.file.path}: a {names[image.channels]} image, but {against} is {names[channels]}; "
                "don't mix the two, convert them first"
            )
    return images


def _as_stored(image: Image, channels: int) -> Image:
    """The same image in as many channels as its file has."""
    if image.channels == channels:
        return image
    pixels = np.repeat(image.pixels[..., None], channels, axis=2)
    return replace(image, pixels=pixels, pixels_sha256=pixels_sha256(pixels))


def _as_grey(image: Image) -> Image:
    """The same image in one channel, if it has no colours."""
    if image.channels == 1 or not is_grey(image.pixels):
        return image
    pixels = np.ascontiguousarray(image.pixels[..., 0])
    return replace(image, pixels=pixels, pixels_sha256=pixels_sha256(pixels))


def canvas(pixels: U8, how: Cut) -> U8:
    """Return the image on which tiles are laid: itself, or squeezed to ``how.resize`` squared."""
    if how.resize is None:
        return pixels
    size = (how.resize, how.resize)
    shrinks = min(pixels.shape[:2]) >= how.resize
    return np.asarray(
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def canvas_mask(mask: Mask, how: Cut) -> Mask:
    """Return a mask on the same canvas, nearest pixel.

    A fault that nearest pixels would lose, or leave in pieces, keeps all that it touches: thin and small faults are
    what an evaluation must not forget, and a scratch is one fault, however thin.
    """
    if how.resize is None:
        return mask
    size = (how.resize, how.resize)
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    squeezed = np.zeros(size, np.bool_)
    for label in range(1, count):
        fault = (labels == label).astype(np.uint8)
        part = cv2.resize(fault, size, interpolation=cv2.INTER_NEAREST)
        if cv2.connectedComponents(part, connectivity=8)[0] != 2:  # itself and what is around it
            part = cv2.resize(fault.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        squeezed |= part > 0
    return squeezed


@dataclass(frozen=True, slots=True)
class Laid:
    """Where tiles lie on an image's canvas."""

    region: Region
    places: I32  # [N, 2] (row, col) of interiors, from the region's corner; none where there is no web

    def astray(self, how: Cut, rng: np.random.Generator) -> Laid:
        """Every tile up to half a stride off its place, as far as the web reaches.

        A grid alone meets a regular weave in one phase, and networks that know no other take every other one for a
        fault near a tile's sides.
        """
        return Laid(self.region, astray(_grid(how), self.places, rng)) if len(self.places) else self


def lay_tiles(image: Image, how: Cut) -> Laid:
    """Lay tiles on one image as the line lays them on its frame. Raises DataError where its web is smaller than one."""
    pixels = canvas(image.pixels, how)
    height, width = pixels.shape[:2]
    whole = Region(0, width, 0, height)
    region = find_region(pixels) if how.region == "auto" else whole
    if region is None:
        return Laid(whole, np.zeros((0, 2), np.int32))
    if min(region.height_px, region.width_px) < how.tile_px:
        of_web = "" if region == whole else " of web without background"
        raise DataError(
            f"{image.file.path}: {region.width_px}x{region.height_px} px{of_web} is smaller than a tile of "
            f"{how.tile_px} px; leave it out or use --resize {how.tile_px}"
        )
    grid = _grid(how)
    return Laid(region, origins(starts(grid, region.height_px), starts(grid, region.width_px)))


def cut_tiles(image: Image, how: Cut, laid: Laid) -> U8:
    """Cut the tiles that were laid on an image: uint8 [N, side, side(, 3)]."""
    return cut_at(_grid(how), canvas(image.pixels, how), laid.region, laid.places)


def _grid(how: Cut) -> Grid:
    return Grid(how.tile_px, how.margin_px, how.overlap_px, PX_PER_CELL)
