"""Where the web is in a frame.

Background is only what spans the frame from border to border and reaches its edge; a hole or a stain
inside the web has web on its far side and is never cut out.

The frame is looked at in blocks of 16 px: mean grey and *grain*, the mean difference of a pixel from
the mean of its 7 x 7 neighbourhood. Weave has grain everywhere; a dark gap, a blown-out backlight or a
plain belt has much less; a selvedge has another grain. From a seed surely on the web, lines of blocks
(columns, or rows) are followed outwards; each is compared with the web just inside it, so that uneven
light and focus across the frame don't matter. An edge is where nearly nothing from there to the
frame's border looks like the web inside.

What it can't know: a web without any grain, or a bare belt that fills the whole frame (taken for web,
hence judged, hence FAIL: the safe side).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from inspector.config import Line
from inspector.records import F32, U8, Region

BLOCK_PX = 16
NO_GRAIN = 0.35  # grey levels; sensor noise of a dark or blown-out frame lies below
DARK, BLOWN = 8.0, 250.0  # grey levels between which a web shows
LESS_GRAIN = 0.62  # of the web just inside: a block with less is foreign
NO_WEB = 0.4  # the same at the frame's border: only next to sure background is there a selvedge to leave out
OTHER_GREY = 0.25  # darker than this share of the web inside, or brighter by it, is foreign
SPANS = 0.8  # share of a line's blocks that are foreign when background spans the frame
KNOWN = 0.3  # share of the lines inside that must be web to tell what is foreign to it
CLEAN = 0.05  # share of foreign blocks that a line just inside the edge may still have
ISLAND = 3  # lines like web that a selvedge's bright threads may make


def region_finder(line: Line) -> Callable[[U8], Region | None]:
    """Return the function that says where the web is in a frame, as the line's config wants it.

    ``whole`` and ``fixed`` always give a region; ``auto`` is ``find_region``.
    """
    match line.region.kind:
        case "whole":
            return whole_frame
        case "fixed":
            return fixed_columns(
                round(line.region.left_mm / line.web.mm_per_px),
                round(line.region.right_mm / line.web.mm_per_px),
            )
        case "auto":
            return find_region


def fixed_columns(left_px: int, right_px: int) -> Callable[[U8], Region]:
    """Return a function that gives these columns of any frame."""
    return lambda pixels: Region(left_px, right_px, 0, pixels.shape[0])


def whole_frame(pixels: U8) -> Region:
    """Return all of ``pixels`` as a region."""
    return Region(0, pixels.shape[1], 0, pixels.shape[0])


def find_region(pixels: U8) -> Region | None:
    """Return the largest upright rectangle of web without background and selvedge; None when there is no web.

    Args:
        pixels: [H, W] or [H, W, 3] uint8.
    """
    height, width = pixels.shape[:2]
    if height < 2 * BLOCK_PX or width < 2 * BLOCK_PX:
        return whole_frame(pixels)
    grey, grain = _blocks(pixels)
    if not _shows_web(grey, grain):
        return None
    top, bottom = _extent(grey, grain, _surest(grain.mean(1)))
    grey, grain = grey[top:bottom].T, grain[top:bottom].T
    left, right = _extent(grey, grain, len(grain) // 2)
    return Region(*_pixels(left, right, width), *_pixels(top, bottom, height))


def _blocks(pixels: U8) -> tuple[F32, F32]:
    """Return mean grey and grain of every block, [rows, columns]; a rest at the end goes uncounted."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    rows, columns = grey.shape[0] // BLOCK_PX, grey.shape[1] // BLOCK_PX
    grey = grey[: rows * BLOCK_PX, : columns * BLOCK_PX]
    grain = cv2.absdiff(grey, cv2.blur(grey, (7, 7)))
    means = [
        cv2.resize(image.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        for image in (grey, grain)
    ]
    return np.asarray(means[0], np.float32), np.asarray(means[1], np.float32)


def _shows_web(grey: F32, grain: F32) -> bool:
    """Whether at least one block in twenty can be web at all."""
    web = (grain > NO_GRAIN) & (grey > DARK) & (grey < BLOWN)
    return bool(web.mean() > 0.05)


def _surest(profile: F32) -> int:
    """Return the middle of a stretch that surely is web: grain in all of it, as near the centre as can be."""
    length = min(len(profile), max(3, len(profile) // 8))
    least = np.lib.stride_tricks.sliding_window_view(profile, length).min(1)
    candidates = np.flatnonzero(least >= LESS_GRAIN * least.max())
    nearest = np.abs(candidates - len(least) // 2).argmin()
    return int(candidates[nearest]) + length // 2


def _extent(grey: F32, grain: F32, seed: int) -> tuple[int, int]:
    """Return which lines [first, last) are web, going both ways from line ``seed``."""
    after = _reach(grey[seed:], grain[seed:])
    before = _reach(grey[seed::-1], grain[seed::-1])
    return seed + 1 - before, seed + after


def _reach(grey: F32, grain: F32) -> int:
    """Return how many lines from the first (surely web) to the web's edge; all of them without background.

    Args:
        grey: [lines, blocks].
        grain: [lines, blocks].
    """
    lines = len(grain)
    near = max(2, lines // 8)  # the web just inside: lines [at - 2 near, at - near)
    for at in range(1, lines):
        inside = slice(max(0, at - 2 * near), max(1, at - near))
        foreign = _foreign(grey, grain, inside, LESS_GRAIN)
        if foreign[at] < 0.5 or not _spans(foreign[at:]):
            continue
        if _foreign(grey, grain, inside, NO_WEB)[-1] < SPANS:
            return lines
        clean = at
        while clean > max(1, at - near) and foreign[clean - 1] > CLEAN:
            clean -= 1
        return max(1, clean - 1)  # one more: an edge hardly ever falls between two blocks
    return lines


def _foreign(grey: F32, grain: F32, inside: slice, less: float) -> F32:
    """Return for every line which share of its blocks doesn't look like the lines ``inside``."""
    web_grey, web_grain = np.median(grey[inside], axis=0), np.median(grain[inside], axis=0)
    known = (web_grain > NO_GRAIN) & (web_grey > DARK)  # background or a hole inside tells nothing
    if known.mean() < KNOWN:
        return np.zeros(len(grain), np.float32)
    brightness = grey[:, known] / web_grey[known]
    grain_kept = grain[:, known] / web_grain[known]
    # Where light falls off, grain falls with it: that alone is no other stuff.
    other = grain_kept < less * np.minimum(brightness, 1.0)
    other |= (brightness < OTHER_GREY) | (brightness > 1 / OTHER_GREY)
    return np.asarray(other.mean(1), np.float32)


def _spans(foreign: F32) -> bool:
    """Whether all lines to the border are foreign, but for narrow islands."""
    run = 0
    for share in foreign:
        run = 0 if share >= SPANS else run + 1
        if run > ISLAND:
            return False
    return bool(foreign[-1] >= SPANS)


def _pixels(first: int, last: int, length: int) -> tuple[int, int]:
    """Blocks to pixels; a web that reaches the last block reaches the border."""
    return first * BLOCK_PX, length if last == length // BLOCK_PX else last * BLOCK_PX
