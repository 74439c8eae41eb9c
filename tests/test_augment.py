"""Good tiles under other light."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.learning.augment import MOST_CONTRAST, MOST_GAIN, MOST_SLOPE, relit
from tests.small_recipe import weave


def tiles(count: int = 12) -> np.ndarray:
    return np.stack([weave(seed, 96, 96) for seed in range(count)])


def test_the_same_seed_gives_the_same_copies_and_another_does_not() -> None:
    good = tiles()
    before = good.copy()
    np.testing.assert_array_equal(relit(good, 3), relit(good, 3))
    assert (relit(good, 3) != relit(good, 4)).any()
    np.testing.assert_array_equal(good, before)


def test_every_copy_is_another_and_within_bounds() -> None:
    good = tiles()
    copies = relit(good, 0)
    assert copies.shape == good.shape
    assert copies.dtype == np.uint8
    ratios = copies.mean((1, 2)) / good.mean((1, 2))
    assert len(np.unique(ratios.round(6))) == len(good)
    assert np.exp(-MOST_GAIN) - 0.02 < ratios.min() < 0.9
    assert 1.1 < ratios.max() < np.exp(MOST_GAIN) + 0.02


def test_the_web_stays_in_its_place() -> None:
    """A flat tile shows the light alone: a slope without steps, no steeper than it may be."""
    flat = np.full((40, 96, 96), 128, np.uint8)
    for copy in relit(flat, 1).astype(float):
        middle = copy[47:49, 47:49].mean()
        assert np.abs(np.diff(copy, axis=0)).max() <= 1
        assert np.abs(np.diff(copy, axis=1)).max() <= 1
        assert np.abs(copy / middle - 1).max() <= 2 * MOST_SLOPE + 0.02


def test_contrast_changes_within_bounds() -> None:
    good = tiles()
    sharp = [np.diff(t.astype(float), axis=1).std() / t.mean() for t in good]
    seen = [np.diff(t.astype(float), axis=1).std() / t.mean() for t in relit(good, 2)]
    ratios = np.array(seen) / np.array(sharp)
    assert ratios.max() < np.exp(MOST_CONTRAST) + 0.1
    assert ratios.min() < np.exp(-MOST_CONTRAST), "some are blurred besides"


def test_colour_keeps_its_tint() -> None:
    red = np.zeros((4, 64, 64, 3), np.uint8)
    red[..., 0], red[..., 1] = 100, 50
    for copy in relit(red, 5).astype(float):
        assert copy[..., 2].max() <= copy[..., 1].min()
        assert (copy[..., 0] > copy[..., 1]).all()


@pytest.mark.parametrize("shape", [(0, 64, 64), (0, 64, 64, 3)])
def test_no_tiles_give_none(shape: tuple[int, ...]) -> None:
    assert relit(np.zeros(shape, np.uint8), 0).shape == shape


@pytest.mark.parametrize("grey", [40, 160, 200, 220, 240])
def test_few_copies_are_blown_out(grey: int) -> None:
    """A bright web's copies would else be white all over, and students would learn that glare is good."""
    good = np.random.default_rng(0).normal(grey, 4, (64, 96, 96)).clip(0, 255).astype(np.uint8)
    copies = relit(good, 0)
    assert ((copies == 255).mean((1, 2)) > 0.5).mean() < 0.1
    levels = copies.mean((1, 2)) / grey
    assert levels.min() < 0.8
    assert levels.max() > min(1.25, 0.97 * 215 / grey)
