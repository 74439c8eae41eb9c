"""Are good images alike? One of another scale, of another exposure, or of nothing, spoils a whole training.

Students would learn it as one more look of good web, and the limit would rise until little is found. Each
image is held against the median of all. Where images vary they are given room, by the median absolute
deviation; where they hardly do, generous floors hold: each is at least twice what the farthest good image of
five real packs needs. A look that more than MOST_SHARE of the images have may be a look of this web: it stays, and is
told.
Colour, bits a pixel and damage: ``images.reading``. This module knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from inspector.errors import DataError
from inspector.images.reading import Image
from inspector.records import F64, U8

SPREADS = 6.5  # robust standard deviations (1.4826 MAD) from the median that good images are given
FEW = 10.0  # a spread that so few images show is known by half: it is given twice the room
GREYS = 64.0  # the least that the mean grey, 0 to 255, is given
CLIPPED = 0.5  # the least that the share of values at 0 or 255 is given
TIMES = 2.0  # the least that width and height are given, as a factor
BLANK_GREYS = 2.0  # standard deviation of the greys: a lens cap or a lamp in the lens, and the camera's noise
BLANK_TIMES = 6.0  # times as much is in the median image
MOST_SHARE = 0.2  # of the images
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Looks:
    """What is measured of images, a value an image: float64 [N]."""

    width: F64  # px
    height: F64  # px
    mean: F64  # grey, 0 to 255
    deviation: F64  # of the greys
    clipped: F64  # share of the values at 0 or 255

    @classmethod
    def of(cls, images: Sequence[U8]) -> Looks:
        """Measure images, uint8 [H, W] or [H, W, 3] each; at least one."""
        return cls(*np.asarray([_measured(one) for one in images], np.float64).T)


@dataclass(frozen=True, slots=True)
class Oddity:
    """A way in which some images are unlike the rest."""

    odd: npt.NDArray[np.bool_]  # [N]
    seen: F64  # [N] what was measured
    said: str  # of one value, a format
    remedy: str
    whatever_share: bool = False  # no web may look so, however many images do

    @property
    def is_refused(self) -> bool:
        """Whether so few images are odd that they can't be a look of this web."""
        return self.whatever_share or bool(self.odd.mean() <= MOST_SHARE)


class UnlikeImages(DataError):
    """Good images that are not like the rest; whoever knows them by other names than their files' can name them."""

    def __init__(self, files: Sequence[Path], seen: Sequence[str], typical: str, remedy: str) -> None:
        self.files = tuple(files)  # all of them
        self.seen = tuple(seen)  # what is odd of each
        self.typical = typical  # the same of the median of all images
        values = ", ".join(seen[:MOST_NAMED])
        super().__init__(f"{_named(files)}: {values}, but the median of all images is {typical}; {remedy}")


def refuse_unlike(images: Sequence[Image], *, squeezed: bool) -> list[str]:
    """Refuse good images that are not like the rest.

    Args:
        images: of one number of channels; none are alike.
        squeezed: all are brought to one size afterwards, so that theirs may differ.

    Returns sentences about images that differ from the rest, but are too many to be a mistake.

    Raises:
        UnlikeImages: names the images, at most MOST_NAMED of them, says what is odd and what to do.
    """
    if not images:
        return []
    told = []
    for oddity in oddities(Looks.of([image.pixels for image in images]), squeezed=squeezed):
        odd = np.flatnonzero(oddity.odd).tolist()
        if not odd:
            continue
        typical = oddity.said.format(float(np.median(oddity.seen)))
        if oddity.is_refused:
            raise UnlikeImages(
                [images[at].file.path for at in odd],
                [oddity.said.format(oddity.seen[at]) for at in odd],
                typical,
                oddity.remedy,
            )
        told.append(
            f"{len(odd)} of {len(images)} good images look otherwise ({_named([images[at].file.path for at in odd])}: "
            f"{oddity.said.format(float(np.median(oddity.seen[odd])))}, the median of all {typical}) and are learnt as "
            f"a look of this web; if the line never shows it, {oddity.remedy}"
        )
    return told


def oddities(looks: Looks, *, squeezed: bool) -> list[Oddity]:
    """Return the ways in which images can be unlike the rest, and which are; the plainest way first."""
    light = "take out what differs, or take all images anew under one light and exposure"
    scale = "take out what differs, or let --resize bring all images to one size"
    blank = (looks.deviation < BLANK_GREYS) & (looks.deviation * BLANK_TIMES < np.median(looks.deviation))
    clipped = looks.clipped - np.median(looks.clipped) > _given(looks.clipped, CLIPPED)
    exposed = np.abs(looks.mean - np.median(looks.mean)) > _given(looks.mean, GREYS)
    found = [
        Oddity(blank, looks.deviation, "{:.1f} greys of contrast", "take out what shows nothing", True),
        Oddity(clipped, 100 * looks.clipped, "{:.0f} % black or white", light),
        Oddity(exposed, looks.mean, "grey {:.0f} on average", light),
    ]
    if squeezed:
        return found
    for side, said in ((looks.width, "{:.0f} px wide"), (looks.height, "{:.0f} px high")):
        times = np.log(side)
        scaled = np.abs(times - np.median(times)) > _given(times, float(np.log(TIMES)))
        found.append(Oddity(scaled, side, said, scale))
    return found


def _named(files: Sequence[Path]) -> str:
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    return ", ".join(str(one) for one in files[:MOST_NAMED]) + more


def _given(values: F64, least: float) -> float:
    """How far from the median a value may lie."""
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return max(least, SPREADS * (1 + FEW / len(values)) * spread)


def _measured(pixels: U8) -> tuple[float, float, float, float, float]:
    grey = pixels if pixels.ndim == 2 else np.asarray(pixels.mean(axis=2), np.float32)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey))
    clipped = float(np.mean((pixels == 0) | (pixels == 255)))
    return float(pixels.shape[1]), float(pixels.shape[0]), mean, deviation, clipped
