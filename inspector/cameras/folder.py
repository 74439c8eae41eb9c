"""Images of a folder, played as if a camera saw them.

Files are sorted by name, numbers in them as numbers (``web2`` before ``web10``). A loop is a web sewn
end to start. What can't be shown as it is (``image_files``) keeps its place as a LostFrame whose detail names
the file and the reason; besides:

* Mono8 takes grey images, and colour images whose channels are all equal; RGB8 takes colour only.
* on a seamless web all images have the size of the first readable one.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np

from inspector import config
from inspector.cameras.image_files import SUFFIXES, UnfitImage, decode_file, is_grey
from inspector.cameras.pace import Pace
from inspector.cameras.stamper import Stamper
from inspector.errors import CameraError
from inspector.interfaces import CameraInfo
from inspector.records import U8, Acquired, EndOfWeb, Frame, LostFrame, Reason

MOST_PX = 16384  # rows or columns


def open_folder(line_id: str, camera: config.FolderCamera, line: config.Line, root: Path) -> FolderCamera:
    """Open the folder of a line. Raises CameraError when there is nothing to play."""
    return FolderCamera(line_id, camera, line.web, line.overload.deadline_ms, root)


class FolderCamera:
    """Plays a folder at ``frames_per_s``, or as fast as it is asked (0), once or in a loop.

    Args:
        line_id: the line's id.
        camera: path, speed, loop and pixel format.
        web: seamless false lets the sizes of the images differ.
        deadline_ms: from a frame's capture to its verdict; an image is captured when it is read out.
        root: the folder that ``camera.path`` is relative to.

    Raises:
        CameraError: no folder, no images, or none that can be played.
    """

    def __init__(
        self, line_id: str, camera: config.FolderCamera, web: config.Web, deadline_ms: float, root: Path
    ) -> None:
        folder = root / camera.path
        self._files = find_images(folder)
        self._colour = camera.pixel_format == "RGB8"
        first = self._first_playable()
        self._size = first.shape[:2] if web.seamless else None
        self._info = CameraInfo(
            kind="folder",
            vendor="inspector",
            model="folder replay",
            serial=folder.name,
            pixel_format=camera.pixel_format,
            width_px=first.shape[1],
            height_px=first.shape[0],
            is_simulated=True,
        )
        self._stamper = Stamper(line_id, folder.name, first.shape[0], web, deadline_ms)
        self._loop = camera.loop
        self._pace = Pace(1 / camera.frames_per_s if camera.frames_per_s else 0.0)
        self._next = 0
        self._ahead: U8 | UnfitImage | None = None  # the next image, read already

    @property
    def info(self) -> CameraInfo:
        """Size and name; the size is the first playable image's."""
        return self._info

    def start(self) -> None:
        """Begin the schedule."""
        self._pace.start()

    def read(self, timeout_s: float) -> Acquired | EndOfWeb | None:
        """Return the next image, a LostFrame for an unfit one, EndOfWeb after the last or after close."""
        if self._pace.closed or (not self._loop and self._next >= len(self._files)):
            return EndOfWeb()
        if self._ahead is None:
            self._ahead = self._load(self._files[self._next % len(self._files)])
        if not self._pace.wait(self._next, timeout_s):
            return EndOfWeb() if self._pace.closed else None
        image, self._ahead = self._ahead, None
        self._next += 1
        rows = None if isinstance(image, UnfitImage) else len(image)
        _, stamp = self._stamper.stamp(self._next, time.monotonic_ns() // 1000, rows)
        if isinstance(image, UnfitImage):
            return LostFrame(stamp, Reason.FRAME_INCOMPLETE, str(image))
        return Frame(stamp, image)

    def close(self) -> None:
        """Stop; a waiting ``read`` returns at once."""
        self._pace.close()

    def _first_playable(self) -> U8:
        why = None
        for file in self._files:
            try:
                return decode(file, self._colour)
            except UnfitImage as error:
                why = why or error
        raise CameraError(
            f"{self._files[0].parent}: none of its {len(self._files)} images can be played: {why}"
        )

    def _load(self, file: Path) -> U8 | UnfitImage:
        try:
            pixels = decode(file, self._colour)
        except UnfitImage as error:
            return error
        if self._size is not None and pixels.shape[:2] != self._size:
            return UnfitImage(
                f"{file}: {pixels.shape[1]} x {pixels.shape[0]} px on a seamless web of "
                f"{self._size[1]} x {self._size[0]} px images; cut it to size, or set web.seamless = false"
            )
        return pixels


def find_images(folder: Path) -> list[Path]:
    """List the images of a folder in the order of their names. Raises CameraError when there are none."""
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    except OSError as error:
        raise CameraError(
            f"{folder}: can't be played ({error.strerror}); camera.path must be a folder of images"
        ) from None
    if not found:
        raise CameraError(f"{folder}: there is no image to play in it ({', '.join(SUFFIXES)})")
    return sorted(found, key=_natural)


def decode(file: Path, colour: bool) -> U8:
    """Read one image as uint8 [H, W], or [H, W, 3] RGB when ``colour``. Raises UnfitImage."""
    pixels, _ = decode_file(file)
    if max(pixels.shape[:2]) > MOST_PX:
        raise UnfitImage(
            f"{file}: is {pixels.shape[1]} x {pixels.shape[0]} px; {MOST_PX} px is the most either way"
        )
    if colour:
        if pixels.ndim == 2:
            raise UnfitImage(f"{file}: is grey, and pixel_format is RGB8; convert it, or set Mono8")
        return pixels
    if not is_grey(pixels):
        raise UnfitImage(f"{file}: is in colour, and pixel_format is Mono8; convert it, or set RGB8")
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., 0])


def _natural(file: Path) -> list[tuple[int, int, str]]:
    """Sort key: digits compare as numbers, and equal numbers (7, 007) by how they are written."""
    parts = re.split(r"(\d+)", file.name)
    return [(1, int(p), p) if p.isdecimal() else (0, 0, p.lower()) for p in parts if p] + [(0, 0, file.name)]
