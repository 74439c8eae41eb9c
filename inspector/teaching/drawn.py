"""Plain faults drawn onto good web, and how many of them an engine finds at a limit.

They are stand-ins of known kind and size, all of one moderate contrast, in units of the deviation that the
web's own grey has. Real faults are neither so plain nor so alike: the table compares recipes and tells what
is hopeless, it doesn't say what share of a plant's faults will be found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from inspector.backends.engine import NO_STAMP
from inspector.images.reading import Mask
from inspector.images.scoring import BATCH
from inspector.interfaces import Backend
from inspector.records import F32, U8, Grid, TileBatch
from inspector.tiling.grid import cut

KINDS = (
    "dark spot",
    "bright spot",
    "missing thread along",
    "missing thread across",
    "hole",
    "soft stain",
)
SIZES_MM = (0.5, 1.0, 2.0, 5.0)
TRIES = 8  # of each kind and size
THREAD_MM = 20.0  # length of a missing thread; its size is its width
SPOT, THREAD, HOLE, STAIN = 2.5, 2.5, 5.0, 2.0  # contrasts, in deviations of the web's own grey
FLAT_PX = 31  # what is wider than this is light, not the web's own grey
NEAR_CELLS = 2  # a blurred map peaks beside an edge
SEED = 20_600


@dataclass(frozen=True, slots=True)
class GoodWeb:
    """Good web and what the engine says of it."""

    pixels: U8  # [h, w] or [h, w, 3], at least a tile both ways
    cells: F32  # [ceil(h / px_per_cell), ceil(w / px_per_cell)], sigma
    left_px: int  # column of the camera at which it begins


@dataclass(frozen=True, slots=True)
class Row:
    """One kind's tries."""

    kind: str
    found: tuple[int, ...]  # a size of SIZES_MM, of TRIES
    always_from_mm: (
        float | None
    )  # the smallest size from which on every try was found; None: not even the largest


def try_faults(
    backend: Backend,
    grid: Grid,
    webs: Sequence[GoodWeb],
    mm_per_px: float,
    exceeds: Callable[[F32, int], Mask],
    progress: Callable[[int, int], None],
) -> list[Row]:
    """Draw every kind and size onto good web, TRIES times each at seeded places, and look what is found.

    Found is a fault with a cell above its limit on it, or within two cells of it.

    Args:
        backend: an open engine.
        grid: how tiles lie.
        webs: good web to draw on.
        mm_per_px: of the web.
        exceeds: says which cells, float32 [rows, columns] from a column of the camera on, are above their limits.
        progress: told how many tries are done.
    """
    rng = np.random.default_rng(SEED)
    deviations = [own_deviation(web.pixels) for web in webs]
    tries = [(kind, size) for kind in KINDS for size in SIZES_MM for _ in range(TRIES)]
    found = []
    for start in range(0, len(tries), BATCH):
        progress(start, len(tries))
        drawn = []
        for kind, size_mm in tries[start : start + BATCH]:
            at = int(rng.integers(len(webs)))
            drawn.append(_tile(webs[at], grid, kind, size_mm / mm_per_px, mm_per_px, deviations[at], rng))
        tiles = np.stack([one.tile for one in drawn])
        origins = np.zeros((len(tiles), 2), np.int32)
        maps = backend.infer(TileBatch(NO_STAMP, tiles, origins, grid.margin_px)).scores
        found += [_is_found(one, scores, grid, exceeds) for one, scores in zip(drawn, maps, strict=True)]
    progress(len(tries), len(tries))
    counts = np.array(found).reshape(len(KINDS), len(SIZES_MM), TRIES).sum(axis=2)
    return [_row(kind, row) for kind, row in zip(KINDS, counts, strict=True)]


def own_deviation(web: U8) -> float:
    """Standard deviation of the web's own grey, greys: the light's slow changes aside. At least 1."""
    grey = web.astype(np.float32) if web.ndim == 2 else web.mean(axis=2, dtype=np.float32)
    return max(1.0, float((grey - cv2.blur(grey, (FLAT_PX, FLAT_PX))).std()))


