"""Extreme tiles: what no web looks like, and a torn one or a dead lamp may. No engine may answer them with NaN."""

from __future__ import annotations

import numpy as np

from inspector.backends.artifact import Recipe
from inspector.records import F32, U8

SEED = 7


def extreme_tiles(recipe: Recipe) -> dict[str, U8]:
    """Name -> tile, uint8 of the recipe's ``tile_shape``; in grey, but for the noise."""
    shape = recipe.tile_shape
    row, column = np.indices(shape[:2])
    squares = ((row + column) % 2 * 255).astype(np.uint8)
    middle = shape[0] // 2, shape[1] // 2
    lit, dark = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
    lit[middle], dark[middle] = 255, 0
    return {
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "saturated noise": np.random.default_rng(SEED).integers(0, 2, shape, np.uint8) * np.uint8(255),
        "checkerboard": squares if recipe.channels == 1 else np.repeat(squares[..., None], 3, axis=2),
        "one white pixel": lit,
        "one black pixel": dark,
    }


def not_finite(names: list[str], maps: F32, scores: F32) -> list[str]:
    """Which of the tiles have NaN or infinity for a score, or in their map.

    Args:
        names: of N tiles.
        maps: [N, cells, cells].
        scores: [N].
    """
    finite = np.isfinite(scores) & np.isfinite(maps).all(axis=(1, 2))
    return [name for name, well in zip(names, finite, strict=True) if not well]
