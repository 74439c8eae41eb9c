"""Judging: no PASS for what was not seen, the right place for what was, the same answer however frames fall."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.config import Lanes, Web
from inspector.errors import ArtefactError
from inspector.judging import Judge, lane_edges_mm, stitch
from inspector.records import (
    Frame,
    Grid,
    Levels,
    LostFrame,
    Outcome,
    Reason,
    Region,
    ScoreMap,
    Stamp,
    Strip,
    Verdict,
    WideLimit,
    Zone,
)
from inspector.tiling import Tiler
from inspector.tiling.region import whole_frame

GRID = Grid(tile_px=16, margin_px=4, overlap_px=8, px_per_cell=4)
WEB = Web(width_mm=20.0, mm_per_px=0.5, encoder_counts_per_m=6000, speed_m_min=6)
COUNTS_PER_ROW = 3  # 0.5 mm of 6000 counts a metre
LIMIT = 6.0
WIDTH = 40


def judge_for(lanes: int = 1, min_defect_mm: float = 0.0) -> Judge:
    return Judge(Levels(LIMIT), min_defect_mm, Lanes(count=lanes), WEB, GRID)


def strips_for(
    heights: list[int], *, seamless: bool = True, lost: frozenset[int] = frozenset()
) -> list[Strip]:
    tiler = Tiler(GRID, whole_frame, seamless=seamless)
    strips, row = [], 0
    for i, height in enumerate(heights):
        stamp = Stamp("1", "cam", i, i, row * COUNTS_PER_ROW, (row + height) * COUNTS_PER_ROW, 0, 0)
        lost_one = LostFrame(stamp, Reason.OVERLOAD)
        frame = Frame(stamp, np.zeros((height, WIDTH), np.uint8))
        strips += tiler.push(lost_one if i in lost else frame)
        row += height
    return strips


def scores_of(strip: Strip, web_cells: np.ndarray) -> ScoreMap:
    """What an engine would say of a strip of a web whose true scores are known: [rows, columns] cells of the piece."""
    assert strip.batch is not None
    side, first = GRID.tile_px // 4, strip.first_row // 4
    maps = [
        web_cells[first + r // 4 : first + r // 4 + side, c // 4 : c // 4 + side]
        for r, c in strip.batch.origins_px
    ]
    scores = np.array(maps, np.float32)
    return ScoreMap(strip.stamp, scores, scores.max((1, 2)), 4, strip.batch.origins_px)


def verdicts_of(judge: Judge, strips: list[Strip], web_cells: np.ndarray) -> list[Verdict]:
    verdicts = []
    for strip in strips:
        verdicts += judge.judge(strip, scores_of(strip, web_cells) if strip.batch else None)
    return verdicts


def quiet_web(rows: int = 100) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 4, (rows, WIDTH // 4)).astype(np.float32)


def whole_defects(verdicts: list[Verdict]) -> dict[str, tuple[float, ...]]:
    """The last word on every defect: its box, area, smallest turned rectangle's area (two may tie), peak."""
    last = {d.defect_id: d for v in verdicts for d in v.defects}
    return {
        i: (d.x_mm, d.y_m, d.w_mm, d.h_mm, d.area_mm2, d.length_mm * d.width_mm, d.peak_sigma)
        for i, d in last.items()
    }


def test_good_web_passes():
    verdicts = verdicts_of(judge_for(lanes=2), strips_for([40, 40, 40]), quiet_web())
    assert [v.outcome for v in verdicts] == [Outcome.PASS] * 6
    assert all(v.reason is Reason.NONE and v.n_tiles == v.n_tiles_inspected > 0 for v in verdicts)
    assert [(v.lane, v.x_start_mm, v.x_end_mm) for v in verdicts[:2]] == [(0, 0.0, 10.0), (1, 10.0, 20.0)]
    for before, after in pairwise(v for v in verdicts if v.lane == 0):
        assert before.encoder_end == after.encoder_start


