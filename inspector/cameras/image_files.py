"""Image files: the one decoder of what a folder plays and of what training, calibration and evaluation read.

What can't be shown as it is, is refused; nothing is converted that would change what the engine sees:

* 8 bits per channel only: there is no safe way to guess the range of 16-bit pixels.
* an opaque alpha channel is dropped, a transparent one refused.
* several pages in a TIFF are refused: the web on the further pages would go unseen.
* a name that is not UTF-8 is refused: it can't be told to anybody.
* a JPEG without its end is refused: what was cut off would be decoded as plain grey.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from inspector.records import U8

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how such a file begins, both byte orders, and of over 4 GB
JPEG, JPEG_END = b"\xff\xd8", b"\xff\xd9"
TRAILER = 4096  # bytes that cameras may write after a JPEG's end


class UnfitImage(Exception):
    """An image that can't be taken; the message names the file and the reason."""


def decode_file(file: Path) -> tuple[U8, bytes]:
    """Read one image: uint8 [H, W], or [H, W, 3] RGB if the file has colours; and the file's bytes.

    Raises UnfitImage.
    """
    try:
        str(file).encode()
    except UnicodeEncodeError:  # OpenCV breaks down at such a name, and no message could hold it
        shown = str(file).encode("utf-8", "backslashreplace").decode()
        raise UnfitImage(f"{shown}: its name is not UTF-8; rename it") from None
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UnfitImage(f"{file}: can't be read ({error.strerror}); put it right or take it away") from None
    if not data:
        raise UnfitImage(f"{file}: is empty; copy it again or take it away")
    try:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        raw = None
    cut_short = data.startswith(JPEG) and JPEG_END not in data[-TRAILER:]
    if raw is None or not raw.size or cut_short:
        raise UnfitImage(f"{file}: is damaged, cut short or no image; copy it again or take it away")
    if raw.dtype != np.uint8:
        raise UnfitImage(
            f"{file}: has {raw.dtype.itemsize * 8} bits a channel, and 8 bits are wanted; convert it"
        )
    if data.startswith(TIFF) and cv2.imcount(str(file)) > 1:
        raise UnfitImage(f"{file}: holds several pages; save each as a file of its own")
    return _opaque(file, np.asarray(raw, np.uint8)), data


def is_grey(pixels: U8) -> bool:
    """Whether an image holds no colour: one channel, or three that are equal."""
    return pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())


def _opaque(file: Path, raw: U8) -> U8:
    """Bring OpenCV's [H, W] or [H, W, 1 to 4] (BGR order) to [H, W] or [H, W, 3] RGB."""
    planes = raw[..., None] if raw.ndim == 2 else raw
    if planes.shape[2] in (2, 4):
        if planes[..., -1].min() < 255:
            raise UnfitImage(f"{file}: parts of it are transparent; save it without an alpha channel")
        planes = planes[..., :-1]
    return np.ascontiguousarray(planes[..., ::-1] if planes.shape[2] == 3 else planes[..., 0])
