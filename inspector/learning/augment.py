"""Good tiles under other light: what the camera may show tomorrow of the same web.

Students learn a second copy of every tile with its brightness, contrast, sharpness and evenness of light
changed, so that a lamp that ages or a web that runs nearer to the lens is not taken for a fault. The teachers
look at the changed tile, so nothing is learnt that they would not say.
This module knows nothing of networks.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from inspector.records import U8

MOST_GAIN = 0.3  # |ln| of the factor on brightness: 0.74 to 1.35
BRIGHTEST = 215.0  # mean grey of a copy: what is blown out all over would teach that glare is good
MOST_CONTRAST = 0.25  # |ln| of the factor on the difference from the tile's mean
MOST_SLOPE = 0.15  # of the light, from a tile's middle to its side, each way
BLURRED_SHARE = 0.5
BLUR_PX = (0.3, 0.9)  # sigma; more would wipe out single yarns


def relit(tiles: U8, seed: int) -> U8:
    """Return a changed copy of every tile, uint8 [N, S, S] or [N, S, S, 3]; the same seed, the same copies."""
    rng = np.random.default_rng(seed)
    return np.stack([_relit(tile, rng) for tile in tiles]) if len(tiles) else tiles.copy()


def _relit(tile: U8, rng: np.random.Generator) -> U8:
    pixels = tile.astype(np.float32)
    mean = float(pixels.mean())
    gain, contrast = (math.exp(rng.uniform(-most, most)) for most in (MOST_GAIN, MOST_CONTRAST))
    gain = min(gain, max(1.0, BRIGHTEST / max(mean, 1.0)))
    pixels = ((pixels - mean) * contrast + mean) * gain
    if rng.random() < BLURRED_SHARE:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(*BLUR_PX)), np.float32)
    down, across = (
        np.linspace(-1, 1, side, dtype=np.float32) * rng.uniform(-MOST_SLOPE, MOST_SLOPE)
        for side in tile.shape[:2]
    )
    light = 1 + down[:, None] + across[None, :]
    pixels *= light if tile.ndim == 2 else light[..., None]
    return np.clip(pixels, 0, 255).round().astype(np.uint8)
