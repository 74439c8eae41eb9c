"""A learning curve: what more good images would bring.

The same students are trained shortly on a quarter, on half and on all of the images learnt from, with as nearly
equally many steps of the optimiser as whole epochs allow, and asked about the same tiles that were held back, in
units of all that is learnt from. What is measured is
disagreement on good web, not how well faults are found: less of it lets a limit be lower, and nothing more is
promised. Images count that are like these; another roll or shift can bring more than the curve says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from inspector.images.plots import trend
from inspector.learning.distance import Students
from inspector.learning.distill import Course, Lesson, Progress, distill
from inspector.records import I32

NAME = "learning-curve.svg"
SHARES = (0.25, 0.5, 1.0)  # of the images learnt from
STEPS = 200  # of the optimiser, about so many each training
NOTHING = 0.02  # a gain below this is none


@dataclass(frozen=True, slots=True)
class Point:
    """One short training."""

    images: int  # learnt from
    disagreement: float  # on held-back tiles, mean of the layers' distances


@dataclass(frozen=True, slots=True)
class Trend:
    """disagreement = factor * images ** -power, by least squares of the logarithms."""

    factor: float
    power: float

    @classmethod
    def of(cls, points: Sequence[Point]) -> Trend:
        """Fit; at least two points of different numbers of images."""
        images = np.log([point.images for point in points])
        slope, level = np.polyfit(images, np.log([point.disagreement for point in points]), 1)
        return cls(math.exp(level), -float(slope))

    @property
    def gain(self) -> float:
        """Share of the disagreement that twice as many images would take away; negative: they would add."""
        return 1 - 2**-self.power


def measure(
    build: Callable[[], Students],
    training: Lesson,
    image_of: I32,
    validation: Lesson,
    course: Course,
    folder: Path,
    progress: Progress,
) -> list[Point]:
    """Train on growing parts of the images.

    Args:
        build: untrained students, the same at every call.
        training: tiles to learn from.
        image_of: which image each of them is of, int32 [N]; images in an order that means nothing.
        validation: tiles of other images.
        course: that of the recipe: its seed and identity hold, its epochs don't.
        folder: for checkpoints.
        progress: told each epoch.

    Returns:
        A point a share; shares that come to the same images stand once.

    Raises:
        ArtefactError: a checkpoint can't be written.
    """
    images = np.unique(image_of)
    batches = -(-len(training.tiles) // course.batch)
    steps = max(1, round(STEPS / batches)) * batches
    points = []
    for count in sorted({max(1, round(share * len(images))) for share in SHARES}):
        chosen = np.flatnonzero(np.isin(image_of, images[:count]))
        part = Lesson(training.tiles[chosen], [f[torch.from_numpy(chosen)] for f in training.features])
        epochs = max(1, round(steps / -(-len(chosen) // course.batch)))
        identity = f"{course.identity} {count} of {len(images)} images"
        short = replace(course, epochs=epochs, identity=identity, patience=None)

        def told(done: int, total: int, note: str = "", count: int = count) -> None:
            progress(done, total, f"learning curve, {count} images: {note}")

        standing = distill(build(), part, validation, short, folder / f"{count}-images", told, scale=training)
        points.append(Point(count, standing.best_loss / len(validation.features)))
    return points


def summary(points: Sequence[Point], held_back: int) -> str:
    """A few lines for a person; ``held_back`` is the number of images that were asked about."""
    over = f"{held_back} held-back good images, after about {STEPS} steps each"
    lines = [f"learning curve: disagreement on {over}"]
    lines += [f"  {point.images:4d} images  {point.disagreement:.4f}" for point in points]
    if len(points) < 2:
        return "\n".join([*lines, "too few images to tell what more would bring"])
    found = Trend.of(points)
    twice = f"twice as many images ({2 * points[-1].images})"
    if found.gain < NOTHING:
        lines.append(f"{twice} like these would bring next to nothing; other rolls and shifts may")
    else:
        lines.append(f"{twice} would bring about {found.gain:.0%} less, by a power law through these points")
    if len(points) > 2 and not _steady(points):
        lines.append("these points don't lie on a line, so take that as a guess")
    lines.append("this tells how well good web is known, not how well faults are found")
    return "\n".join(lines)


def _steady(points: Sequence[Point]) -> bool:
    """Whether every step falls, or none does, as a power law's do."""
    steps = np.diff([point.disagreement for point in points])
    return bool((steps < 0).all() or (steps >= 0).all())


def draw(points: Sequence[Point]) -> str:
    """Return the points, the power law and twice as many images as an <svg>; at least two points."""
    found = Trend.of(points)
    to = 2.0 * points[-1].images
    along = np.geomspace(points[0].images, to, 60)
    return trend(
        [(float(point.images), point.disagreement) for point in points],
        [(float(x), found.factor * float(x) ** -found.power) for x in along],
        "good images learnt from",
        "disagreement on held-back good web",
        "learning curve of good web",
    )
