"""One scale for every limit: the identity without zones and windows, the same for strips of any height."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.config import Lanes, Web
from inspector.errors import ArtefactError
from inspector.judging import Judge, levelled, rows_kept, window_means, zone_factors
from inspector.records import (
    Grid,
    Levels,
    Outcome,
    Region,
    ScoreMap,
    Stamp,
    Strip,
    TileBatch,
    Verdict,
    WideLimit,
    Zone,
)

CELL = 4
LIMIT = 8.0
COLUMNS = 24
MM_PER_PX = 0.5
GRID = Grid(tile_px=16, margin_px=4, overlap_px=0, px_per_cell=CELL)
WEB = Web(width_mm=COLUMNS * 2.0, mm_per_px=MM_PER_PX, encoder_counts_per_m=2000, speed_m_min=6)
ZONES = (
    Zone(from_mm=0.0, to_mm=12.0, factor=0.5),
    Zone(from_mm=12.0, to_mm=30.0, factor=1.0),
    Zone(from_mm=30.0, to_mm=48.0, factor=2.0),
)


def window(name: str, across: int, along: int, limit: float = 6.0) -> WideLimit:
    """A window of so many cells, of good web with mean 0.5 and deviation 0.25 sigma."""
    return WideLimit(
        name=name,
        across_px=across * CELL,
        along_px=along * CELL,
        clip_sigma=4.0,
        mean_sigma=0.5,
        deviation_sigma=0.25,
        limit_deviations=limit,
    )


WIDE = (window("blot", 4, 4), window("across", 11, 2), window("along", 3, 13))


def web_of(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (rows, COLUMNS)).astype(np.float32)


def level(levels: Levels, cells: np.ndarray, above: np.ndarray | None = None) -> np.ndarray:
    return levelled(levels, cells, cells[:0] if above is None else above, CELL, 0, MM_PER_PX)


def by_hand(cells: np.ndarray, wide: WideLimit) -> np.ndarray:
    """Every window one by one, painted over its cells."""
    height, width = wide.along_px // CELL, wide.across_px // CELL
    painted = np.full(cells.shape, -np.inf)
    for top in range(cells.shape[0] - height + 1):
        for left in range(cells.shape[1] - width + 1):
            part = np.s_[top : top + height, left : left + width]
            mean = np.clip(cells[part], -wide.clip_sigma, wide.clip_sigma).mean(dtype=np.float64)
            value = (mean - wide.mean_sigma) / wide.deviation_sigma * LIMIT / wide.limit_deviations
            if value >= LIMIT / 2:
                painted[part] = np.maximum(painted[part], value)
    return painted


def test_without_zones_and_windows_it_is_the_identity() -> None:
    cells = web_of(30)
    cells[3, 4], cells[5, 6], cells[7, 8] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(level(Levels(LIMIT), cells), cells)


@pytest.mark.parametrize("wide", WIDE, ids=lambda one: one.name)
def test_a_windows_value_lies_over_its_cells(wide: WideLimit) -> None:
    cells = web_of(20, seed=3) + np.float32(1)
    assert (by_hand(cells, wide) > cells).any()
    expected = np.maximum(cells, by_hand(cells, wide))
    np.testing.assert_allclose(level(Levels(LIMIT, (), (wide,)), cells), expected, rtol=1e-4, atol=1e-4)


def test_zones_divide_by_their_factor() -> None:
    cells = np.full((3, COLUMNS), 6.0, np.float32)
    found = level(Levels(LIMIT, ZONES), cells)
    np.testing.assert_allclose(found[0], [12.0] * 6 + [6.0] * 9 + [3.0] * 9)
    # A region that begins at column 20 of the camera, 10 mm in; beyond the zones the outermost holds.
    factors = zone_factors(ZONES, COLUMNS, CELL, 20, MM_PER_PX)
    assert factors.tolist() == [0.5] + [1.0] * 9 + [2.0] * 14
    assert (zone_factors((), COLUMNS, CELL, 20, MM_PER_PX) == 1).all()


def test_a_windows_cells_are_those_of_its_zone() -> None:
    """What is 4 sigma where good web scores twice as high is 2."""
    cells = np.full((8, COLUMNS), 4.0, np.float32)
    blot = window("blot", 4, 4)
    apart = level(Levels(1000.0, ZONES, (blot,)), cells)
    assert apart[0, -1] == pytest.approx((2.0 - 0.5) / 0.25 * 1000 / 6)
    assert apart[0, 0] == pytest.approx((4.0 - 0.5) / 0.25 * 1000 / 6)  # 8 is clipped to 4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(0, 10**6), st.booleans())
def test_strips_of_any_height_judge_every_window_once(heights: list[int], seed: int, zoned: bool) -> None:
    """One tall strip and many low ones: the same cells, and in each strip the highest of the windows that end there."""
    cells = web_of(sum(heights), seed)
    cells[:: max(1, seed % 7), :9] += 3
    cells = np.minimum(cells, np.float32(3.9))  # none is above its own limit, 4 at the least
    levels = Levels(LIMIT, ZONES if zoned else (), WIDE)
    tall = level(Levels(LIMIT, levels.zones), cells)
    ends = {
        one.name: _ends(cells / zone_factors(levels.zones, COLUMNS, CELL, 0, MM_PER_PX), one) for one in WIDE
    }
    top = 0
    for height in heights:
        rows = slice(top, top + height)
        low = level(levels, cells[rows], cells[max(0, top - rows_kept(levels, CELL)) : top])
        expected = tall[rows].max()
        for name, values in ends.items():
            last = next(one for one in WIDE if one.name == name).along_px // CELL - 1
            mine = values[max(0, top - last) : max(0, top + height - last)]
            mine = mine[mine >= LIMIT / 2]
            if mine.size:
                expected = max(expected, mine.max())
        assert low.max() == expected  # bit by bit
        assert (low >= tall[rows]).all()
        top += height


def _ends(sigma: np.ndarray, wide: WideLimit) -> np.ndarray:
    means = window_means(sigma.astype(np.float32), wide, CELL)
    deviations = (means - np.float32(wide.mean_sigma)) / np.float32(wide.deviation_sigma)
    return np.asarray(deviations * np.float32(LIMIT / wide.limit_deviations), np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 39),
    st.integers(0, COLUMNS - 1),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.booleans(),
)
def test_what_is_not_finite_stays_so_and_says_nothing_of_others(
    row: int, column: int, value: float, loud: bool
) -> None:
    cells = web_of(40) + np.float32(2.5 if loud else 0)
    cells[row, column] = value
    levels = Levels(LIMIT, ZONES, WIDE)
    found = level(levels, cells[20:], cells[:20])
    expected = np.isfinite(cells[20:])
    np.testing.assert_array_equal(np.isfinite(found), expected)
    if row >= 20:
        np.testing.assert_equal(found[row - 20, column], value)


def test_a_web_smaller_than_a_window_has_its_cells_alone() -> None:
    cells = web_of(1)[:, :2]
    np.testing.assert_array_equal(level(Levels(LIMIT, (), WIDE), cells), cells)
    assert level(Levels(LIMIT, (), WIDE), web_of(0)).shape == (0, COLUMNS)


# -- through the judge -----------------------------------------------------------------------------


def strip(number: int, first: int, rows: int) -> Strip:
    """A strip of ``rows`` cells, decided whole, of a web without margins; its one "tile" is the strip itself."""
    stamp = Stamp("1", "cam", number, number, first * CELL, (first + rows) * CELL, 0, 0)
    origins = np.array(
        [[r, c] for r in range(0, rows * CELL, 16) for c in range(0, COLUMNS * CELL, 16)], np.int32
    )
    return Strip(
        stamp,
        first * CELL,
        (first + rows) * CELL,
        TileBatch(stamp, np.zeros((len(origins), 24, 24), np.uint8), origins, 4),
        Region(0, COLUMNS * CELL, 0, rows * CELL),
        piece=0,
        first_row=first * CELL,
        decided_px=rows * CELL,
        joins_next=True,
        canvas_cells=(rows, COLUMNS),
        row_marks=((0, first * CELL), (rows * CELL, (first + rows) * CELL)),
    )


def verdicts_of(levels: Levels, cells: np.ndarray, rows: int = 8) -> list[Verdict]:
    judge = Judge(levels, 0.0, Lanes(), WEB, GRID)
    found = []
    for number, first in enumerate(range(0, len(cells), rows)):
        one = strip(number, first, rows)
        assert one.batch is not None
        origins = one.batch.origins_px
        part = cells[first : first + rows]
        maps = np.array([part[r // 4 : r // 4 + 4, c // 4 : c // 4 + 4] for r, c in origins], np.float32)
        found += judge.judge(one, ScoreMap(one.stamp, maps, maps.max((1, 2)), CELL, origins))
    return found


def test_a_faint_large_fault_fails_where_it_is() -> None:
    """Two sigma all along a band: no cell comes near the limit of 8."""
    cells = web_of(32) * np.float32(0.2) + np.float32(0.5)
    cells[9:30, 12:15] += 2
    levels = Levels(LIMIT, (), (window("along", 3, 13),))
    assert {v.outcome for v in verdicts_of(Levels(LIMIT), cells)} == {Outcome.PASS}
    found = verdicts_of(levels, cells)
    # The first window that is full of it ends in the third strip; the strips before can't know.
    assert [v.outcome for v in found] == [Outcome.PASS, Outcome.PASS, Outcome.FAIL, Outcome.FAIL]
    defect = next(d for v in found for d in v.defects)
    assert 20 <= defect.x_mm <= 24
    assert defect.x_mm + defect.w_mm <= 34
    assert all(v.limit == LIMIT for v in found)
    assert found[2].score == pytest.approx((2.5 - 0.5) / 0.25 * LIMIT / 6, rel=0.1)


def test_a_tiny_strong_fault_keeps_its_small_box() -> None:
    cells = web_of(32) * np.float32(0.2) + np.float32(0.5)
    cells[20:22, 10:12] = 500.0
    plain, wide = (verdicts_of(Levels(LIMIT, (), windows), cells) for windows in ((), WIDE))
    assert [v.defects for v in wide] == [v.defects for v in plain]
    (defect,) = (d for v in wide for d in v.defects)
    assert (defect.x_mm, defect.w_mm, defect.h_mm, defect.peak_sigma) == (20.0, 4.0, 4.0, 500.0)


def test_a_strong_fault_with_heat_around_it_keeps_its_box() -> None:
    """As a network sees a hole: hundreds of sigma, and a halo that would fill a window by itself."""
    rows, columns = np.mgrid[:32, :COLUMNS]
    far = np.hypot(rows - 14, columns - 12)
    cells = (web_of(32) * 0.2 + 0.5 + 300 * np.exp(-((far / 2.5) ** 2))).astype(np.float32)
    levels = Levels(LIMIT, (), WIDE)
    plain, wide = (verdicts_of(one, cells, rows=32) for one in (Levels(LIMIT), levels))
    assert [v.defects for v in wide] == [v.defects for v in plain]
    assert len(wide[0].defects) == 1
    clipped = by_hand(np.minimum(cells, 7.9), WIDE[0])  # the same heat without a strong cell in it
    assert clipped.max() > LIMIT


def test_a_lost_strip_breaks_every_window() -> None:
    cells = web_of(32) * np.float32(0.2) + np.float32(0.5)
    cells[4:20, :] += 2.5
    levels = Levels(LIMIT, (), (window("along", 3, 13),))
    judge = Judge(levels, 0.0, Lanes(), WEB, GRID)
    first, second = strip(0, 0, 8), strip(2, 16, 8)
    assert first.batch is not None
    assert second.batch is not None
    for one in (first, second):
        part = cells[one.first_row // 4 : one.first_row // 4 + 8]
        origins = one.batch.origins_px  # type: ignore[union-attr]
        maps = np.array([part[r // 4 : r // 4 + 4, c // 4 : c // 4 + 4] for r, c in origins], np.float32)
        (verdict,) = judge.judge(one, ScoreMap(one.stamp, maps, maps.max((1, 2)), CELL, origins))
        assert verdict.outcome is Outcome.PASS  # 8 rows hold no window of 13


def test_a_window_that_cells_do_not_fill_is_refused() -> None:
    odd = WideLimit(
        name="odd",
        across_px=18,
        along_px=16,
        clip_sigma=4.0,
        mean_sigma=0.0,
        deviation_sigma=1.0,
        limit_deviations=3.0,
    )
    with pytest.raises(ArtefactError, match=r"'odd'.* 18x16 px .* cells of 4 px"):
        Judge(Levels(LIMIT, (), (odd,)), 0.0, Lanes(), WEB, GRID)
