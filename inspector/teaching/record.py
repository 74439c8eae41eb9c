"""From a running camera to frames on disk: so many metres of web, without loss, and what was lost on the way.

Places come from the stamps, so from the encoder where the camera has one. Nothing here judges whether the
web is good; frames are only left out that tell nothing: of a web that stood still, seen already, of another
size, or without web in view.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2

from inspector.errors import ArtefactError, CameraError
from inspector.interfaces import Camera
from inspector.records import U8, EndOfWeb, Frame, LostFrame, Reason, Region
from inspector.teaching.outliers import Look, look_at

READ_S = 0.2
FIRST_FRAME_S = 10.0
STILL_S = 60.0  # a web that stands for longer won't be waited for: nobody may be there to start it
PNG_SPEED = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # the camera waits for nobody


class Progress(Protocol):
    """Told how far a piece of work is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total``, and a few words."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to record."""

    metres: float
    frame_m: float  # web under one frame
    most_frames: int  # kept; more are thinned evenly along the web
    least_px: int  # of web in view both ways: a tile
    counts_per_m: float

    @property
    def expected(self) -> int:
        """Frames that so much web brings."""
        return max(1, math.ceil(self.metres / self.frame_m - 1e-6))


@dataclass(frozen=True, slots=True)
class Recorded:
    """One frame on disk."""

    file: Path
    place_m: float  # of its first row, from the recording's start
    region: Region
    look: Look


@dataclass
class Recording:
    """What came."""

    frames: list[Recorded] = field(default_factory=list)
    metres: float = 0.0  # that passed
    triggers: int = 0
    lost: int = 0
    incomplete: int = 0
    still: int = 0  # of a web that did not move
    same: int = 0  # pixel by pixel as one before
    odd: int = 0  # of another size than the camera's
    without_web: int = 0
    thinned: int = 0
    megabytes: float = 0.0
    web_ended: bool = False

    def text(self) -> str:
        """One line for a person."""
        left = {
            "lost": self.lost,
            "incomplete": self.incomplete,
            "while the web stood still": self.still,
            "the same as one before": self.same,
            "of another size": self.odd,
            "without web in view": self.without_web,
            "left out to thin them evenly": self.thinned,
        }
        words = ", ".join(f"{count} {what}" for what, count in left.items() if count) or "none lost"
        return (
            f"recorded {self.metres:.2f} m: {self.triggers} frames, {words}; {len(self.frames)} kept, "
            f"{self.megabytes:.0f} MB"
        )


def record(
    camera: Camera,
    wanted: Wanted,
    folder: Path,
    locate: Callable[[U8], Region | None],
    progress: Progress,
) -> Recording:
    """Start a camera and write its frames as PNG, named after their place, until the metres are full.

    Args:
        camera: open, not started; the caller closes it.
        wanted: how much.
        folder: exists.
        locate: where the web is in a frame (``region_finder``).
        progress: told of every trigger.

    Returns what came; fewer metres than wanted only where the web ended.

    Raises:
        CameraError: no frame comes, or the web stands still, for longer than is worth waiting; or the camera
            is gone.
        ArtefactError: a frame can't be written.
    """
    taking = _Taking(camera, wanted, folder, locate)
    camera.start()
    until_s = time.monotonic() + FIRST_FRAME_S
    while taking.recording.metres < wanted.metres - wanted.frame_m * 1e-3:
        item = camera.read(READ_S)
        before_m = taking.recording.metres
        if isinstance(item, EndOfWeb):
            taking.recording.web_ended = True
            break
        if item is not None:
            taking.take(item)
            _tell(taking.recording, wanted, progress)
        if taking.recording.metres > before_m:
            until_s = time.monotonic() + STILL_S
        elif time.monotonic() > until_s:
            raise CameraError(_standstill(camera, taking.recording, wanted))
    return taking.recording


