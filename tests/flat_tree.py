"""Flat cloth with squares on it: what the contrast graph says of it, and so every escape, can be worked out by hand.

A square of side s and depth d on a tile of 96 x 96 px scores (d - s * s * d / 9216) / 4 sigma where it fills a
cell: 19.9 for 8 px and 80 grey levels, 4.9 for 20 levels. At a limit of 10 sigma:

    good/0         nothing                                                 passed
    good/1         a square of 8 px, 60 levels: dust                       1 false alarm of 16 good tiles
    hole/0         8 px, 80 levels; 40 x 4 px, 20 levels                   found; escaped
    hole/1         2 px, 80 levels: a quarter of a cell                    escaped
    stain/0        70 x 3 px in the mask alone; dust in another tile       off the fault
    stain/1        16 px in the mask, a square of 8 px 3 px beside it      found within the tolerance of 4 px
"""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np

from inspector.calibrating.calibrate import calibrate
from inspector.config import Site
from inspector.limits import Limits, limits_file, to_toml
from tests.small_recipe import weave

HEIGHT, WIDTH = 128, 256
LIMIT_SIGMA = 10.0
BY_HAND = "A. Person, 2026-11-24: as in flat_tree.py"

Square = tuple[int, int, int, int, int]  # top, left, height, width, grey levels brighter


def make_flat_tree(root: Path) -> Path:
    """Write the tree; return its folder."""
    _image(root, "good", 0, [])
    _image(root, "good", 1, [(40, 40, 8, 8, 60)])
    _image(root, "hole", 0, [(20, 20, 8, 8, 80), (72, 132, 4, 40, 20)], [(20, 20, 8, 8), (72, 132, 4, 40)])
    _image(root, "hole", 1, [(20, 20, 2, 2, 80)], [(20, 20, 2, 2)])
    _image(root, "stain", 0, [(80, 20, 8, 8, 80)], [(5, 70, 3, 70)])
    _image(root, "stain", 1, [(20, 24, 8, 8, 80)], [(20, 35, 16, 16)])
    return root


def _image(
    root: Path,
    kind: str,
    number: int,
    squares: list[Square],
    mask: list[tuple[int, int, int, int]] | None = None,
) -> None:
    pixels, truth = np.full((HEIGHT, WIDTH), 120, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    for top, left, height, width, brighter in squares:
        pixels[top : top + height, left : left + width] += np.uint8(brighter)
    for top, left, height, width in mask or []:
        truth[top : top + height, left : left + width] = 255
    write(root / f"test/{kind}/{number}.png", pixels)
    if mask:
        write(root / f"ground_truth/{kind}/{number}_mask.png", truth)


def write(file: Path, pixels: np.ndarray) -> None:
    """Write a PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


def set_limit(site: Site, limit_sigma: float | None = LIMIT_SIGMA) -> Limits:
    """Calibrate line 1 for recipe stripes; then move the limit by hand, or leave it."""
    for number in range(8):
        write(site.root / f"more/{number}.png", weave(number, HEIGHT, WIDTH))
    limits = calibrate(site.root / "more", "stripes", "1", site).limits
    if limit_sigma is not None:
        limits = msgspec.structs.replace(limits, limit_sigma=limit_sigma, set_by_hand=BY_HAND)
        limits_file(site, "1", "stripes").write_text(to_toml(limits))
    return limits
