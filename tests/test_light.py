"""Brightness that good web never shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from inspector.learning.cells import Shape
from inspector.learning.light import GREYS_BEYOND, GREYS_PER_SIGMA, Light
from tests.small_recipe import weave

SIDE, MARGIN = 128, 32
SHAPE = Shape(SIDE - 2 * MARGIN, MARGIN, 1)


def good(count: int = 4) -> np.ndarray:
    return np.stack([weave(seed, SIDE, SIDE) for seed in range(count)])


def added(light: Light, tile: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(tile).float()
    return light((pixels[None] if tile.ndim == 2 else pixels.permute(2, 0, 1))[None])[0].numpy()


def test_good_web_and_what_lies_near_it_get_nothing() -> None:
    light = Light.of([good()], SHAPE)
    for tile in good(8):
        assert not added(light, tile).any()
        assert not added(light, (tile.astype(int) + 7).astype(np.uint8)).any()


@pytest.mark.parametrize("grey", [0, 255])
def test_background_scores_where_it_is_by_how_far_it_lies_beyond(grey: int) -> None:
    light = Light.of([good()], SHAPE)
    tile = good(1)[0]
    tile[96:] = grey  # half of the judged rows are 32 to 95; the margin below them is background too
    tile[80:] = grey
    sigma = added(light, tile)
    greys = light.greys(torch.from_numpy(good()).float()[:, None])
    end = float(greys.min()) - GREYS_BEYOND if grey == 0 else float(greys.max()) + GREYS_BEYOND
    assert sigma.shape == (16, 16)
    np.testing.assert_allclose(sigma[-2:], abs(grey - end) / GREYS_PER_SIGMA, rtol=1e-4)
    assert not sigma[:9].any()


def test_a_yarn_is_no_matter_of_light() -> None:
    light = Light.of([good()], SHAPE)
    tile = good(1)[0]
    tile[60:62] = 60
    assert not added(light, tile).any()


def test_a_range_that_good_web_spans_is_widened_by_a_share_of_it() -> None:
    bright = np.full((2, SIDE, SIDE), 200, np.uint8)
    dark = np.full((2, SIDE, SIDE), 50, np.uint8)
    light = Light.of([bright, dark], SHAPE)
    assert float(light.darkest) == pytest.approx(50 - 0.15 * 150)
    assert float(light.brightest) == pytest.approx(200 + 0.15 * 150)


def test_colour_counts_by_its_mean() -> None:
    tiles = np.repeat(good()[..., None], 3, axis=3)
    light = Light.of([tiles], replace(SHAPE, channels=3))
    assert not added(light, tiles[0]).any()
    assert added(light, np.zeros_like(tiles[0])).min() > 50


def test_without_a_margin_the_edge_counts_what_is_there() -> None:
    light = Light.of([good()], Shape(SIDE, 0, 1))
    sigma = added(light, np.zeros((SIDE, SIDE), np.uint8))
    assert sigma.shape == (32, 32)
    assert np.ptp(sigma) < 1e-3
