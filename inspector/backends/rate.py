"""What an opened engine does here: tiles a second, and how many more of them than the web brings are wanted."""

from __future__ import annotations

import time

import numpy as np

from inspector.interfaces import Backend
from inspector.records import Stamp, TileBatch

RATE_S = 3.0
HEADROOM = 1.1  # an engine that is less than a tenth faster than the web will drop frames
BATCH = 16


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
