"""Whether an engine's answer to a tile depends on anything but the tile: its batch, its place in it, its neighbours.

Every answer is held against the one that the same engine gives to the tile alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inspector.backends import golden
from inspector.backends.artifact import Recipe
from inspector.backends.engine import score_loose
from inspector.backends.extremes import extreme_tiles
from inspector.interfaces import Backend
from inspector.records import F32, U8, ScoreMap

SHARE = 1e-4  # of the limit: what company may change
# Even and odd, around what a backend runs at once (ONNX Runtime 4, TensorRT 32), and beyond twice that.
SIZES = (2, 3, 4, 5, 8, 16, 32, 33, 65)


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest of many comparisons."""

    units: float  # of what is tolerated: above 1 is too much, NaN where an answer is
    score_sigma: float
    cell_sigma: float
    where: str  # in words, of the largest


class Alone:
    """Tiles, and what the engine answers to each by itself."""

    def __init__(self, backend: Backend, tiles: U8, limit_sigma: float) -> None:
        """Take tiles, uint8 [N, side, side(, 3)], and the line's limit. Raises RuntimeError from the runtime."""
        self._backend = backend
        self._tiles = tiles
        self._limit_sigma = limit_sigma
        seen = [score_loose(backend, tile[np.newaxis]) for tile in tiles]
        self._maps = np.concatenate([one.scores for one in seen])
        self._scores = np.concatenate([one.tile_scores for one in seen])

    def in_batches(self) -> Difference:
        """Batches of SIZES, each place of which is compared, first, last and between. Raises RuntimeError."""
        return self._largest(self._batches())

    def among(self, neighbours: dict[str, U8]) -> Difference:
        """Each tile behind a neighbour of a kind: name -> one tile, or [N] of them. Raises RuntimeError."""
        return self._largest(self._mixed(neighbours))

    def again(self) -> Difference:
        """All tiles in one batch, twice; the second is held against the first. Raises RuntimeError."""
        first, second = (score_loose(self._backend, self._tiles) for _ in range(2))
        return self._difference(second, first.scores, first.tile_scores, "the second time")

    def _batches(self) -> Iterator[Difference]:
        count = len(self._tiles)
        for turn, size in enumerate(SIZES):
            which = (np.arange(size) + turn) % count
            seen = score_loose(self._backend, self._tiles[which])
            yield self._difference(
                seen, self._maps[which], self._scores[which], f"batch of {size}, place {{place}}"
            )

    def _mixed(self, neighbours: dict[str, U8]) -> Iterator[Difference]:
        for name, tiles in neighbours.items():
            batch = np.repeat(self._tiles, 2, axis=0)
            batch[::2] = tiles
            seen = score_loose(self._backend, batch)
            mine = ScoreMap(
                seen.stamp, seen.scores[1::2], seen.tile_scores[1::2], seen.px_per_cell, seen.origins_px[1::2]
            )
            yield self._difference(mine, self._maps, self._scores, f"among {name}")

    def _largest(self, differences: Iterator[Difference]) -> Difference:
        every = list(differences)
        worst = every[int(np.argmax([one.units for one in every]))]
        return Difference(
            worst.units,
            float(np.max([one.score_sigma for one in every])),  # NaN is the highest here too
            float(np.max([one.cell_sigma for one in every])),
            worst.where,
        )

    def _difference(self, seen: ScoreMap, maps: F32, scores: F32, where: str) -> Difference:
        """``where`` may name the {place} of the largest."""
        by_score, by_cell = np.abs(seen.tile_scores - scores), np.abs(seen.scores - maps)
        units = np.maximum(by_score / self._allowed(scores), (by_cell / self._allowed(maps)).max(axis=(1, 2)))
        place = int(np.argmax(units))
        return Difference(
            float(units[place]),
            float(by_score.max()),
            float(by_cell.max()),
            where.format(place=place + 1),
        )

    def _allowed(self, scores: F32) -> F32:
        """A share of the limit; of the score itself where that is higher: nothing is decided up there."""
        return np.asarray(SHARE * np.maximum(self._limit_sigma, np.abs(scores)), np.float32)


def neighbours_for(recipe: Recipe, tiles: U8) -> dict[str, U8]:
    """Black, white, noise and the other extremes, and the tiles themselves with faults."""
    return {**extreme_tiles(recipe), "faulty tiles": golden.with_faults(tiles)}