def test_the_median_is_of_the_cells_as_the_engine_sees_them() -> None:
    """Neither a zone's factor nor a window over half of the cells moves it, and it is each lane's own."""
    blot = WideLimit(
        name="blot",
        across_px=16,
        along_px=16,
        clip_sigma=3.0,
        mean_sigma=0.0,
        deviation_sigma=0.1,
        limit_deviations=12.0,
    )
    web = np.full((30, WIDTH // 4), 1.0, np.float32)
    web[:, 5:] = 2.0
    levels = Levels(LIMIT, (Zone(from_mm=0.0, to_mm=20.0, factor=0.5),), (blot,))
    judge = Judge(levels, 0.0, Lanes(count=2), WEB, GRID)
    verdicts = verdicts_of(judge, strips_for([40, 40, 40]), web)
    assert {v.lane: v.median for v in verdicts} == {0: 1.0, 1: 2.0}
    assert verdicts[1].score > 2 * 2.0, "levelled"
    (lost,) = judge_for().not_inspected(strips_for([40])[0], Reason.OVERLOAD, "")
    assert math.isnan(lost.median)


def test_the_limit_of_a_column_is_what_fails_there() -> None:
    zones = (Zone(from_mm=0.0, to_mm=8.0, factor=0.5), Zone(from_mm=8.0, to_mm=20.0, factor=2.0))
    judge = Judge(Levels(LIMIT, zones), 0.0, Lanes(), WEB, GRID)
    (strip,) = strips_for([40])
    limits = judge.column_limits(strip)
    assert limits.tolist() == [3.0] * 4 + [12.0] * 6  # cells of 2 mm
    for column, limit in enumerate(limits):
        for score, outcome in ((limit + 0.1, Outcome.FAIL), (limit - 0.1, Outcome.PASS)):
            web = np.zeros((30, WIDTH // 4), np.float32)
            web[1, column] = score
            (verdict,) = judge.judge(strip, scores_of(strip, web))
            assert verdict.outcome is outcome


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 27),
    st.integers(0, 9),
    st.lists(st.integers(20, 50), min_size=3, max_size=6),
    st.booleans(),
)
def test_a_hot_cell_anywhere_fails_at_its_place(row, column, heights, seamless):
    web = quiet_web()
    strips = strips_for(heights, seamless=seamless)
    if seamless:
        web[row, column] = 9.0
        hot = [s for s in strips if s.first_row <= row * 4 < s.first_row + s.decided_px]
        y_m = row * 4 * 0.0005
    else:
        hot = strips[1:2]
        row %= heights[1] // 4
        web[row, column] = 9.0
        y_m = (heights[0] + row * 4) * 0.0005
        strips = hot
    verdicts = verdicts_of(judge_for(), strips, web)
    failed = [v for v in verdicts if v.outcome is Outcome.FAIL]
    assert [v.stamp for v in failed] == [s.stamp for s in hot]
    for verdict in failed:
        assert verdict.reason is Reason.SCORE
        assert verdict.score == 9.0
        (defect,) = verdict.defects
        assert defect.x_mm == pytest.approx(column * 2.0)
        assert defect.y_m == pytest.approx(y_m, abs=0.002)
        assert (defect.w_mm, defect.h_mm, defect.area_mm2) == pytest.approx((2.0, 2.0, 4.0))
        assert defect.peak_sigma == 9.0


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_a_non_finite_value_anywhere_is_never_pass(tile, row, column, value):
    (strip,) = strips_for([60])
    scores = scores_of(strip, quiet_web())
    tile %= len(scores.scores)
    scores.scores[tile, row, column] = value
    (verdict,) = judge_for().judge(strip, scores)
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_INSPECTED, Reason.NAN)
    assert verdict.n_tiles_inspected == verdict.n_tiles - 1


def test_nan_over_the_limit_trap():
    """``NaN > limit`` is False: a map of nothing but NaN must not read as 'nothing above the limit'."""
    (strip,) = strips_for([60])
    scores = scores_of(strip, np.full((30, 10), np.nan, np.float32))
    (verdict,) = judge_for().judge(strip, scores)
    assert verdict.outcome is Outcome.NOT_INSPECTED
    assert math.isnan(verdict.score)
    assert verdict.n_tiles_inspected == 0


def test_a_non_finite_tile_score_is_enough():
    (strip,) = strips_for([60])
    scores = scores_of(strip, quiet_web())
    scores.tile_scores[3] = math.nan
    (verdict,) = judge_for().judge(strip, scores)
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_INSPECTED, Reason.NAN)


