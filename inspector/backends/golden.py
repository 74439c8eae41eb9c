"""Golden tiles: a few tiles whose scores are kept, so that an engine can be asked whether it still is itself.

They lie in ``engines/NAME/golden.png``, stacked from top to bottom: real ones where somebody put them, else
made up by build-engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from inspector.backends.artifact import BuiltEngine, Recipe, UnreadableError, read_bytes, write_atomically
from inspector.errors import ArtefactError
from inspector.records import F32, U8

COUNT = 8
SEED = 20_240
FILE = "golden.png"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a score may be off: ``absolute_sigma + relative * |reference|``."""

    absolute_sigma: float
    relative: float

    def units(self, scores: F32, reference: F32) -> F32:
        """Deviations in units of what is tolerated, [N]: above 1 is too much, NaN where either is."""
        allowed = self.absolute_sigma + self.relative * np.abs(reference)
        return np.asarray(np.abs(scores - reference) / allowed, np.float32)

    def worst(self, scores: F32, reference: F32) -> float:
        """The largest of ``units``."""
        return float(np.max(self.units(scores, reference)))


# fp32 engines differ by the order of their sums alone (0.0002 sigma at 120 on a trained pair); the others round
# every product: bf16 moved that pair's scores by up to 3 % and its maps by 0.3 sigma root mean square. In int8 a sum
# that differs in its last digit may be rounded to another step, and a few convolutions later such chance is as large
# as what rounding does anyway: the same graph in float32 on two runtimes is as far apart as in int8 (decision 15).
TOLERANCES = {
    "fp32": Tolerance(0.01, 0.001),
    "tf32": Tolerance(0.05, 0.02),
    "fp16": Tolerance(0.05, 0.02),
    "bf16": Tolerance(0.25, 0.1),
    "int8": Tolerance(0.25, 0.1),
}


def deviation(seen: tuple[F32, F32], reference: tuple[F32, F32], tolerance: Tolerance) -> float:
    """How far maps and scores are off, in units of what is tolerated: above 1 is too much, NaN where any is.

    Held to the tolerance are the tiles' scores, the peaks of their maps, and the root mean square of each map's
    deviation against that of the map: single cells of a rounded map may be off by more.
    """
    (maps, scores), (reference_maps, reference_scores) = seen, reference
    peaks = tolerance.worst(maps.max(axis=(1, 2)), reference_maps.max(axis=(1, 2)))
    spread = _rms(maps - reference_maps) / (
        tolerance.absolute_sigma + tolerance.relative * _rms(reference_maps)
    )
    return float(np.max([tolerance.worst(scores, reference_scores), peaks, spread.max()]))


def _rms(maps: F32) -> F32:
    return np.asarray(np.sqrt(np.square(maps).mean(axis=(1, 2))), np.float32)


def drift(scores: F32, built: BuiltEngine) -> F32:
    """How far the first golden tiles' scores are from those at the build.

    Args:
        scores: [N], sigma; N at most COUNT.
        built: what the manifest keeps of the build; its precision is one of TOLERANCES.

    Returns float32 [N] in units of what is tolerated: above 1 is too much, NaN where a score is; infinity where
    the manifest keeps too few.
    """
    then = np.asarray(built.golden_scores[: len(scores)], np.float32)
    if then.shape != scores.shape:
        return np.full(len(scores), np.inf, np.float32)
    return TOLERANCES[built.precision].units(scores, then)


def with_faults(tiles: U8, contrast: float = 1.0) -> U8:
    """Tiles, uint8 [N, side, side(, 3)], with a hole and a bar right through: black and white at contrast 1."""
    faulty, third = tiles.astype(np.float32), tiles.shape[1] // 3
    hole, bar = slice(third, 2 * third), slice(third // 2, third // 2 + max(1, third // 4))
    faulty[:, hole, hole] *= 1 - contrast
    faulty[:, :, bar] += contrast * (255 - faulty[:, :, bar])
    return np.asarray(faulty.round(), np.uint8)


def golden_tiles(engine_dir: Path, recipe: Recipe, remedy: str) -> U8:
    """Read the golden tiles: uint8 [COUNT, *tile_shape]. Raises ArtefactError when they are damaged."""
    file = engine_dir / FILE
    data = read_bytes(file, remedy)
    stacked = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    side = recipe.side_px
    wanted = (COUNT * side, *recipe.tile_shape[1:])
    if stacked is None or stacked.shape != wanted or stacked.dtype != np.uint8:
        raise ArtefactError(f"{file}: not {COUNT} stacked tiles of {side} px; delete it and {remedy}")
    if recipe.channels == 3:
        stacked = cv2.cvtColor(stacked, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(stacked, np.uint8).reshape(COUNT, *recipe.tile_shape)


def golden_or_made_up(engine_dir: Path, recipe: Recipe) -> tuple[U8, bool]:
    """The golden tiles; made-up ones, and True, where there are none or they don't fit. Nothing is written.

    Raises UnreadableError where they are there and can't be read: made-up ones would replace them for good.
    """
    try:
        return golden_tiles(engine_dir, recipe, "see that it can be read, then build again"), False
    except UnreadableError:
        raise
    except ArtefactError:
        return made_up_tiles(recipe), True


def write_golden_tiles(engine_dir: Path, tiles: U8) -> None:
    """Write tiles, uint8 [COUNT, *tile_shape], without loss. Raises ArtefactError."""
    stacked = tiles.reshape(-1, *tiles.shape[2:])
    encoded, png = cv2.imencode(
        ".png", stacked if tiles.ndim == 3 else cv2.cvtColor(stacked, cv2.COLOR_RGB2BGR)
    )
    assert encoded
    write_atomically(engine_dir / FILE, png.tobytes())


def made_up_tiles(recipe: Recipe) -> U8:
    """Weaves with and without a fault, uneven light, noise, black and white: uint8 [COUNT, *tile_shape]."""
    rng = np.random.default_rng(SEED)
    side = recipe.side_px
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    plain = np.sin(2 * np.pi * x / 6) * np.sin(2 * np.pi * y / 6)
    twill = np.sin(2 * np.pi * (x + y) / 8)
    coarse = np.sin(2 * np.pi * x / 17) * np.sin(2 * np.pi * y / 13)
    gap = np.where(np.abs(y - side / 2) < 3, -1, plain)
    spot = np.where((x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 16) ** 2, 1, twill)
    pictures = [
        128 + 50 * weave + light + rng.normal(0, 6, (side, side))
        for weave, light in ((plain, 0), (gap, 0), (twill, 0), (spot, 0), (coarse, 60 * (x / side - 0.5)))
    ]
    pictures += [rng.uniform(0, 255, (side, side)), np.zeros((side, side)), np.full((side, side), 255)]
    grey = np.stack(pictures).clip(0, 255).astype(np.uint8)
    return grey if recipe.channels == 1 else np.repeat(grey[..., np.newaxis], 3, axis=3)
