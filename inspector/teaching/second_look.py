"""Recorded frames once more, now that an engine has learnt what they have in common: who is far above the others?

Calibration has suspects of its own, but holds each against the tail of all others: where several frames bear a
fault they make a tail that explains each of them, and a limit that passes them all. The median isn't moved by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from inspector.interfaces import Backend
from inspector.records import F64, Grid
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
    highest, places = [], []
    for done, frame in enumerate(frames):
        progress(done, len(frames))
        _, scored = score_frame(backend, grid, frame)
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
    by_peak = [at for at in np.argsort(-peaks, kind="stable") if not far[at]]
    return SecondLook(
        kept=tuple(frame for frame, out in zip(frames, far, strict=True) if not out),
        left=tuple(one for one, out in zip(told, far, strict=True) if out),
        highest=tuple(told[at] for at in by_peak[:MOST_SHOWN]),
    )


def far_above(peaks: F64) -> list[bool]:
    """Which of the frames' peaks, sigma [N], are far above the others', as training finds suspects in its images."""
    # Loads torch: what is refused before is refused at once.
    from inspector.learning.suspects import find_suspects

    found = {suspect.image for suspect in find_suspects(peaks, np.arange(len(peaks), dtype=np.int32))}
    return [place in found for place in range(len(peaks))]
