"""How recorded web is shared out: some to learn from, most for the limit, some kept back to prove both on.

No frame serves twice: students know their own lessons too well, and a limit is never below the web it was
set on. All three are spread evenly along the web.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from inspector.calibrating.calibrate import FARTHEST
from inspector.calibrating.tail import LEAST_IMAGES, LEAST_TILES, SOUND, SOUND_IMAGES
from inspector.config import Line
from inspector.errors import ConfigError
from inspector.records import Grid
from inspector.tiling import plan_for
from inspector.tiling.grid import starts

T = TypeVar("T")

FEWEST_TO_LEARN = 10  # frames: the looks of good web, and some to hold back for training's own constants
FEWEST_TO_PROVE = 2
LEARN_SHARE = 0.5  # of short web, at most
PROOF_SHARE = 0.2  # of what is not learnt from
MOST_LEFT_OUT = 0.2  # of the frames may be odd; more are no exception but the web's, or the light's, nature
# A minute to score at 35 tiles/s. Limits from an eighth of them bring no more false alarms than are asked for
# (docs/method.md); 100 m of a web of 1.8 m have 46 times as many, and up to 100 times is sound. Rarer alarms want more.
MOST_LIMIT_TILES = 2000
FULL_TO_PROVE = 40  # frames


@dataclass(frozen=True, slots=True)
class Needs:
    """How many frames of a line each purpose wants."""

    frame_m: float
    tiles: int  # a frame gives to limits
    enough_to_learn: int
    fewest_for_limit: int
    most_for_limit: int

    @property
    def fewest_to_begin_with(self) -> int:
        """Frames for a limit before any is found to be odd: that comes out only after the training."""
        return math.ceil(self.fewest_for_limit / (1 - MOST_LEFT_OUT))

    @property
    def fewest_to_prove(self) -> int:
        """Frames to be kept back beside so few."""
        return max(FEWEST_TO_PROVE, math.ceil(self.fewest_to_begin_with * PROOF_SHARE / (1 - PROOF_SHARE)))

    @property
    def fewest(self) -> int:
        """Frames below which nothing comes of it."""
        return FEWEST_TO_LEARN + self.fewest_to_begin_with + self.fewest_to_prove

    @property
    def most(self) -> int:
        """Frames beyond which more are no use."""
        return self.enough_to_learn + self.most_for_limit + FULL_TO_PROVE

    def metres(self, frames: int) -> float:
        """The web that many frames show, rounded up to 0.1 m."""
        return math.ceil(frames * self.frame_m * 10 - 1e-6) / 10


@dataclass(frozen=True, slots=True)
class Shares(Generic[T]):
    """Frames by purpose, each in the order of the web."""

    learn: tuple[T, ...]
    limit: tuple[T, ...]
    proof: tuple[T, ...]


def needs_of(
    line: Line,
    grid: Grid,
    height_px: int,
    width_px: int,
    *,
    false_alarms_per_100m: float,
    most_learnt_tiles: int,
    held_back_share: float,
) -> Needs:
    """Work out what a line wants.

    Args:
        line: its config.
        grid: of the recipe to be.
        height_px: rows of a frame.
        width_px: columns of web.
        false_alarms_per_100m: asked for.
        most_learnt_tiles: tiles that training learns from at most.
        held_back_share: share of its images that training holds back.

    Raises ConfigError where so many false alarms are asked for that they can't be had.
    """
    lessons = Grid(grid.tile_px, grid.margin_px, 0, grid.px_per_cell)
    learnt_tiles = len(starts(lessons, height_px)) * len(starts(lessons, width_px))
    tiles = len(starts(grid, height_px)) * len(starts(grid, width_px))
    per_100m = math.ceil(100 * plan_for(grid, line, width_px, height_px).tiles_per_m)
    rate = false_alarms_per_100m / per_100m
    if rate >= 1:
        raise ConfigError(
            f"{false_alarms_per_100m:g} false alarms per 100 m can't be had: there are {per_100m} tiles; "
            "give a number below that"
        )
    fewest_tiles = max(LEAST_TILES, math.ceil(1 / (FARTHEST * rate)))
    enough = math.ceil(most_learnt_tiles / learnt_tiles / (1 - held_back_share))
    return Needs(
        frame_m=height_px * line.web.mm_per_px / 1000,
        tiles=tiles,
        enough_to_learn=max(FEWEST_TO_LEARN, enough),
        fewest_for_limit=max(LEAST_IMAGES, math.ceil(fewest_tiles / tiles)),
        most_for_limit=max(SOUND_IMAGES, math.ceil(max(MOST_LIMIT_TILES, SOUND * fewest_tiles) / tiles)),
    )


def share_out(frames: Sequence[T], needs: Needs) -> Shares[T]:
    """Share frames out, at least ``needs.fewest`` of them."""
    count = len(frames)
    spare = count - needs.fewest_to_begin_with - needs.fewest_to_prove
    most = max(FEWEST_TO_LEARN, min(int(LEARN_SHARE * count), spare))
    learn, rest = _apart(range(count), min(needs.enough_to_learn, most))
    proof, limit = _apart(rest, max(FEWEST_TO_PROVE, int(PROOF_SHARE * len(rest))))
    return Shares(*(tuple(frames[at] for at in part) for part in (learn, limit, proof)))


def _apart(places: Sequence[int], count: int) -> tuple[list[int], list[int]]:
    """``count`` of the places, evenly spread, and the others."""
    centres = (np.arange(count) + 0.5) * len(places) / count
    chosen = [places[int(at)] for at in centres]
    return chosen, sorted(set(places) - set(chosen))
