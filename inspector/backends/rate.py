"""How fast an open engine is: rounds of one batch, one after the other, with nothing around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inspector.backends.engine import score_loose
from inspector.interfaces import Backend
from inspector.records import U8

RATE_S = 3.0  # enough for a figure in passing
HEADROOM = 1.1  # an engine that is less than a tenth faster than the web will drop frames
TILES = 16
WARM_UP = 0.1  # of the time that is then measured
GLANCE_S = 0.4  # before a start; with the last batch, about a second at most
GLANCE_TILES = 4  # in the first batch, which even a slow engine gets done
TOO_SLOW = (
    "train with --preset fast, faster or fastest, let tiles overlap less, slow the web down, widen mm_per_px or use a "
    "faster machine: frames will be dropped"
)


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured: one batch, again and again."""

    tiles: int  # in a batch
    seconds: tuple[float, ...]  # of each round

    @property
    def tiles_per_s(self) -> float:
        """Over all rounds."""
        return self.tiles * len(self.seconds) / sum(self.seconds)

    def quantile_ms(self, share: float) -> float:
        """What a share of the rounds takes no longer than; of few rounds, the slowest."""
        return float(np.quantile(self.seconds, share, method="higher")) * 1000


def measure_rate(
    backend: Backend,
    seconds: float,
    tiles: int = TILES,
    progress: Callable[[float], None] = lambda done_s: None,
    *,
    is_warm: bool = False,
) -> Rounds:
    """Time an engine on seeded noise, after a tenth as long to warm up, a batch at least.

    The clock is monotonic and read when ``infer`` has returned: by then the GPU's stream or the CPU's queue is
    synchronised and the results are in host memory, so that a round holds copies, inference and the wait for them.

    Args:
        backend: an open engine.
        seconds: to measure for; one round at least.
        tiles: in a batch.
        progress: told how many of the seconds are over.
        is_warm: whether it ran such batches a moment ago.
    """
    noise = _noise(backend, tiles)
    if not is_warm:
        _rounds(backend, noise, seconds * WARM_UP, lambda done_s: None)
    return Rounds(tiles, _rounds(backend, noise, seconds, progress))


def glance_rate(backend: Backend, most: int) -> float:
    """Return tiles/s at a glance: the best of batches that double from GLANCE_TILES to ``most``.

    For a start, which can't wait for ``measure_rate``. The best, because the first batches of a size take longer, and
    a machine that did something else for a moment is no slow engine.

    Args:
        backend: an open engine that has run already.
        most: tiles in a batch as the line's frames give it.

    Raises RuntimeError from the runtime.
    """
    noise = _noise(backend, most)
    best, count, until_s = 0.0, GLANCE_TILES, time.monotonic() + GLANCE_S
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        score_loose(backend, noise[:count])
        best = max(best, len(noise[:count]) / (time.monotonic() - began_s))
        count = min(2 * count, most)
    return best


def keeps_up(tiles_per_s: float, needed: float) -> bool:
    """Whether an engine is fast enough for a web that brings ``needed`` tiles a second; TOO_SLOW says what to do."""
    return tiles_per_s >= needed * HEADROOM


def speed_words(tiles_per_s: float, needed: float, speed_m_min: float) -> str:
    """What the web's speed needs beside what the engine does, and what to do where that is too little."""
    sentence = f"{speed_m_min:g} m/min needs {needed:.0f} tiles/s; the engine does {tiles_per_s:.0f} here"
    return sentence if keeps_up(tiles_per_s, needed) else f"{sentence}; {TOO_SLOW}"


def _noise(backend: Backend, tiles: int) -> U8:
    return np.random.default_rng(0).integers(0, 256, (tiles, *backend.info.tile_shape), dtype=np.uint8)


def _rounds(
    backend: Backend, noise: U8, seconds: float, progress: Callable[[float], None]
) -> tuple[float, ...]:
    taken: list[float] = []
    began_s = before_s = time.monotonic()
    while not taken or before_s - began_s < seconds:
        score_loose(backend, noise)
        now_s = time.monotonic()
        taken.append(now_s - before_s)
        progress(now_s - began_s)
        before_s = time.monotonic()
    return tuple(taken)
