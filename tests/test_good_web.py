"""All limits from maps of good web whose nature is known: zones, windows, two kinds of web."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.calibrating.blocks import block_peaks, blocks_per_100m
from inspector.calibrating.good_web import GoodMap, find_levels
from inspector.calibrating.populations import two_groups
from inspector.calibrating.wide import WINDOWS, find_wide, fitting, unfitting
from inspector.calibrating.zoning import find_zones
from inspector.judging import levelled, window_means
from inspector.records import Grid, Levels

MM_PER_PX, CELL = 0.2, 4
GRID = Grid(tile_px=256, margin_px=32, overlap_px=32, px_per_cell=CELL)
COLUMNS, ROWS = 256, 128  # 1024 x 512 px: four zones
REGION_MM = (0.0, COLUMNS * CELL * MM_PER_PX)


def good_maps(images: int, seed: int = 0, across: np.ndarray | float = 1.0) -> list[np.ndarray]:
    """Cells that resemble their neighbours, with deviation 1 times ``across`` (a factor for every column)."""
    random = np.random.default_rng(seed)
    maps = []
    for _ in range(images):
        fine = random.normal(0, 1, (ROWS + 2, COLUMNS + 2))
        soft = (fine[:-2, :-2] + fine[1:-1, 1:-1] + fine[2:, 2:] + fine[1:-1, :-2]) / 2
        maps.append((soft * across).astype(np.float32))
    return maps


def zones_of(maps: list[np.ndarray]) -> list[float]:
    return [zone.factor for zone in find_zones(maps, [0] * len(maps), REGION_MM, 256, CELL, MM_PER_PX)]


# -- blocks ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 99))
def test_every_cell_is_in_a_block(rows: int, columns: int, seed: int) -> None:
    cells = np.random.default_rng(seed).normal(0, 1, (rows, columns)).astype(np.float32)
    peaks = block_peaks(cells, CELL)
    assert peaks.max() == cells.max()
    assert peaks.shape == (max(1, (rows + 8) // 16), max(1, (columns + 8) // 16))
    assert (np.sort(peaks.ravel()) >= np.sort(cells.ravel())[: peaks.size]).all()


def test_blocks_of_100_m() -> None:
    assert blocks_per_100m(2048, 0.2) == pytest.approx(32 * 100_000 / 12.8)


# -- zones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [2, 3, 12])
def test_web_that_is_alike_all_across_has_no_zones(images: int) -> None:
    for seed in range(5):
        assert zones_of(good_maps(images, seed)) == []


def test_a_zone_that_scores_twice_as_high_is_found() -> None:
    across = np.where(np.arange(COLUMNS) < 192, 1.0, 2.0)
    factors = zones_of(good_maps(6, 1, across))
    assert len(factors) == 4
    np.testing.assert_allclose(np.array(factors) / factors[0], [1, 1, 1, 2], rtol=0.1)


def test_factors_stay_within_bounds() -> None:
    across = np.where(np.arange(COLUMNS) < 192, 1.0, 50.0)
    factors = zones_of(good_maps(4, 1, across))
    assert (min(factors), max(factors)) == (0.5, 2.0)


def test_what_differs_from_image_to_image_is_no_zone() -> None:
    """Each image is bright somewhere else: that is no matter of the optics."""
    maps = []
    for number in range(8):
        across = np.where(np.arange(COLUMNS) // 64 == number % 4, 2.0, 1.0)
        maps += good_maps(1, number, across)
    assert zones_of(maps) == []


def test_images_narrower_than_the_web_have_one_zone() -> None:
    across = np.where(np.arange(COLUMNS) < 192, 1.0, 3.0)
    maps = [cells[:, :64] for cells in good_maps(6, 1, across)]
    assert zones_of(maps) == []
    assert find_zones(maps, [0] * 6, (0.0, 51.2), 256, CELL, MM_PER_PX) == ()


def test_zones_lower_the_limit_of_the_quiet_web() -> None:
    across = np.where(np.arange(COLUMNS) < 192, 1.0, 2.0)
    maps = [GoodMap(cells, 0) for cells in good_maps(12, 2, across)]
    found = find_levels(maps, REGION_MM, GRID, MM_PER_PX, 1.0)
    quiet = found.cells.limit * found.zones[0].factor
    one_for_all = max(float(one.cells.max()) for one in maps)
    assert quiet < 0.8 * one_for_all
    levels = Levels(found.cells.limit, found.zones)
    for one in maps:
        level = levelled(levels, one.cells, one.cells[:0], CELL, 0, MM_PER_PX)
        assert level.max() <= levels.limit_sigma


# -- windows ---------------------------------------------------------------------------------------


def test_windows_that_fit_into_no_image_are_named_and_why() -> None:
    maps = good_maps(2)
    assert [one.name for one in fitting(maps, CELL)] == ["blot", "across", "along"]
    assert unfitting(maps, CELL) == ()
    low = [one[:40] for one in maps]
    assert [one.name for one in fitting(low, CELL)] == ["blot", "across"]
    assert [(one.window.name, one.limit, one.why) for one in unfitting(low, CELL)] == [
        ("along", None, "no good image holds its 16 x 256 px")
    ]
    assert fitting([maps[0][:16, :16]], CELL) == ()
    found = find_levels([GoodMap(cells, 0) for cells in low * 6], REGION_MM, GRID, MM_PER_PX, 1.0)
    assert [one.window.name for one in found.wide] == ["blot", "across", "along"]
    assert found.wide[-1].limit is None


def test_a_smaller_image_takes_no_window_from_the_others() -> None:
    maps = good_maps(16, 3)
    low = maps[0][:40]
    found = find_levels([GoodMap(cells, 0) for cells in [low, *maps]], REGION_MM, GRID, MM_PER_PX, 1.0)
    (along,) = (one for one in found.wide if one.window.name == "along")
    assert along.limit is not None
    alone = find_levels([GoodMap(cells, 0) for cells in maps], REGION_MM, GRID, MM_PER_PX, 1.0)
    assert along.blocks == next(one.blocks for one in alone.wide if one.window.name == "along")
    faulty = [one.copy() for one in maps]
    faulty[5][:64, 100:104] += 2.0  # too faint for the cells: the sixth image, and the seventh of the list
    found = find_levels([GoodMap(cells, 0) for cells in [low, *faulty]], REGION_MM, GRID, MM_PER_PX, 1.0)
    assert (6, "along") in found.wide_suspects


def test_a_window_that_a_suspect_alone_holds_has_no_limit() -> None:
    maps = [cells[:40] for cells in good_maps(12, 3)]
    (torn,) = good_maps(1, 77)
    torn[5, 5] = 500.0
    found = find_levels([GoodMap(cells, 0) for cells in [*maps, torn]], REGION_MM, GRID, MM_PER_PX, 1.0)
    assert found.cells.suspects == (12,)
    (along,) = (one for one in found.wide if one.window.name == "along")
    assert along.why == "0 blocks of the 0 images that hold it are too few, 40 are wanted"


def test_a_faint_band_exceeds_its_window_and_no_cell() -> None:
    maps = good_maps(12, 3)
    found = find_levels([GoodMap(cells, 0) for cells in maps], REGION_MM, GRID, MM_PER_PX, 1.0)
    assert found.zones == ()
    wide = tuple(one.limit for one in found.wide if one.limit is not None)
    assert {one.name for one in wide} == {one.name for one in WINDOWS}
    levels = Levels(found.cells.limit, (), wide)
    for cells in maps:
        assert levelled(levels, cells, cells[:0], CELL, 0, MM_PER_PX).max() <= levels.limit_sigma
    (faulty,) = good_maps(1, 77)
    faulty[60:64, 40:200] += 2.0
    assert faulty.max() < levels.limit_sigma
    level = levelled(levels, faulty, faulty[:0], CELL, 0, MM_PER_PX)
    assert level.max() > levels.limit_sigma
    rows, columns = np.nonzero(level > levels.limit_sigma)
    assert (
        60 - 32 <= rows.min() <= rows.max() < 64 + 32
    )  # no farther off than the longest window it is found by
    assert 40 - 64 <= columns.min() <= columns.max() < 200 + 64


def test_one_strong_fault_fills_no_window() -> None:
    """Three cells square and as strong as can be stay below 0.7 of every window's limit: the box stays small."""
    maps = good_maps(12, 3)
    found = find_levels([GoodMap(cells, 0) for cells in maps], REGION_MM, GRID, MM_PER_PX, 1.0)
    for one in found.wide:
        assert one.limit is not None
        faulty = np.zeros((ROWS, COLUMNS), np.float32)
        faulty[40:43, 100:103] = 1e6
        mean = window_means(faulty, one.limit, CELL).max()
        assert (mean - one.limit.mean_sigma) / one.limit.deviation_sigma < 0.7 * one.limit.limit_deviations


