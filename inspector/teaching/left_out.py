"""Frames that a teaching leaves out, for a person to look at: a picture with an outline, and one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from inspector.calibrating.calibrated import Suspect
from inspector.calibrating.populations import TwoKinds
from inspector.images.pictures import FOUND_RGB, in_colour, write_picture
from inspector.learning.alike import UnlikeImages
from inspector.records import U8, Region
from inspector.teaching.outliers import Standout, standouts
from inspector.teaching.record import Recorded

AROUND_PX = 24  # between a place and its outline, so that a small fault isn't painted over
THICK_PX = 3

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One frame, and why a person should look at it."""

    frame: Recorded
    why: str  # a few words with figures
    box_px: Box | None  # left, top, right, bottom; None: all of the web

    def text(self, picture: Path) -> str:
        """The line that asks a person."""
        return f"  {self.frame.place_m:.2f} m: {self.why}; is this good? {picture}"


def sort_out(frames: Sequence[Recorded]) -> tuple[list[Recorded], list[LeftOut]]:
    """Split a recording into frames that look like each other and those that stand out."""
    kept, left = [], []
    for frame, standout in zip(frames, standouts([frame.look for frame in frames]), strict=True):
        if standout is None:
            kept.append(frame)
        else:
            left.append(LeftOut(frame, _words(standout), standout.box_px))
    return kept, left


def suspected(suspects: Sequence[Suspect], frames: Sequence[Recorded]) -> list[LeftOut]:
    """Return the frames that calibration, given all of ``frames``, has set apart, each once, and why."""
    by_file = {frame.file: frame for frame in frames}
    left: dict[Path, LeftOut] = {}
    for one in suspects:
        x, y = (round(at) for at in one.place_px)
        faint = f", large and faint ({one.faint})" if one.faint else ""
        why = f"{one.sigma:.1f} sigma when the limit was set{faint}"
        left.setdefault(one.file, LeftOut(by_file[one.file], why, (x, y, x, y)))
    return list(left.values())


def refused(unlike: UnlikeImages, frames: Sequence[Recorded]) -> list[LeftOut]:
    """Return the frames for which training has refused all of ``frames``, or crops of their names, and why."""
    by_name = {frame.file.name: frame for frame in frames}
    return [
        LeftOut(by_name[file.name], f"{seen}, where {unlike.typical} is usual", None)
        for file, seen in zip(unlike.files, unlike.seen, strict=True)
    ]


def of_two_kinds(kinds: TwoKinds, frames: Sequence[Recorded]) -> tuple[list[LeftOut], list[LeftOut]]:
    """Return the frames of either kind for which calibration has refused all of ``frames``, in their web's order."""
    by_file = {frame.file: frame for frame in frames}
    groups = ((kinds.lower, kinds.lower_sigma), (kinds.upper, kinds.upper_sigma))
    lower, upper = (
        [
            LeftOut(by_file[file], f"such frames typically score {sigma:.1f} sigma", None)
            for file in sorted(files)
        ]
        for files, sigma in groups
    )
    return lower, upper


def show(left: LeftOut, pixels: U8, folder: Path) -> Path:
    """Write the frame's picture, outlined, and return where. Raises ArtefactError."""
    picture = in_colour(pixels)
    x0, y0, x1, y1 = _outline(left, pixels.shape[:2])
    cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), FOUND_RGB, THICK_PX)
    file = folder / left.frame.file.name
    write_picture(file, picture)
    return file


def _words(standout: Standout) -> str:
    return f"{standout.why} ({standout.deviations:.0f} robust deviations)"


def _outline(left: LeftOut, size: tuple[int, int]) -> Box:
    if left.box_px is None:
        region: Region = left.frame.region
        return region.left_px, region.top_px, region.right_px, region.bottom_px
    x0, y0, x1, y1 = left.box_px
    return (
        max(0, x0 - AROUND_PX),
        max(0, y0 - AROUND_PX),
        min(size[1], x1 + AROUND_PX),
        min(size[0], y1 + AROUND_PX),
    )
