"""What a report shows of a test image: image, truth, heat map and what exceeds the limit, side by side."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, count

import cv2
import numpy as np

from inspector.evaluating.peaks import Peaks
from inspector.images.pictures import FOUND_RGB, captioned, heat, in_colour, joined
from inspector.images.reading import Mask
from inspector.records import F32, U8

WIDEST_PANEL_PX, HIGHEST_PANEL_PX = 2048, 640  # a page of a hundred pictures must still load
TOP_WITHOUT_LIMIT_SIGMA = 20.0
TRUTH_RGB = (0, 200, 80)


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture on the page."""

    file: str  # name in the pictures folder
    peaks: Peaks  # of the image
    above: float | None  # share of the judged pixels above the limit; None without one
    median: float  # of its cells, sigma


def draw(
    pixels: U8, scores: F32, judged: Mask, truth: Mask | None, above: Mask | None, limit_sigma: float | None
) -> U8:
    """Four panels: image, truth outlined, heat map, what exceeds the limit outlined.

    Wide images are stacked, others stand side by side. The heat map's colours run from 0 to twice the
    limit (to 20 sigma without one), the same for every image; what was not judged is dimmed.

    Args:
        pixels: uint8 [H, W] or [H, W, 3] RGB.
        scores: float32 [H, W], sigma.
        judged: bool [H, W].
        truth: bool [H, W], or None where there is no mask.
        above: bool [H, W], what exceeds the limit; None without one.
        limit_sigma: the limit, or None for none.

    Returns:
        uint8 [h, w, 3] RGB.
    """
    height, width = pixels.shape[:2]
    shrink = min(1.0, WIDEST_PANEL_PX / width, HIGHEST_PANEL_PX / height)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    image = _resized(in_colour(pixels), size)
    top = 2 * limit_sigma if limit_sigma else TOP_WITHOUT_LIMIT_SIGMA
    hot = heat(np.where(judged, scores, 0), top)
    hot[~judged] //= 3
    panels = {
        "image": image,
        "truth" if truth is not None else "no truth": _outlined(image, truth, size, TRUTH_RGB),
        f"score, 0 to {top:.1f} sigma": _resized(hot, size),
        f"above {limit_sigma:.1f} sigma" if limit_sigma else "no limit": _outlined(
            image, above, size, FOUND_RGB
        ),
    }
    captioned_panels = [captioned(caption, panel) for caption, panel in panels.items()]
    return joined(captioned_panels, axis=0 if width > 2 * height else 1)


def picture_name(kind: str, stem: str, taken: Collection[str]) -> str:
    """Name an image's picture: <kind>-<stem>.png, numbered where a picture of this page has that name already."""
    names = (f"{kind}-{stem}{more}.png" for more in chain([""], (f"-{number}" for number in count(2))))
    return next(name for name in names if name not in taken)


def _resized(picture: U8, size: tuple[int, int]) -> U8:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _outlined(image: U8, mask: Mask | None, size: tuple[int, int], colour: tuple[int, int, int]) -> U8:
    """Outline a mask two pixels outside it, so that a small fault isn't painted over."""
    drawn = image.copy()
    if mask is None or not mask.any():
        return drawn
    # INTER_AREA > 0 keeps faults that are smaller than a pixel of the picture.
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    grown = cv2.dilate(small.astype(np.uint8), np.ones((5, 5), np.uint8))
    outlines, _ = cv2.findContours(grown, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, colour, 1)
    return drawn
