"""Frames that don't look like the others of a recording, by cheap statistics, before anything has learnt from them.

Six figures a frame, each told as a distance from the median in robust deviations (1.4826 MAD), once among all
frames and once among the nearest along the web. Light that drifts over a roll is far from all and like its
neighbours: that is good web's own nature. A frame stands out that is far from both, or very far from all.

What it can't see: faint and small faults. Those are calibration's suspects, or nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from inspector.records import F32, F64, U8, Region

BLOCK_PX = 16
CLIPPED_LOW, CLIPPED_HIGH = 1, 254  # greys at and beyond which a pixel tells nothing
NEIGHBOURS = 8  # frames on either side
FAR, VERY_FAR = 6.0, 14.0  # robust deviations: from all and from the neighbours; from all alone
LEAST_FRAMES = 5  # fewer have no median worth the name


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of a frame's looks; greys are those of the web in it."""

    mean: float  # grey, 0 to 255
    contrast: float  # standard deviation, greys
    sharpness: float  # mean difference of a pixel from the mean of its 3 x 3, greys
    clipped: float  # share of pixels, 0 to 1
    blocks: F32  # [H / BLOCK_PX, W / BLOCK_PX] mean greys over the whole frame; NaN where no web is


@dataclass(frozen=True, slots=True)
class Standout:
    """Why a frame stands out."""

    deviations: float  # robust, from all frames
    why: str  # a few words with figures
    box_px: tuple[int, int, int, int] | None  # left, top, right, bottom of the place; None: all over


@dataclass(frozen=True, slots=True)
class _Figure:
    """One statistic of every frame."""

    words: str  # {} is the value
    told: F64  # [N] as a person reads it
    values: F64  # [N] as they are compared: logarithms where only ratios mean something
    least: float  # a deviation below this is noise, in units of ``values``
    one_sided: bool = False  # only more of it is remarkable


def look_at(pixels: U8, region: Region) -> Look:
    """Measure the web of a frame.

    Args:
        pixels: uint8 [H, W] or [H, W, 3] RGB.
        region: where the web is; at least a block both ways.
    """
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels, np.uint8)
    web = grey[region.top_px : region.bottom_px, region.left_px : region.right_px]
    mean, deviation = cv2.meanStdDev(web)
    sharpness = cv2.absdiff(web, cv2.blur(web, (3, 3))).mean()
    clipped = np.count_nonzero((web <= CLIPPED_LOW) | (web >= CLIPPED_HIGH)) / web.size
    return Look(
        float(mean[0, 0]), float(deviation[0, 0]), float(sharpness), float(clipped), _blocks(grey, region)
    )


def standouts(looks: Sequence[Look]) -> list[Standout | None]:
    """Say for every frame, in the order of the web, whether and why it stands out; None: it doesn't."""
    if len(looks) < LEAST_FRAMES:
        return [None] * len(looks)
    figures, places = _figures(looks)
    scores = np.stack([_distances(figure) for figure in figures])  # [figures, N, (all, near)]
    far = np.maximum(scores.min(axis=2) / FAR, scores[..., 0] / VERY_FAR)
    found: list[Standout | None] = []
    for frame in range(len(looks)):
        worst = int(far[:, frame].argmax())
        if far[worst, frame] <= 1:
            found.append(None)
            continue
        figure = figures[worst]
        value = figure.words.format(f"{figure.told[frame]:.3g}")
        words = f"{value}, in the others {np.median(figure.told):.3g}"
        found.append(Standout(float(scores[worst, frame, 0]), words, places[worst][frame]))
    return found


def _blocks(grey: U8, region: Region) -> F32:
    """Mean greys of blocks that lie wholly on web."""
    rows, columns = grey.shape[0] // BLOCK_PX, grey.shape[1] // BLOCK_PX
    whole = grey[: rows * BLOCK_PX, : columns * BLOCK_PX].astype(np.float32)
    means = np.array(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32, ndmin=2)
    on_web = np.zeros((rows, columns), np.bool_)
    top, left = -(-region.top_px // BLOCK_PX), -(-region.left_px // BLOCK_PX)
    on_web[top : region.bottom_px // BLOCK_PX, left : region.right_px // BLOCK_PX] = True
    means[~on_web] = np.nan
    return means


Places: TypeAlias = list[tuple[int, int, int, int] | None]


def _figures(looks: Sequence[Look]) -> tuple[list[_Figure], list[Places]]:
    """All statistics, and for each where on a frame it is (None: all over)."""
    means, contrasts, sharpness, clipped = (
        np.array([getattr(look, name) for look in looks], np.float64)
        for name in ("mean", "contrast", "sharpness", "clipped")
    )
    (dark, dark_at), (bright, bright_at) = _spots(looks)
    figures = [
        _Figure("mean grey {}", means, means, 1.5),
        _Figure("contrast {}", contrasts, np.log(contrasts + 1), 0.03),
        _Figure("sharpness {}", sharpness, np.log(sharpness + 0.1), 0.04),
        _Figure("clipped share {}", clipped, clipped, 0.001, one_sided=True),
        _Figure("a spot {} greys darker than the web", dark, np.log(dark + 1), 0.08, one_sided=True),
        _Figure("a spot {} greys brighter than the web", bright, np.log(bright + 1), 0.08, one_sided=True),
    ]
    nowhere: Places = [None] * len(looks)
    return figures, [nowhere, nowhere, nowhere, nowhere, dark_at, bright_at]


def _spots(looks: Sequence[Look]) -> tuple[tuple[F64, Places], tuple[F64, Places]]:
    """How far each frame's darkest and brightest block are from what is usual there, greys, and where they lie.

    Usual is the column's median over all frames, so that uneven light across the web is none, shifted by the
    frame's own median, so that a frame that is darker as a whole has no spot.
    """
    blocks = np.stack([look.blocks for look in looks])
    seen = np.isfinite(blocks)
    columns = seen.any(axis=(0, 1))
    usual = np.zeros(blocks.shape[2], np.float32)
    usual[columns] = np.nanmedian(blocks[..., columns], axis=(0, 1))
    off = blocks - usual
    spots = []
    for sign in (-1.0, 1.0):
        depths, places = [], Places()
        for frame in off:
            middle = np.median(frame[np.isfinite(frame)]) if np.isfinite(frame).any() else 0.0
            depth = np.where(np.isfinite(frame), sign * (frame - middle), 0.0)
            row, column = np.unravel_index(int(depth.argmax()), depth.shape)
            depths.append(max(0.0, float(depth[row, column])))
            left, top = int(column) * BLOCK_PX, int(row) * BLOCK_PX
            places.append((left, top, left + BLOCK_PX, top + BLOCK_PX))
        spots.append((np.array(depths), places))
    return spots[0], spots[1]


def _distances(figure: _Figure) -> F64:
    """Robust deviations of every frame, from all and from its neighbours: [N, 2], at least 0."""
    values = figure.values
    neighbours = _neighbours(len(values))
    near = values - np.array([np.median(values[others]) for others in neighbours])
    distances = np.stack(
        [_robust(values - np.median(values), figure.least), _robust(near, figure.least)], axis=1
    )
    return np.maximum(distances, 0) if figure.one_sided else np.abs(distances)


def _robust(off: F64, least: float) -> F64:
    return np.asarray(off / max(1.4826 * float(np.median(np.abs(off))), least), np.float64)


def _neighbours(count: int) -> list[list[int]]:
    """The frames nearest to each along the web, without itself."""
    return [
        [other for other in range(max(0, at - NEIGHBOURS), min(count, at + NEIGHBOURS + 1)) if other != at]
        for at in range(count)
    ]