def test_nan_in_rows_that_the_next_strip_decides_taints_both():
    first, second = strips_for([40, 40])
    web = quiet_web()
    judge = judge_for()
    scores = scores_of(first, web)
    scores.scores[-1, -1, -1] = math.nan
    assert judge.judge(first, scores)[0].outcome is Outcome.NOT_INSPECTED
    assert judge.judge(second, scores_of(second, web))[0].outcome is Outcome.NOT_INSPECTED


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(0, 15), min_size=1), st.integers(1, 4))
def test_no_pass_for_a_lane_with_a_missing_tile(missing, lanes):
    (strip,) = strips_for([44])
    scores = scores_of(strip, quiet_web())
    origins = strip.batch.origins_px
    keep = [i for i in range(len(origins)) if i not in {m % len(origins) for m in missing}]
    part = ScoreMap(strip.stamp, scores.scores[keep], scores.tile_scores[keep], 4, origins[keep])
    for verdict in judge_for(lanes).judge(strip, part):
        left, right = verdict.x_start_mm / 0.5, verdict.x_end_mm / 0.5
        gone = [
            i
            for i in range(len(origins))
            if i not in keep and origins[i, 1] < right and origins[i, 1] + 16 > left
        ]
        assert (verdict.outcome is Outcome.PASS) == (not gone)
        assert verdict.n_tiles - verdict.n_tiles_inspected == len(gone)


def test_a_tile_twice_in_place_of_another_does_not_pass():
    (strip,) = strips_for([44])
    scores = scores_of(strip, quiet_web())
    origins = scores.origins_px.copy()
    origins[1] = origins[0]
    (verdict,) = judge_for().judge(strip, dataclasses.replace(scores, origins_px=origins))
    assert verdict.outcome is Outcome.NOT_INSPECTED