def draw(
    kind: str, web: U8, centre: tuple[float, float], size_px: float, mm_per_px: float, deviation: float
) -> tuple[U8, Mask]:
    """Draw one fault.

    Args:
        kind: one of KINDS.
        web: uint8 [h, w] or [h, w, 3]; it stays as it is.
        centre: (row, column).
        size_px: diameter, or width of a missing thread.
        mm_per_px: of the web.
        deviation: unit of the contrast, greys.

    Returns:
        The web with the fault, and bool [h, w] where it lies; at least one pixel.
    """
    rows, columns = np.ogrid[: web.shape[0], : web.shape[1]]
    down, right = np.abs(rows - centre[0]), np.abs(columns - centre[1])
    distance = np.sqrt(down**2 + right**2)
    half, half_thread = size_px / 2, THREAD_MM / mm_per_px / 2
    match kind:
        case "missing thread along":
            cover = np.minimum(_inside(right, half), _inside(down, half_thread))
        case "missing thread across":
            cover = np.minimum(_inside(down, half), _inside(right, half_thread))
        case "soft stain":  # as wide as that where it is half as deep
            cover = np.exp(-np.log(2) * (distance / half) ** 2)
        case _:
            cover = _inside(distance, half)
    lift = cover if web.ndim == 2 else cover[..., None]
    grey = web.astype(np.float32)
    match kind:
        case "bright spot":
            drawn = grey + SPOT * deviation * lift
        case "dark spot":
            drawn = grey - SPOT * deviation * lift
        case "soft stain":
            drawn = grey - STAIN * deviation * lift
        case "hole":  # what is behind the web has none of its grain
            drawn = grey * (1 - lift) + (float(grey.mean()) - HOLE * deviation) * lift
        case _:
            drawn = grey - THREAD * deviation * lift
    mask = cover >= min(0.5, float(cover.max()))
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8), mask


def _inside(distance: F32, half: float) -> F32:
    """1 within, 0 beyond, and a pixel of both between: a fault narrower than a pixel is a faint one."""
    return np.asarray(np.clip(half - distance + 0.5, 0, min(1.0, 2 * half)), np.float32)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One fault on one tile."""

    web: GoodWeb
    tile: U8  # [S, S(, 3)] with margins
    mask: Mask  # [tile, tile] of the interior
    origin_cells: tuple[int, int]  # (row, column) of the interior on the web


def _tile(
    web: GoodWeb,
    grid: Grid,
    kind: str,
    size_px: float,
    mm_per_px: float,
    deviation: float,
    rng: np.random.Generator,
) -> _Drawn:
    """A tile somewhere on the web, on whole cells, with a fault somewhere in it."""
    side, cell = grid.tile_px, grid.px_per_cell
    row, column = (int(rng.integers((length - side) // cell + 1)) for length in web.pixels.shape[:2])
    top, left = row * cell, column * cell
    down, right = rng.uniform(0, side - 1, 2)
    pixels, mask = draw(kind, web.pixels, (top + down, left + right), size_px, mm_per_px, deviation)
    (tile,) = cut(grid, [pixels], [top], [left])
    return _Drawn(web, tile, mask[top : top + side, left : left + side], (row, column))


def _is_found(drawn: _Drawn, scores: F32, grid: Grid, exceeds: Callable[[F32, int], Mask]) -> bool:
    """Lay the tile's cells into those of the good web around it, and ask for what is above its limit near the fault."""
    cells = grid.tile_px // grid.px_per_cell
    row, column = drawn.origin_cells
    interior = slice(row, row + cells), slice(column, column + cells)
    canvas = drawn.web.cells.copy()
    canvas[interior] = scores
    on = drawn.mask.reshape(cells, grid.px_per_cell, cells, grid.px_per_cell).any(axis=(1, 3))
    near = (
        cv2.dilate(np.asarray(on, np.uint8), np.ones((2 * NEAR_CELLS + 1, 2 * NEAR_CELLS + 1), np.uint8)) > 0
    )
    return bool(exceeds(canvas, drawn.web.left_px)[interior][near].any())


def _row(kind: str, found: Sequence[int]) -> Row:
    always = None
    for size, count in reversed(list(zip(SIZES_MM, found, strict=True))):
        if count < TRIES:
            break
        always = size
    return Row(kind, tuple(int(count) for count in found), always)
