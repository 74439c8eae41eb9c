"""A picture of what the students have not learnt yet: the worst good validation tiles beside what is wrong there.

It shows where good web is still a surprise: a selvedge, a dark corner, a yarn that few images have. More images
of that help; where the whole tile glows, the training is too short. It is no picture of faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inspector.images.pictures import captioned, heat, in_colour, joined, write_picture
from inspector.learning.distill import Progress, Standing
from inspector.records import F32, U8

NAME = "not-learnt.png"
SHOWN = 6  # tiles
ACROSS = 2  # tiles, each with its map
PANEL_PX = 256
TIMES = 5.0  # the colours run from 0 to so many times the mean
QUARTERS = 4


@dataclass(slots=True)
class Sheet:
    """Draws validation tiles at every quarter of a training."""

    file: Path  # PNG, replaced whole
    tiles: U8  # [N, S, S(, 3)], with margins
    names: Sequence[str]  # [N] of the images they are of
    margin_px: int
    epochs: int
    progress: Progress
    _told: bool = field(default=False, init=False)

    def watch(self, standing: Standing, residual: Sequence[Tensor]) -> None:
        """Draw at a quarter, half and three quarters of the epochs; say once where.

        Raises ArtefactError when the disk won't take it.
        """
        if standing.epoch not in {self.epochs * part // QUARTERS for part in range(1, QUARTERS)}:
            return
        self.draw(residual, f"after epoch {standing.epoch} of {self.epochs}")
        if not self._told:
            self.progress(standing.epoch, self.epochs, f"not learnt yet: {self.file}")
            self._told = True

    def draw(self, residual: Sequence[Tensor], when: str) -> None:
        """Write the picture. ``residual`` is a layer's distances each, float32 [N, h, w].

        Raises ArtefactError when the disk won't take it.
        """
        maps = surprise(residual, self.tiles.shape[1], self.margin_px)
        write_picture(self.file, sheet(self.tiles, maps, self.names, self.margin_px, when))


def surprise(residual: Sequence[Tensor], side_px: int, margin_px: int) -> F32:
    """Put layers together: float32 [N, tile, tile], in times of each layer's mean over all tiles; margins cut off.

    Args:
        residual: a layer: float32 [N, h, w].
        side_px: of a tile with its margins.
        margin_px: of that, on each side.
    """
    inner = slice(margin_px, side_px - margin_px)
    total = torch.zeros(())
    for layer in residual:
        full = F.interpolate(layer[:, None], (side_px, side_px), mode="bilinear", align_corners=False)
        judged = full[:, 0, inner, inner]
        total = total + judged / judged.mean().clamp(min=1e-12)
    return np.asarray((total / len(residual)).numpy(), np.float32)


def sheet(tiles: U8, maps: F32, names: Sequence[str], margin_px: int, when: str) -> U8:
    """Lay the worst tiles out beside their maps: uint8 [h, w, 3] RGB.

    Args:
        tiles: uint8 [N, S, S(, 3)] with margins.
        maps: float32 [N, tile, tile], see ``surprise``.
        names: of the images.
        margin_px: on each side of a tile.
        when: in the training, for the headline.
    """
    worst = np.argsort(-maps.reshape(len(maps), -1).max(1), kind="stable")[:SHOWN]
    pairs = []
    for at in worst:
        inner = slice(margin_px, tiles.shape[1] - margin_px)
        seen, wrong = _panel(in_colour(tiles[at, inner, inner])), _panel(heat(maps[at], TIMES))
        said = f"highest {maps[at].max():.1f}, mean {maps[at].mean():.1f}"
        pairs.append(joined([captioned(names[at], seen), captioned(said, wrong)], axis=1))
    while len(pairs) % ACROSS:
        pairs.append(np.full_like(pairs[0], 255))
    rows = [joined(pairs[at : at + ACROSS], axis=1) for at in range(0, len(pairs), ACROSS)]
    head = f"good tiles held back, {when}: disagreement in times of its mean, colours from 0 to {TIMES:g}"
    return captioned(head, joined(rows, axis=0))


def _panel(picture: U8) -> U8:
    return np.asarray(cv2.resize(picture, (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_AREA), np.uint8)