def blobs(rows: int, draw_seed: int) -> np.ndarray:
    """A web with large and small defects, some of them tall, forked and joined."""
    rng = np.random.default_rng(draw_seed)
    web = np.where(rng.random((rows, WIDTH // 4)) < 0.25, rng.uniform(7, 20, (rows, WIDTH // 4)), 1.0)
    return web.astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(20, 60), min_size=2, max_size=8))
def test_defects_do_not_depend_on_how_the_web_is_cut_into_frames(seed, heights):
    total = sum(heights)
    web = blobs(total // 4 + 8, seed)
    cut, whole = strips_for(heights), strips_for([total])
    last_row = min(s.first_row + s.decided_px for s in (cut[-1], whole[-1])) // 4
    web[last_row - 1 :] = 1.0  # so that nothing is still open at the end
    many, one = verdicts_of(judge_for(), cut, web), verdicts_of(judge_for(), whole, web)
    # What grew together late had two ids at first; the one absorbed ended where it was.
    found = sorted(whole_defects(one).values())
    grown = sorted(whole_defects(many).values())
    assert len(grown) >= len(found)
    rounded = [tuple(round(x, 4) for x in d) for d in grown]
    for defect in found:
        assert tuple(round(x, 4) for x in defect) in rounded


def test_a_defect_over_three_strips_is_new_then_update_then_end():
    strips = strips_for([40, 40, 40, 40])
    web = quiet_web()
    first = strips[0].decided_px // 4 - 2
    last = (strips[2].first_row + 8) // 4
    web[first : last + 1, 3] = 8.0
    web[last, 3] = 12.0
    verdicts = verdicts_of(judge_for(), strips, web)
    assert [[(d.defect_id, d.phase) for d in v.defects] for v in verdicts] == [
        [("1-0-0", "new")],
        [("1-0-0", "update")],
        [("1-0-0", "end")],
        [],
    ]
    assert [v.outcome for v in verdicts] == [Outcome.FAIL] * 3 + [Outcome.PASS]
    end = verdicts[2].defects[0]
    assert end.y_m == pytest.approx(first * 4 * 0.0005)
    assert end.length_mm == pytest.approx((last - first + 1) * 2.0)
    assert (end.width_mm, end.peak_sigma) == (2.0, 12.0)


def test_a_defect_that_stops_at_the_last_row_ends_with_the_next_strip_which_may_pass():
    strips = strips_for([40, 40])
    web = quiet_web()
    web[strips[0].decided_px // 4 - 1, 5] = 8.0
    new, after = verdicts_of(judge_for(), strips, web)
    assert [d.phase for d in new.defects] == ["new"]
    assert after.outcome is Outcome.PASS
    assert [d.phase for d in after.defects] == ["end"]


def test_two_arms_of_one_defect_stay_one_and_two_defects_that_meet_become_one():
    strips = strips_for([40, 40])
    edge = strips[0].decided_px // 4
    arms = np.ones((40, 10), np.float32)
    arms[edge - 3 : edge + 2, 2] = arms[edge - 3 : edge + 3, 6] = 9.0
    arms[edge - 3, 2:7] = 9.0
    _, below = verdicts_of(judge_for(), strips, arms)
    assert [(d.defect_id, d.phase, d.area_mm2) for d in below.defects] == [
        ("1-0-0", "end", (5 + 6 + 3) * 4.0)
    ]
    legs = np.ones((40, 10), np.float32)
    legs[edge - 3 : edge + 2, 2] = legs[edge - 2 : edge + 2, 6] = 9.0
    legs[edge + 1, 2:7] = 9.0
    above, below = verdicts_of(judge_for(), strips, legs)
    assert {d.phase for d in above.defects} == {"new"}
    joined = {d.defect_id: d.area_mm2 for d in below.defects if d.phase == "end"}
    assert sorted(joined.values()) == [8.0, (5 + 4 + 3) * 4.0]


def test_islands_that_hold_together_just_below_the_limit_are_one_defect():
    (strip,) = strips_for([60])
    web = quiet_web()
    web[2:9, 3] = 5.0  # above GROW x limit, below the limit
    web[3, 3] = web[7, 3] = 9.0
    web[12, 1:4] = 5.0  # nothing of it above the limit
    (verdict,) = judge_for().judge(strip, scores_of(strip, web))
    (defect,) = verdict.defects
    assert (defect.length_mm, defect.width_mm, defect.area_mm2) == pytest.approx((14.0, 2.0, 28.0))
    web[3, 3] = web[7, 3] = 5.0
    (verdict,) = judge_for().judge(strip, scores_of(strip, web))
    assert verdict.outcome is Outcome.PASS
    assert verdict.defects == ()


def test_a_defect_that_fades_goes_on_in_strips_that_pass():
    strips = strips_for([40, 40, 40])
    edge = strips[0].decided_px // 4
    web = quiet_web()
    web[edge - 2 : edge + 3, 5] = 5.0
    web[edge - 2, 5] = 9.0
    verdicts = verdicts_of(judge_for(), strips, web)
    assert [v.outcome for v in verdicts] == [Outcome.FAIL, Outcome.PASS, Outcome.PASS]
    assert [[d.phase for d in v.defects] for v in verdicts] == [["new"], ["end"], []]
    assert verdicts[1].defects[0].length_mm == pytest.approx(10.0)


def test_lost_rows_end_an_open_defect_and_are_not_inspected():
    strips = strips_for([40, 40, 40], lost=frozenset({1}))
    web = quiet_web()
    web[: strips[0].decided_px // 4, 4] = 9.0
    judge = judge_for(lanes=2)
    assert {v.outcome for v in judge.judge(strips[0], scores_of(strips[0], web))} == {
        Outcome.FAIL,
        Outcome.PASS,
    }
    left, right = judge.judge(strips[1], None)
    assert {v.outcome for v in (left, right)} == {Outcome.NOT_INSPECTED}
    assert {v.reason for v in (left, right)} == {Reason.OVERLOAD}
    assert [d.phase for d in left.defects] == ["end"]
    assert right.defects == ()
    assert math.isnan(left.score)
    assert {v.outcome for v in judge.judge(strips[2], scores_of(strips[2], quiet_web()))} == {Outcome.PASS}


def test_late_frames_are_not_inspected_with_their_tiles_counted():
    (strip,) = strips_for([40])
    (verdict,) = judge_for().not_inspected(strip, Reason.LATE, "12 ms after its deadline")
    assert (verdict.outcome, verdict.reason) == (Outcome.NOT_INSPECTED, Reason.LATE)
    assert verdict.detail == "12 ms after its deadline"
    assert (verdict.n_tiles, verdict.n_tiles_inspected) == (len(strip.batch.pixels), 0)


def test_a_defect_on_a_lanes_edge_fails_both_lanes():
    (strip,) = strips_for([40])
    web = quiet_web()
    web[2, 4:6] = 9.0
    left, right = judge_for(lanes=2).judge(strip, scores_of(strip, web))
    assert left.outcome is right.outcome is Outcome.FAIL
    assert left.defects == right.defects
    web = quiet_web()
    web[2, 3] = 9.0  # 6.0 to 8.0 mm; the edge at 6.67 mm runs through the cell
    verdicts = judge_for(lanes=3).judge(strip, scores_of(strip, web))
    assert [v.outcome for v in verdicts] == [Outcome.FAIL, Outcome.FAIL, Outcome.PASS]


def test_small_defects_are_left_out_but_counted():
    (strip,) = strips_for([60])
    web = quiet_web()
    web[2, 1] = 9.0
    web[5, 3:6] = 9.0
    judge = judge_for(min_defect_mm=5.0)
    (verdict,) = judge.judge(strip, scores_of(strip, web))
    assert verdict.outcome is Outcome.FAIL
    assert [d.length_mm for d in verdict.defects] == [6.0]
    web[5, 3:6] = 1.0
    (verdict,) = judge_for(min_defect_mm=5.0).judge(strip, scores_of(strip, web))
    assert verdict.outcome is Outcome.PASS
    assert verdict.detail == "1 above the limit but smaller than 5 mm"
    assert verdict.score == 9.0


def test_a_small_defect_on_the_last_row_counts_since_it_may_grow():
    strips = strips_for([40, 40])
    web = quiet_web()
    web[strips[0].decided_px // 4 - 1 :, 3] = 9.0
    verdicts = verdicts_of(judge_for(min_defect_mm=5.0), strips, web)
    assert [v.outcome for v in verdicts] == [Outcome.FAIL, Outcome.FAIL]


def test_a_small_defect_at_the_border_of_an_image_of_its_own_counts_since_the_next_may_show_the_rest():
    first, second = strips_for([40, 40], seamless=False)
    above, below = (np.ones((10, WIDTH // 4), np.float32) for _ in range(2))
    above[8:, 3], below[:2, 3] = 9.0, 9.0  # 8 mm, 4 of them in each
    judge = judge_for(min_defect_mm=6.0)
    verdicts = [*judge.judge(first, scores_of(first, above)), *judge.judge(second, scores_of(second, below))]
    assert [v.outcome for v in verdicts] == [Outcome.FAIL, Outcome.FAIL]
    inside = np.ones((10, WIDTH // 4), np.float32)
    inside[4:6, 3] = 9.0
    (verdict,) = judge_for(min_defect_mm=6.0).judge(first, scores_of(first, inside))
    assert verdict.outcome is Outcome.PASS


@pytest.mark.parametrize(("warm_rows", "outcome"), [(5, Outcome.FAIL), (0, Outcome.PASS)])
@pytest.mark.parametrize("column", [2, 3, 4])
def test_a_defect_whose_warm_part_lies_in_the_strip_before_is_not_small(warm_rows, outcome, column):
    """14 mm of defect, of which the strip that is above the limit shows 4 mm."""
    strips = strips_for([40, 40])
    edge = strips[0].decided_px // 4
    web = np.ones((40, WIDTH // 4), np.float32)
    web[edge - warm_rows : edge, 3] = 5.0  # above GROW x limit, below the limit
    web[edge : edge + 2, column] = 9.0
    above, below = verdicts_of(judge_for(min_defect_mm=9.0), strips, web)
    assert above.outcome is Outcome.PASS
    assert below.outcome is outcome
    assert len(below.defects) == (outcome is Outcome.FAIL)


@pytest.mark.parametrize(
    ("rows", "outcome"), [([0], Outcome.FAIL), ([0, 1], Outcome.FAIL), ([1], Outcome.PASS)]
)
@pytest.mark.parametrize("lost", [frozenset[int](), frozenset({0}), frozenset({1})])
def test_a_small_defect_on_the_first_row_of_a_piece_counts_since_nobody_saw_what_lies_above(
    lost, rows, outcome
):
    """Before the line's first frame, or in a frame that was lost."""
    strips = strips_for([40, 40, 40], lost=lost)
    judge, verdicts = judge_for(min_defect_mm=9.0), []
    after = max(lost, default=-1) + 1  # a lost frame
    for number, strip in enumerate(strips):
        web = np.ones((40, WIDTH // 4), np.float32)
        if number == after:
            web[rows, 3] = 9.0
        verdicts += judge.judge(strip, scores_of(strip, web) if strip.batch else None)
    verdict = verdicts[after]
    assert verdict.outcome is outcome
    assert verdict.detail == ("" if outcome is Outcome.FAIL else "1 above the limit but smaller than 9 mm")


def test_a_web_in_shreds_fails_with_a_list_of_bounded_length():
    (strip,) = strips_for([1000])
    web = np.zeros((260, 10), np.float32)
    web[::2, ::2] = 9.0
    (verdict,) = judge_for().judge(strip, scores_of(strip, web))
    assert verdict.outcome is Outcome.FAIL
    assert len(verdict.defects) == 64
    assert "more defects" in verdict.detail


def test_lanes_follow_the_region_and_claim_nothing_outside_it():
    tiler = Tiler(GRID, lambda p: Region(12, 38, 0, p.shape[0]), seamless=True)
    (strip,) = tiler.push(Frame(Stamp("1", "cam", 0, 0, 0, 120, 0, 0), np.zeros((40, 40), np.uint8)))
    side = GRID.tile_px // 4
    n = len(strip.batch.pixels)
    scores = ScoreMap(
        strip.stamp, np.zeros((n, side, side), np.float32), np.zeros(n, np.float32), 4, strip.batch.origins_px
    )
    two = judge_for(lanes=2).judge(strip, scores)
    assert [(v.x_start_mm, v.x_end_mm) for v in two] == [(6.0, 12.5), (12.5, 19.0)]
    judge = Judge(Levels(LIMIT), 0.0, Lanes(edges_mm=(0.0, 5.0, 10.0, 20.0)), WEB, GRID)
    outside, left, right = judge.judge(strip, scores)
    assert (outside.outcome, outside.reason) == (Outcome.NOT_INSPECTED, Reason.STATE)
    assert [(v.outcome, v.x_start_mm, v.x_end_mm) for v in (left, right)] == [
        (Outcome.PASS, 6.0, 10.0),
        (Outcome.PASS, 10.0, 19.0),
    ]
    scores.scores[-1, 0, -1] = 9.0
    defect = judge_for().judge(strip, scores)[0].defects[0]
    assert defect.x_mm + defect.w_mm == 19.0  # cells reach 1 px beyond the region, defects don't


def test_web_beside_the_lanes_leaves_no_lane_a_verdict_on_it():
    """Of images of their own nobody knows before where the web lies; a fault beside the lanes is in no verdict."""
    left_px = 12

    def judged(first_mm: float, last_mm: float) -> list[Verdict]:
        tiler = Tiler(GRID, lambda p: Region(left_px, 38, 0, p.shape[0]), seamless=False)
        (strip,) = tiler.push(Frame(Stamp("1", "cam", 0, 0, 0, 120, 0, 0), np.zeros((40, 40), np.uint8)))
        side, n = GRID.tile_px // 4, len(strip.batch.pixels)
        scores = np.zeros((n, side, side), np.float32)
        found = ScoreMap(strip.stamp, scores, np.zeros(n, np.float32), 4, strip.batch.origins_px)
        return Judge(Levels(LIMIT), 0.0, Lanes(edges_mm=(first_mm, 10.0, last_mm)), WEB, GRID).judge(
            strip, found
        )

    assert [v.outcome for v in judged(6.0, 19.0)] == [Outcome.PASS, Outcome.PASS]
    for first_mm, last_mm in ((7.0, 19.0), (6.0, 18.0)):
        verdicts = judged(first_mm, last_mm)
        assert [(v.outcome, v.reason) for v in verdicts] == [(Outcome.NOT_INSPECTED, Reason.STATE)] * 2
        assert all("the web judged is 6.0 to 19.0 mm" in v.detail for v in verdicts)
    left_px = 8  # the next image shows more of it
    assert {v.outcome for v in judged(6.0, 19.0)} == {Outcome.NOT_INSPECTED}


def test_lane_edges():
    assert lane_edges_mm(Lanes(count=2), 10.0, 30.0) == (10.0, 20.0, 30.0)
    assert lane_edges_mm(Lanes(edges_mm=(1.0, 5.0)), 10.0, 30.0) == (1.0, 5.0)


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf, 0.0, -3.0])
def test_a_limit_that_is_no_number_is_refused(limit):
    with pytest.raises(ArtefactError, match="calibrate"):
        Judge(Levels(limit), 0.0, Lanes(), WEB, GRID)


def test_scores_of_another_trigger_are_refused():
    first, second = strips_for([40, 40])
    with pytest.raises(ValueError, match="trigger 0 for trigger 1"):
        judge_for().judge(second, scores_of(first, quiet_web()))
    scores = scores_of(first, quiet_web())
    with pytest.raises(ValueError, match="cells a tile"):
        judge_for().judge(first, dataclasses.replace(scores, scores=scores.scores[:, :2]))


def test_stitch_takes_the_maximum_and_leaves_minus_infinity_where_no_tile_lies():
    scores = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 3.0)]).astype(np.float32)
    canvas = stitch(scores, np.array([[0, 0], [4, 4]], np.int32), 4, (3, 3))
    assert canvas.tolist() == [[1, 1, -math.inf], [1, 3, 3], [-math.inf, 3, 3]]
