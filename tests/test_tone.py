"""Tone: soft stains and folds that networks forgive; other light that they must go on forgiving."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from inspector.learning.cells import Shape
from inspector.learning.export import tone_of
from inspector.learning.tone import SPOT, STREAKS, YARNS, Lines, Tone, ToneSigma

SHAPE = Shape(tile_px=128, margin_px=32, channels=1)
SIDE = SHAPE.side_px
UNIT = 1.5  # mean excess of the sigma that tone is measured by


def web(tiles: int, seed: int, level: float = 120.0, grain: float = 20.0) -> Tensor:
    """Grainy web without a fault, [N, 1, S, S]."""
    noise = np.random.default_rng(seed).normal(level, grain, (tiles, 1, SIDE, SIDE))
    return torch.from_numpy(noise.clip(0, 255).round().astype(np.float32))


def stained(tiles: Tensor, share: float, radius_px: float = 24.0) -> Tensor:
    """With a soft round spot in the middle, darker by ``share``."""
    at = torch.arange(SIDE) - SIDE / 2
    spot = torch.exp(-((at[:, None] ** 2 + at[None, :] ** 2) / radius_px**2))
    return (tiles * (1 - share * spot)).round()


def folded(tiles: Tensor, share: float, degrees: float) -> Tensor:
    """With a soft line of 80 px through the middle, 8 px wide, darker by ``share``."""
    at = torch.arange(SIDE) - SIDE / 2
    y, x = at[:, None], at[None, :]
    turn = math.radians(degrees)
    along, beside = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    line = torch.exp(-((beside / 5) ** 2)) * (along.abs() < 40)
    return (tiles * (1 - share * line)).round()


@pytest.fixture(scope="module")
def toned() -> ToneSigma:
    good, tone = web(12, 0), Tone(SHAPE)
    sigma = torch.from_numpy(np.random.default_rng(1).exponential(UNIT, (12, SHAPE.cells, SHAPE.cells)))
    return ToneSigma.of(tone, tone(good), torch.zeros(12, 4), sigma.float())


def added(toned: ToneSigma, tiles: Tensor) -> Tensor:
    return toned(tiles, torch.zeros(len(tiles), 4)).amax((1, 2))


def test_a_soft_stain_adds_far_more_than_good_web(toned: ToneSigma) -> None:
    good = added(toned, web(12, 2))
    for share in (0.07, -0.07):  # darker and brighter
        assert added(toned, stained(web(12, 2), share)).min() > 1.5 * good.max()


def test_little_of_good_web_adds_anything_and_that_is_a_tail_like_the_networks(toned: ToneSigma) -> None:
    tiles, sides = web(24, 3), torch.zeros(24, 4)
    deviations = toned.normal(toned.tone(tiles), sides).abs()
    for share in (deviations > toned.threshold).float().mean((0, 2, 3)).tolist():
        assert 0.006 < share < 0.05, "of each of spots, streaks and yarns about a fiftieth"
    more = toned(tiles, sides)
    assert 0.6 * UNIT < float(more[more > 0].mean()) < 1.5 * UNIT


def test_constants_come_from_tiles_that_were_learnt_from_too() -> None:
    even, rough = web(4, 0, grain=5.0).to(torch.uint8)[:, 0].numpy(), web(16, 1).to(torch.uint8)[:, 0].numpy()
    sigma = torch.rand(4, SHAPE.cells, SHAPE.cells)
    few, all_of_them = (tone_of(Tone(SHAPE), good, sigma) for good in ([even], [even, rough]))
    assert (all_of_them.normal.deviation > 1.3 * few.normal.deviation).all()


def test_a_tile_without_margins_has_all_tones() -> None:
    shape = Shape(128, 0, 1)
    tones = Tone(shape)(web(2, 0)[..., 32:160, 32:160])
    assert tones.shape == (2, YARNS.stop, 32, 32)
    assert torch.isfinite(tones).all()
    assert (tones.flatten(2).std(2) > 0).all()


@pytest.mark.parametrize("share", [0.08, -0.08])
def test_a_faint_fold_adds_far_more_than_good_web_at_any_angle(toned: ToneSigma, share: float) -> None:
    good = added(toned, web(12, 2)).max()
    angles = range(0, 180, 15)
    folds = torch.stack([added(toned, folded(web(12, 2), share, degrees)).median() for degrees in angles])
    assert folds.min() > 2 * good
    assert folds.max() < 2.2 * folds.min()  # between two directions a fold fills half of its line


@pytest.mark.parametrize(("degrees", "direction"), [(0, 0), (90, 1), (45, 2), (135, 3)])
def test_a_fold_is_a_streak_in_its_own_direction(toned: ToneSigma, degrees: float, direction: int) -> None:
    streaks = toned.tone(folded(web(12, 2), 0.08, degrees))[:, STREAKS].abs().amax((0, 2, 3))
    others = [float(one) for number, one in enumerate(streaks) if number != direction]
    assert float(streaks[direction]) > 2 * max(others)


def test_a_yarn_that_is_missing_stands_out_though_no_place_of_it_does(toned: ToneSigma) -> None:
    """5 px wide, a tenth darker, where single pixels vary by a sixth: nothing but its length tells it."""
    missing = web(12, 2)
    missing[..., 70:75] *= 0.9
    for tiles, across in ((missing, False), (missing.transpose(2, 3), True)):
        seen = toned.tone(tiles)
        beyond = (toned.normal(seen, torch.zeros(12, 4)).abs() - toned.threshold).clamp(min=0) * toned.rise
        of_yarns = beyond[:, YARNS].amax((0, 2, 3))
        assert float(of_yarns[0 if across else 1]) > 2 * float(of_yarns[1 if across else 0])
        assert float(of_yarns.max()) > 2 * float(beyond[:, SPOT].max())
        middle = seen[:, YARNS][:, 0 if across else 1].mean((0, 1) if not across else (0, 2))
        assert int(middle.argmin()) + 8 in (17, 18), "in the cells that it lies in"


def test_the_weaves_own_period_is_no_yarn(toned: ToneSigma) -> None:
    """Yarns of 4.5 px, of cells of 4: what beats between both must not look like stripes."""
    at = torch.arange(SIDE, dtype=torch.float32)
    weave = 120 + 40 * torch.sin(2 * math.pi * at / 4.5).expand(1, 1, SIDE, SIDE)
    seen = toned.tone(weave)[:, YARNS]
    assert float(seen.abs().max()) < 0.03 * 40 / 120


def test_lines_of_all_directions_average_as_much_web() -> None:
    """Equal sums, and equal variances along their direction, by the diagonals' longer steps too."""
    cells = SHAPE.side_px // 4
    dot = torch.zeros(1, 1, cells, cells)
    dot[..., cells // 2, cells // 2] = 1.0
    lines = Lines(Shape(SIDE, 0, 1))(dot)[0]
    at = torch.arange(cells) - cells // 2
    distance = at[:, None] ** 2 + at[None, :] ** 2
    assert lines.sum((1, 2)).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    variances = (lines * distance).sum((1, 2)) * 16  # px
    assert variances.sqrt().tolist() == pytest.approx([24.2] * 4, abs=0.1)
    assert (lines[0] > 0).any(1).sum() == (lines[1] > 0).any(0).sum() == 1
    assert torch.equal(lines[2], lines[3].flip(1).roll(1, 1))


@pytest.mark.parametrize("margin_px", [0, 32])
def test_a_map_without_lines_stays_as_it_is(margin_px: int) -> None:
    shape = Shape(128, margin_px, 1)
    even = torch.full((1, 1, shape.side_px // 4, shape.side_px // 4), 3.0)
    assert Lines(shape)(even).shape == (1, 4, 32, 32)
    assert torch.allclose(Lines(shape)(even), torch.tensor(3.0))


@pytest.mark.parametrize("gain", [0.7, 1.4])
def test_a_lamp_that_is_brighter_darker_or_nearer_to_one_side_adds_nothing(
    toned: ToneSigma, gain: float
) -> None:
    good = web(12, 4, grain=15.0)
    slope = 1 + 0.15 * torch.linspace(-1, 1, SIDE)[:, None] - 0.1 * torch.linspace(-1, 1, SIDE)[None, :]
    assert (
        added(toned, (good * gain * slope).clamp(0, 255).round()).max() < 2 * added(toned, web(12, 2)).max()
    )


def test_tone_is_a_share_of_the_tiles_own_grey() -> None:
    tone = Tone(SHAPE)
    dark, bright = (tone(stained(torch.full((1, 1, SIDE, SIDE), level), 0.1)) for level in (100.0, 200.0))
    assert float(dark.min()) == pytest.approx(float(bright.min()), rel=0.05)
    assert -0.1 < float(dark.min()) < -0.04


def test_black_tiles_and_blank_ones_are_numbers(toned: ToneSigma) -> None:
    for grey in (0.0, 255.0):
        assert torch.isfinite(toned(torch.full((2, 1, SIDE, SIDE), grey), torch.zeros(2, 4))).all()
    blank = torch.full((4, 1, SIDE, SIDE), 120.0)
    tone = Tone(SHAPE)
    of_blank = ToneSigma.of(tone, tone(blank), torch.zeros(4, 4), torch.rand(4, SHAPE.cells, SHAPE.cells))
    assert added(of_blank, blank).max() < 1e-4  # what rounding leaves
    assert torch.isfinite(added(of_blank, web(2, 5))).all()


@pytest.mark.parametrize(("first", "rows", "grey"), [(100, 4, -12), (100, 1, -40), (101, 1, -40)])
def test_tone_of_halved_pixels_is_nearly_that_of_all(first: int, rows: int, grey: int) -> None:
    """Of spots and streaks it is the same; of yarns nearly so, even on a web whose grain is as fine as a pixel.

    Of a pick of one pixel it tells up to a quarter more or less, by which half of the means that pixel is.
    """
    every, halved = Tone(SHAPE), Tone(SHAPE, 2)
    faulty = web(8, 1)
    faulty[:, :, first : first + rows] += grey  # a pick
    for tiles in (web(8, 1), faulty):
        full, half = every(tiles), halved(tiles)
        torch.testing.assert_close(half[:, : YARNS.start], full[:, : YARNS.start], rtol=1e-3, atol=1e-5)
        assert float((half - full)[:, YARNS].std()) < 0.3 * float(full[:, YARNS].std())
    pick = [float(tone(faulty)[:, YARNS].abs().amax()) for tone in (every, halved)]
    assert pick[1] == pytest.approx(pick[0], rel=0.25)


def test_colour_counts_by_its_mean() -> None:
    grey = stained(web(1, 6), 0.1)
    colour = torch.cat([grey - 10, grey, grey + 10], 1)
    torch.testing.assert_close(
        Tone(Shape(SHAPE.tile_px, SHAPE.margin_px, 3))(colour), Tone(SHAPE)(grey), rtol=1e-4, atol=1e-5
    )
