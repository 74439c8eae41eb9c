"""What a line's camera shows before its start, and what its encoder says of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from inspector import cameras
from inspector.config import Line, Site
from inspector.errors import CameraError
from inspector.interfaces import Camera, CameraInfo
from inspector.records import EndOfWeb, Frame

FIRST_FRAME_S = 10.0
NEXT_FRAME_S = 1.0  # of a web that runs; one that stands is no fault
SAME_PLACE = 0.02  # of the counts of a frame
SIMULATED = (
    "it shows no web, but what was made up (a virtual camera, or TestPattern): verdicts bear is_simulated, and no "
    "receiver may act on them"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a camera showed."""

    info: CameraInfo
    frame: Frame  # its first whole one
    after: Frame | None = None  # the one right after it, by the camera's own count, where that came


def try_camera(site: Site, line_id: str, *, follow: bool = False) -> Seen:
    """Open a line's camera and take its first whole frame; ``follow``: and the next, where it comes at once."""
    camera = cameras.open_camera(line_id, site.line(line_id), site.root)
    try:
        camera.start()
        frame, lost = _next_frame(camera, FIRST_FRAME_S)
        if frame is not None:
            after = _next_frame(camera, NEXT_FRAME_S)[0] if follow else None
            if after is not None and after.stamp.block_id != frame.stamp.block_id + 1:
                after = None
            return Seen(camera.info, frame, after)
        raise CameraError(
            f"camera {camera.info.serial}: no whole frame within {FIRST_FRAME_S:.0f} s ({lost} came incomplete); "
            f"check light, trigger (TriggerMode, TriggerSource) and link"
        )
    finally:
        camera.close()


def _next_frame(camera: Camera, patience_s: float) -> tuple[Frame | None, int]:
    """The next whole frame, None where none came, and how many were lost before it."""
    until_s, lost = time.monotonic() + patience_s, 0
    while time.monotonic() < until_s:
        item = camera.read(0.5)
        if isinstance(item, EndOfWeb):
            break
        if isinstance(item, Frame):
            return item, lost
        lost += item is not None
    return None, lost


def camera_words(seen: Seen) -> str:
    """Who looks, and how bright it is, on one line."""
    info = seen.info
    return (
        f"{info.vendor} {info.model} {info.serial}, {info.pixel_format} {info.width_px}x{info.height_px}, "
        f"mean grey {seen.frame.pixels.mean():.0f}" + (f"; {SIMULATED}" if info.is_simulated else "")
    )


def encoder_words(line: Line, seen: Seen) -> tuple[str, str] | None:
    """Whether the camera's encoder tells a frame's length as the config does: "ok" or "warn", and a sentence.

    None where it was not seen: no such encoder, or no second frame, since the web stands.

    One count of frames that follow each other is enough: rows are triggered by the encoder, or run as fast as the web.
    """
    if seen.after is None or getattr(line.camera, "encoder", "") != "chunk":
        return None
    counted = seen.after.stamp.encoder_start - seen.frame.stamp.encoder_start
    web, rows = line.web, len(seen.frame.pixels)
    wanted = rows * web.mm_per_px / 1000 * web.encoder_counts_per_m
    if abs(counted - wanted) <= max(SAME_PLACE * wanted, 2.0):
        return "ok", f"a frame of {rows} rows is {counted} counts of the camera's encoder, as by the config"
    return "warn", (
        f"a frame of {rows} rows is {counted} counts of the camera's encoder, but {wanted:.0f} by the config: "
        f"{counted / rows / web.mm_per_px * 1000:.0f} per m where web.encoder_counts_per_m = "
        f"{web.encoder_counts_per_m:g}. Web will seem missing or judged twice, and be NOT_INSPECTED (frame_lost); "
        "correct encoder_counts_per_m, mm_per_px or the camera's divider of the encoder"
    )