class _Taking:
    """A recording as it grows."""

    def __init__(
        self, camera: Camera, wanted: Wanted, folder: Path, locate: Callable[[U8], Region | None]
    ) -> None:
        self.recording = Recording()
        self._size = (camera.info.height_px, camera.info.width_px)
        self._wanted = wanted
        self._folder = folder
        self._locate = locate
        self._apart_m = wanted.metres / wanted.most_frames if wanted.expected > wanted.most_frames else 0.0
        self._next_m = 0.0  # place of the next frame to be kept
        self._begin: int | None = None  # encoder counts at the first row of all
        self._last_m = -math.inf  # place of the last frame of which half at least was new
        self._seen: set[bytes] = set()

    def take(self, item: Frame | LostFrame) -> None:
        """Count a trigger, and keep it where it tells something."""
        recording, stamp = self.recording, item.stamp
        if self._begin is None:
            self._begin = stamp.encoder_start
        recording.triggers += 1
        place_m = (stamp.encoder_start - self._begin) / self._wanted.counts_per_m
        end_m = (stamp.encoder_end - self._begin) / self._wanted.counts_per_m
        # By a free line rate a creeping web is one spot again and again, smeared; its frames overlap.
        moved = (
            stamp.encoder_end > stamp.encoder_start and place_m >= self._last_m + 0.5 * self._wanted.frame_m
        )
        recording.metres = max(recording.metres, end_m)
        if isinstance(item, LostFrame):
            recording.incomplete += item.reason is Reason.FRAME_INCOMPLETE
            recording.lost += item.reason is not Reason.FRAME_INCOMPLETE
        elif not moved:
            recording.still += 1
            return
        elif item.pixels.shape[:2] != self._size:
            recording.odd += 1
        elif place_m < self._next_m - 0.5 * self._wanted.frame_m * (self._apart_m > 0):
            recording.thinned += 1
        else:
            self._keep(item.pixels, place_m)
        self._last_m = place_m

    def _keep(self, pixels: U8, place_m: float) -> None:
        region = self._locate(pixels)
        if region is None or min(region.width_px, region.height_px) < self._wanted.least_px:
            self.recording.without_web += 1
            return
        known = hashlib.sha256(pixels.tobytes()).digest()
        if known in self._seen:
            self.recording.same += 1
            return
        self._seen.add(known)
        file = self._folder / f"{place_m:09.3f}m.png"
        self.recording.megabytes += write_frame(file, pixels) / 1e6
        self.recording.frames.append(Recorded(file, place_m, region, look_at(pixels, region)))
        if self._apart_m:
            self._next_m = max(self._next_m + self._apart_m, place_m)


def write_frame(file: Path, pixels: U8) -> int:
    """Write uint8 [H, W] or [H, W, 3] RGB as PNG; return its bytes.

    It is not waited for until the disk has it: a recording that a power cut ends is worth nothing anyway.
    Raises ArtefactError.
    """
    _, png = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[..., ::-1], PNG_SPEED)
    try:
        file.write_bytes(png.tobytes())
    except OSError as error:
        raise ArtefactError(
            f"{file}: can't be written ({error.strerror}); free the disk or mend the path, then run it again"
        ) from None
    return len(png)


def _tell(recording: Recording, wanted: Wanted, progress: Progress) -> None:
    lost = recording.lost + recording.incomplete
    note = f"{recording.metres:.2f} of {wanted.metres:g} m" + (f", {lost} lost" if lost else "")
    done = round(recording.metres / wanted.frame_m)
    progress(min(done, wanted.expected), wanted.expected, note)


def _standstill(camera: Camera, recording: Recording, wanted: Wanted) -> str:
    if not recording.triggers:
        return (
            f"camera {camera.info.serial}: no frame within {FIRST_FRAME_S:.0f} s; is the web moving? "
            "check light, trigger (TriggerMode, TriggerSource) and link, then teach again"
        )
    return (
        f"camera {camera.info.serial}: after {recording.metres:.2f} of {wanted.metres:g} m the web stood still for "
        f"{STILL_S:.0f} s; start it, then teach again"
    )
