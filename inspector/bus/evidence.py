"""What the maps socket shows: score maps of tiles above the limit, defects with a picture of where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from inspector.bus import wire
from inspector.records import F32, U8, Defect, ScoreMap, Strip, TileBatch, Verdict

Message: TypeAlias = tuple[dict[str, Any], list[bytes]]  # fields of the header, payload

MOST_IMAGES = 8  # of one strip; a web in shreds must not drown the socket


def tiles(
    strip: Strip, scores: ScoreMap, limit: float | F32, mm_per_px: float, counts_per_m: float
) -> Iterator[Message]:
    """Messages of the tiles with a cell above its ``limit``, or not finite, in the order of the batch.

    Args:
        strip: where the tiles lie.
        scores: what the engine saw in them.
        limit: sigma; one for all cells, or [columns] of the strip's canvas.
        mm_per_px: of the camera's picture.
        counts_per_m: of the encoder.
    """
    if strip.region is None:
        return
    side = scores.scores.shape[-1]
    side_px = side * scores.px_per_cell
    limits = np.broadcast_to(np.asarray(limit, np.float32), strip.canvas_cells[1])
    lefts = np.unique(scores.origins_px[:, 1])
    tops = np.unique(scores.origins_px[:, 0])
    for cells, score, (top, left) in zip(scores.scores, scores.tile_scores, scores.origins_px, strict=True):
        column = left // scores.px_per_cell
        if np.isfinite(cells).all() and (cells <= limits[column : column + side]).all():
            continue
        shape, payload = wire.pack_map(cells)
        yield (
            {
                "row": int(np.searchsorted(tops, top)),
                "col": int(np.searchsorted(lefts, left)),
                "x_mm": (strip.region.left_px + int(left)) * mm_per_px,
                "y_m": strip.encoder_at(int(top)) / counts_per_m,
                "w_mm": side_px * mm_per_px,
                "h_mm": side_px * mm_per_px,
                "mm_per_px": mm_per_px,
                "score": wire.finite(float(score)),
                "map": shape,
            },
            [payload],
        )


def defects(
    strip: Strip, verdicts: list[Verdict], mm_per_px: float, counts_per_m: float
) -> Iterator[Message]:
    """Messages of the verdicts' defects, each once; the first few with a picture of the tile they lie in."""
    told: set[str] = set()
    images = 0
    for verdict in verdicts:
        for defect in verdict.defects:
            if defect.defect_id in told:
                continue
            told.add(defect.defect_id)
            fields = wire.defect_fields(defect, verdict.lane)
            pixels = None if images >= MOST_IMAGES else _tile_at(strip, defect, mm_per_px, counts_per_m)
            if pixels is None:
                yield fields, []
            else:
                images += 1
                yield fields | {"image": "image/png"}, [wire.pack_image(pixels)]


def _tile_at(strip: Strip, defect: Defect, mm_per_px: float, counts_per_m: float) -> U8 | None:
    """The judged interior of the tile whose middle is nearest to the defect's; None if this strip lacks it."""
    batch = strip.batch
    if batch is None or strip.region is None or not len(batch.pixels):
        return None
    side_px = batch.pixels.shape[1] - 2 * batch.margin_px
    y0, y1 = (strip.encoder_at(row) / counts_per_m for row in (0, side_px))
    px_per_m = side_px / max(y1 - y0, 1e-9)
    if (defect.y_m + defect.h_mm / 1000 - y0) * px_per_m < 1:  # the end of one that lay in strips before
        return None
    row = (defect.y_m + defect.h_mm / 2000 - y0) * px_per_m
    column = (defect.x_mm + defect.w_mm / 2) / mm_per_px - strip.region.left_px
    middles = batch.origins_px + side_px / 2
    nearest = int(np.abs(middles - (row, column)).max(axis=1).argmin())
    return _interior(batch, nearest)


def _interior(batch: TileBatch, tile: int) -> U8:
    margin = batch.margin_px
    side = batch.pixels.shape[1] - margin
    return batch.pixels[tile, margin:side, margin:side]
