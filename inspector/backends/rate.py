"""What an engine does here, how many more tiles a second than the web brings are wanted, what a graph costs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from inspector.interfaces import Backend
from inspector.records import Stamp, TileBatch

RATE_S = 3.0
HEADROOM = 1.1  # an engine that is less than a tenth faster than the web will drop frames
BATCH = 16


@dataclass(frozen=True, slots=True)
class Work:
    """What a graph costs for one tile, counted and not run. A value is a number of any format: 2 bytes in fp16."""

    flop: int  # of convolutions and matrix products: a multiply-add is two
    values_fused: int  # read and written by those alone, as if all between them were fused into them
    values_unfused: int  # read and written by every operation, as if nothing were fused


def measure_rate(backend: Backend) -> float:
    """Tiles a second of the bare engine, over RATE_S seconds of seeded noise."""
    info = backend.info
    side = info.tile_px + 2 * info.margin_px
    shape = (BATCH, side, side) if info.channels == 1 else (BATCH, side, side, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    stamp = Stamp("", "", 0, 0, 0, 0, 0, 0)
    batch = TileBatch(stamp, pixels, np.zeros((BATCH, 2), np.int32), info.margin_px)
    backend.infer(batch)
    tiles, began_s = 0, time.monotonic()
    while time.monotonic() - began_s < RATE_S:
        backend.infer(batch)
        tiles += BATCH
    return tiles / (time.monotonic() - began_s)
