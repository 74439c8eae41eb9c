"""Good images that may bear a fault: what was learnt from or held back, and is still far above the rest.

A fault in train/good is learnt as good web, but seldom well: it is one among many. So the trained graph is
shown the tiles it comes from once more, and an image whose highest tile lies far beyond those of the others
is named. It is a warning: good web may be odd, and a fault that many images have is not found this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from inspector.images.far_above import far_above
from inspector.learning.distill import LOOK, Progress
from inspector.learning.export import InspectionGraph
from inspector.records import F64, I32, U8

MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image that stands out."""

    image: int  # its place among those given
    sigma: float  # its highest tile


def peaks(graph: InspectionGraph, tiles: U8, progress: Progress) -> F64:
    """Score good tiles, uint8 [N, S, S(, 3)]: each one's highest cell, float64 [N], sigma."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(tiles), LOOK):
            progress(start, len(tiles), "looks for suspects")
            found.append(graph(torch.from_numpy(tiles[start : start + LOOK]))[1].numpy())
    progress(len(tiles), len(tiles), "looks for suspects")
    return np.concatenate(found).astype(np.float64)


def find_suspects(scores: F64, image_of: I32) -> list[Suspect]:
    """Return images whose highest tile is far above what the other images' highest tiles show, worst first.

    Args:
        scores: of tiles, float64 [N], sigma.
        image_of: which image a tile is of, int32 [N]; images without tiles don't count.
    """
    images = np.unique(image_of)
    highest = np.array([scores[image_of == image].max() for image in images])
    return [Suspect(int(images[at]), float(highest[at])) for at in far_above(highest)]


def warning(suspects: Sequence[Suspect], names: Sequence[str], scores: F64, image_of: I32) -> str:
    """Name suspects in a sentence; empty where there are none. ``names`` are those of all images."""
    if not suspects:
        return ""
    typical = float(np.median([scores[image_of == image].max() for image in np.unique(image_of)]))
    listed = ", ".join(f"{names[one.image]} ({one.sigma:.0f} sigma)" for one in suspects[:MOST_NAMED])
    more = f" and {len(suspects) - MOST_NAMED} more" if len(suspects) > MOST_NAMED else ""
    return (
        f"{listed}{more}: far above the other good images, whose median is {typical:.1f} sigma; look whether "
        "they bear a fault, take out those that do and train again"
    )
