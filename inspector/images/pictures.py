"""Pictures for eyes: in colour, as a heat map, with a line of text, put together, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from inspector.backends.artifact import write_atomically
from inspector.records import F32, U8

FOUND_RGB = (255, 40, 40)
CAPTION_PX = 22
GAP_PX = 6


def write_picture(file: Path, picture: U8) -> None:
    """Write uint8 [h, w, 3] RGB as PNG. Raises ArtefactError when the disk won't take it."""
    _, data = cv2.imencode(".png", picture[..., ::-1])
    write_atomically(file, data.tobytes())


def heat(scores: F32, top: float) -> U8:
    """Colour a map, float32 [H, W], from 0 (blue) to ``top`` and above (red): uint8 [H, W, 3] RGB."""
    grey = (np.clip(scores / top, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)[..., ::-1], np.uint8)


def in_colour(pixels: U8) -> U8:
    """Mono [H, W] or RGB [H, W, 3] as RGB, to draw on: uint8, contiguous; RGB that is so already is not copied."""
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))


def captioned(caption: str, panel: U8) -> U8:
    """Put a line of ASCII text over a panel, uint8 [h, w, 3]; what is too long for it is cut off."""
    strip = np.full((CAPTION_PX, panel.shape[1], 3), 255, np.uint8)
    cv2.putText(
        strip, caption, (2, CAPTION_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA
    )
    return np.concatenate([strip, panel])


def joined(panels: Sequence[U8], axis: int) -> U8:
    """Stack panels of one size, uint8 [h, w, 3]: 0 below each other, 1 side by side."""
    first = panels[0].shape
    gap = np.full((GAP_PX, first[1], 3) if axis == 0 else (first[0], GAP_PX, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (panel, gap)][:-1]
    return np.concatenate(parts, axis=axis)
