"""Pixels of a GenICam buffer as the networks want them: uint8, grey or RGB. Pure functions.

Bit layouts are those of the Pixel Format Naming Convention (EMVA, PFNC 2.4) and, for the older
``...Packed`` names, of GigE Vision. Of 10 and 12 bits the upper 8 are kept: a recipe learns from 8
bits, so the camera's gain decides what is seen, not a hidden rescaling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from inspector.records import U8


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How one format lies in memory, and how it becomes uint8."""

    bits: int  # of a pixel, all its channels
    channels: int  # of what comes out: 1 or 3
    to_8_bits: Callable[[U8, int], U8]  # ([H, bytes of a row], width) -> [H, W] or [H, W, 3], a copy
    step_px: int = 1  # the width must be a multiple, or rows would not end on a byte

    def row_bytes(self, width_px: int) -> int:
        """Bytes of a row without padding."""
        return width_px * self.bits // 8


def decode(
    buffer: bytes | memoryview, name: str, width_px: int, height_px: int, padding_bytes: int = 0
) -> U8:
    """Return a copy of an image: uint8 [H, W], or [H, W, 3] RGB for colour.

    Args:
        buffer: at least the image's bytes; what lies behind them (chunks) is ignored.
        name: of the format, see FORMATS.
        width_px: of the image.
        height_px: of the image.
        padding_bytes: behind every row.

    Raises:
        ValueError: the format is not in FORMATS, does not go with this width, or the buffer is too short.
    """
    layout = FORMATS.get(name)
    if layout is None:
        raise ValueError(f"PixelFormat {name} can't be used; choose one of: {', '.join(FORMATS)}")
    if width_px % layout.step_px:
        raise ValueError(
            f"PixelFormat {name} needs a Width that is a multiple of {layout.step_px}, not {width_px}"
        )
    used = layout.row_bytes(width_px)
    stride = used + padding_bytes
    if len(buffer) < stride * height_px:
        raise ValueError(f"{len(buffer)} bytes are too few for {width_px}x{height_px} {name}")
    raw = np.frombuffer(buffer, np.uint8, stride * height_px).reshape(height_px, stride)
    return layout.to_8_bits(raw[:, :used], width_px)


def _mono8(rows: U8, width: int) -> U8:
    return rows.copy()


def _words(shift: int) -> Callable[[U8, int], U8]:
    """Pixels in 16-bit little-endian words."""

    def convert(rows: U8, width: int) -> U8:
        words = np.ascontiguousarray(rows).view("<u2")
        return np.asarray(words >> shift, np.uint8)

    return convert


def _mono10p(rows: U8, width: int) -> U8:
    """Four pixels in five bytes, lowest bit first."""
    b = rows.reshape(len(rows), width // 4, 5)
    pixels = np.empty((len(rows), width // 4, 4), np.uint8)
    for i in range(4):  # pixel i begins at bit 10 i; its upper 8 bits at bit 10 i + 2, that is in byte i
        pixels[..., i] = (b[..., i] >> (2 * i + 2)) | (b[..., i + 1] << (6 - 2 * i))
    return pixels.reshape(len(rows), width)


def _mono12p(rows: U8, width: int) -> U8:
    """Two pixels in three bytes, lowest bit first."""
    b = rows.reshape(len(rows), width // 2, 3)
    pixels = np.stack([(b[..., 0] >> 4) | (b[..., 1] << 4), b[..., 2]], axis=-1)
    return pixels.reshape(len(rows), width)


def _packed(rows: U8, width: int) -> U8:
    """GigE Vision's own: two pixels in three bytes, their upper bits in the first and the last."""
    b = rows.reshape(len(rows), width // 2, 3)
    return np.ascontiguousarray(b[..., ::2]).reshape(len(rows), width)


def _bayer_rg8(rows: U8, width: int) -> U8:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_BayerRGGB2RGB), np.uint8)


def _rgb8(rows: U8, width: int) -> U8:
    return np.array(rows).reshape(len(rows), width, 3)


FORMATS = {
    "Mono8": PixelFormat(8, 1, _mono8),
    "Mono10": PixelFormat(16, 1, _words(2)),
    "Mono12": PixelFormat(16, 1, _words(4)),
    "Mono10p": PixelFormat(10, 1, _mono10p, 4),
    "Mono12p": PixelFormat(12, 1, _mono12p, 2),
    "Mono10Packed": PixelFormat(12, 1, _packed, 2),
    "Mono12Packed": PixelFormat(12, 1, _packed, 2),
    "BayerRG8": PixelFormat(8, 3, _bayer_rg8, 2),
    "RGB8": PixelFormat(24, 3, _rgb8),
}