def test_a_limit_that_no_window_can_reach_is_none() -> None:
    maps = good_maps(12, 3)
    for number, cells in enumerate(maps):  # good web that has large patches itself
        cells[20:60, 10 * number : 10 * number + 40] += 20
    found = find_wide(WINDOWS[0], maps, CELL, 8.0, 1e-6)
    assert found.limit is None
    assert "the highest that a window can have" in found.why
    assert "too few" in find_wide(WINDOWS[0], maps[:1], CELL, 8.0, 1e-6).why


def test_fewer_false_alarms_cost_all_limits() -> None:
    maps = [GoodMap(cells, 0) for cells in good_maps(12, 4)]
    seldom, often = (find_levels(maps, REGION_MM, GRID, MM_PER_PX, rate) for rate in (1.0, 100.0))
    assert often.cells.limit <= seldom.cells.limit
    for low, high in zip(often.wide, seldom.wide, strict=True):
        assert low.limit is not None
        assert high.limit is not None
        assert low.limit.limit_deviations <= high.limit.limit_deviations


# -- two kinds of web ------------------------------------------------------------------------------


def test_web_of_one_kind_is_seldom_parted() -> None:
    random = np.random.default_rng(0)
    parted = 0
    for count in (8, 10, 15, 30, 100):
        for _ in range(100):
            parted += two_groups(list(np.exp(random.normal(1, 0.2, count)))) is not None
    assert parted <= 3


def test_two_fabrics_are_told_apart() -> None:
    random = np.random.default_rng(1)
    typical = [*random.normal(3, 0.1, 12), *random.normal(4.5, 0.1, 8)]
    found = two_groups(typical)
    assert found is not None
    assert (sorted(found.lower), sorted(found.upper)) == (list(range(12)), list(range(12, 20)))
    assert (found.lower_sigma, found.upper_sigma) == pytest.approx((3, 4.5), rel=0.05)
    assert not found.beyond_doubt


def test_two_fabrics_beyond_doubt() -> None:
    random = np.random.default_rng(1)
    found = two_groups([*random.normal(3, 0.05, 12), *random.normal(9, 0.1, 12)])
    assert found is not None
    assert found.beyond_doubt


def test_two_outliers_and_few_images_are_no_kinds() -> None:
    random = np.random.default_rng(1)
    assert two_groups([*random.normal(3, 0.1, 12), 9.0, 9.1]) is None
    assert two_groups([3.0, 3.1, 3.05, 9.0, 9.1, 9.2]) is None
