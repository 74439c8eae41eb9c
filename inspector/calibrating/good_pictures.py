"""Pictures of good images that a person should look at: is this good?"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from inspector.errors import ArtefactError
from inspector.images.pictures import FOUND_RGB, captioned, heat, in_colour, joined, write_picture
from inspector.records import F32, U8, Region

AROUND_PX = 384  # shown on each side of the place
BOX_PX = 24  # from the place to its outline, so that a small fault isn't painted over


@dataclass(frozen=True, slots=True)
class Asked:
    """One good image to look at, and where."""

    stem: str  # of the picture's file
    told: str  # why, a few words
    place_px: tuple[float, float]  # (x, y) in the image


def empty_folder(folder: Path) -> None:
    """Make a folder, or clear it of an earlier calibration's pictures. Raises ArtefactError."""
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ArtefactError(
            f"{folder}: can't be replaced ({error.strerror}); move it out of the way"
        ) from None


def ask(
    folder: Path, asked: Asked, pixels: U8, region: Region, cells: F32, px_per_cell: int, limit: float
) -> Path:
    """Write a picture: the image around the place, outlined, and beside it the heat map from 0 to twice the limit.

    Args:
        folder: to write to.
        asked: what and where.
        pixels: uint8 [H, W] or [H, W, 3] RGB.
        region: of it that was scored.
        cells: float32 [rows, columns] over the region, in the limit's unit.
        px_per_cell: side of a cell.
        limit: of the cells, sigma.

    Raises:
        ArtefactError: the disk won't take it.
    """
    image = in_colour(pixels)
    x, y = (round(at) for at in asked.place_px)
    scores = np.zeros(image.shape[:2], np.float32)
    drawn = cells.repeat(px_per_cell, axis=0).repeat(px_per_cell, axis=1)
    scores[region.top_px : region.bottom_px, region.left_px : region.right_px] = drawn[
        : region.height_px, : region.width_px
    ]
    hot = heat(scores, 2 * limit)
    for panel in (image, hot):
        cv2.rectangle(panel, (x - BOX_PX, y - BOX_PX), (x + BOX_PX, y + BOX_PX), FOUND_RGB, 2)
    rows, columns = (
        slice(max(0, at - AROUND_PX), min(size, at + AROUND_PX))
        for at, size in zip((y, x), image.shape[:2], strict=True)
    )
    panels = [
        captioned(f"is this good? {asked.told}", image[rows, columns]),
        captioned(f"score, 0 to {2 * limit:.1f} sigma", hot[rows, columns]),
    ]
    file = folder / f"{asked.stem}.png"
    write_picture(file, joined(panels, axis=1))
    return file
