"""Recorded frames once more, now that an engine has learnt what they have in common: who is far above the others?

Calibration looks for suspects by the same rule, but only among the frames for the limit; here those that were learnt
from are looked at too, and every frame of either is shown with its picture before a limit is set on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from inspector.calibrating.calibrated import GoodImage
from inspector.images.far_above import far_above
from inspector.interfaces import Backend
from inspector.records import Grid
from inspector.teaching.left_out import LeftOut
from inspector.teaching.proof import highest_px, score_frame
from inspector.teaching.record import Recorded

MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Frames by what an engine says of them."""

    kept: tuple[Recorded, ...]
    left: tuple[LeftOut, ...]
    highest: tuple[LeftOut, ...]  # of those kept
    images: tuple[GoodImage, ...]  # of all, in their order

    @property
    def good(self) -> tuple[GoodImage, ...]:
        """Of those kept: as calibration scores them, so that it needn't."""
        kept = {frame.file for frame in self.kept}
        return tuple(image for image in self.images if image.file.path in kept)


def look_again(
    backend: Backend,
    grid: Grid,
    frames: Sequence[Recorded],
    what: str,
    progress: Callable[[int, int], None],
) -> SecondLook:
    """Score frames, and set those apart whose highest cell is far above what the others' are.

    Args:
        backend: the engine, open.
        grid: how tiles lie.
        frames: of one purpose: what was learnt scores lower than what was not.
        what: that purpose, for the person who is asked.
        progress: told how many are done.

    Raises DataError or ArtefactError where a frame can't be read or scored.
    """
    highest, places, images = [], [], []
    for done, frame in enumerate(frames):
        progress(done, len(frames))
        image, scored = score_frame(backend, grid, frame)
        tiles = len(scored.tile_scores)
        images.append(GoodImage(image.file, image.sha256, False, frame.region, tiles, scored.cells))
        highest.append(float(scored.map_peaks.max()))
        places.append(highest_px(scored, grid))
    progress(len(frames), len(frames))
    peaks = np.array(highest)
    usual = f"sigma where {np.median(peaks):.1f} are usual"
    told = [
        LeftOut(frame, f"{what} {peak:.1f} {usual}", place)
        for frame, peak, place in zip(frames, highest, places, strict=True)
    ]
    far = far_above(peaks)
    by_peak = [at for at in np.argsort(-peaks, kind="stable") if at not in far]
    return SecondLook(
        kept=tuple(frame for place, frame in enumerate(frames) if place not in far),
        left=tuple(one for place, one in enumerate(told) if place in far),
        highest=tuple(told[at] for at in by_peak[:MOST_SHOWN]),
        images=tuple(images),
    )
