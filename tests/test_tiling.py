"""Tiling: every row decided once, every tile the web's own pixels, the web found where it is."""

from __future__ import annotations

import dataclasses
import weakref
from itertools import pairwise
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector import config
from inspector.check.plan import _columns
from inspector.errors import ArtefactError, CameraError, ConfigError
from inspector.interfaces import CameraInfo, EngineInfo
from inspector.records import Frame, Grid, LostFrame, Reason, Region, Stamp, Strip
from inspector.tiling import (
    Tiler,
    check_frame_size,
    cut_region,
    draw_grid,
    find_region,
    grid_for,
    plan_for,
    region_finder,
    tile_rows,
    tiles_per_s,
)
from inspector.tiling.region import fixed_columns, whole_frame

DATA = Path(__file__).parents[1].parent / "shared" / "data"
GRID = Grid(tile_px=16, margin_px=4, overlap_px=8, px_per_cell=4)
COUNTS_PER_ROW = 3


def line_config(**changes: object) -> config.Line:
    raw = {
        "recipe": "demo",
        "camera": {"kind": "folder", "path": "frames"},
        "web": {"width_mm": 409.6, "mm_per_px": 0.2, "encoder_counts_per_m": 10000, "speed_m_min": 6},
        "tiles": {"size_mm": 51.2, "overlap_mm": 6.4},
        "bus": {"verdicts": "tcp://a:1", "maps": "tcp://a:2", "replay": "tcp://a:3"},
    }
    return msgspec.convert({**raw, **changes}, config.Line)


ENGINE = EngineInfo("demo", "openvino", "1", "CPU", "fp32", 256, 32, 4, 1, "0" * 64)


def stamp(sequence: int, start: int, end: int) -> Stamp:
    return Stamp("1", "cam", sequence, sequence, start, end, 0, 10**9)


def web_of(rows: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, width), dtype=np.uint8)


def items_of(web: np.ndarray, heights: list[int], lost: set[int]) -> list[Frame | LostFrame]:
    items: list[Frame | LostFrame] = []
    row = 0
    for i, height in enumerate(heights):
        s = stamp(i, row * COUNTS_PER_ROW, (row + height) * COUNTS_PER_ROW)
        if i in lost:
            items.append(LostFrame(s, Reason.FRAME_LOST, "gone"))
        else:
            items.append(Frame(s, web[row : row + height]))
        row += height
    return items


def strips_of(tiler: Tiler, items: list[Frame | LostFrame]) -> list[Strip]:
    return [strip for item in items for strip in tiler.push(item)] + tiler.finish()


frame_heights = st.lists(st.integers(20, 70), min_size=1, max_size=7)


@settings(max_examples=150, deadline=None)
@given(frame_heights, st.sets(st.integers(0, 6)), st.integers(16, 50), st.booleans())
def test_every_count_is_decided_exactly_once(heights, lost, width, seamless):
    web = web_of(sum(heights), width)
    strips = strips_of(Tiler(GRID, whole_frame, seamless=seamless), items_of(web, heights, lost))
    assert strips[0].encoder_start == 0
    assert strips[-1].encoder_end == sum(heights) * COUNTS_PER_ROW
    for before, after in pairwise(strips):
        assert before.encoder_end == after.encoder_start
    assert [s.stamp.sequence for s in strips][: len(heights)] == list(range(len(heights)))
    for strip in strips:
        assert (strip.batch is None) == (strip.reason is not Reason.NONE)
        if strip.batch is not None:
            assert strip.encoder_end > strip.encoder_start
            assert len(strip.batch.pixels) == len(strip.batch.origins_px) > 0


def test_a_trigger_that_could_not_be_tiled_leaves_no_hole_when_it_is_given_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows without web are decided before its tiles are cut; what was decided of them must be said again."""
    tiler = Tiler(GRID, lambda pixels: Region(0, 32, 8, len(pixels)), seamless=False)
    frame, *_ = items_of(web_of(64, 32), [64], set())
    monkeypatch.setattr("inspector.tiling.strip.cut_region", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tiler.push(frame)
    (strip,) = tiler.push(LostFrame(frame.stamp, Reason.STATE, "the line broke down at this frame"))
    assert (strip.encoder_start, strip.encoder_end) == (frame.stamp.encoder_start, frame.stamp.encoder_end)


@settings(max_examples=100, deadline=None)
@given(frame_heights, st.sets(st.integers(0, 6)), st.integers(16, 50), st.booleans())
def test_tiles_are_the_webs_own_pixels_mirrored_only_at_its_edges(heights, lost, width, seamless):
    """Each piece of web, mirrored by numpy as a whole, must hold every tile of its strips at its place."""
    web = web_of(sum(heights), width)
    items = items_of(web, heights, lost)
    m = GRID.margin_px
    firsts, row, joined = [], 0, False  # first row of every piece
    for item, height in zip(items, heights, strict=True):
        if isinstance(item, LostFrame):
            joined = False
        else:
            if not (joined and seamless):
                firsts.append([row, row + height])
            firsts[-1][1] = row + height
            joined = True
        row += height
    for strip in strips_of(Tiler(GRID, whole_frame, seamless=seamless), items):
        if strip.batch is None:
            continue
        begin, end = firsts[strip.piece]
        right = -width % 4
        bottom = 0 if seamless else -(end - begin) % 4
        mirrored = np.pad(web[begin:end], ((m, m + bottom), (m, m + right)), mode="reflect")
        for tile, (r, c) in zip(strip.batch.pixels, strip.batch.origins_px, strict=True):
            top = strip.first_row + r
            assert (tile == mirrored[top : top + GRID.side_px, c : c + GRID.side_px]).all()
            if seamless:  # real rows below too: nothing is judged before its neighbourhood came
                assert top + GRID.tile_px + m <= end - begin


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(20, 45), min_size=2, max_size=5), st.integers(16, 50), st.data())
def test_a_fault_up_to_the_overlap_lies_whole_in_a_tile(heights, width, data):
    web = web_of(sum(heights), width)
    strips = strips_of(Tiler(GRID, whole_frame, seamless=True), items_of(web, heights, set()))
    tiles = {(s.first_row + int(r), int(c)) for s in strips if s.batch for r, c in s.batch.origins_px}
    last = max(row for row, _ in tiles) + GRID.tile_px
    row = data.draw(st.integers(0, last - GRID.overlap_px))
    column = data.draw(st.integers(0, width - GRID.overlap_px))
    side = GRID.tile_px - GRID.overlap_px
    assert any(r <= row <= r + side and c <= column <= c + side for r, c in tiles), (
        f"nothing holds rows {row}.. and columns {column}.. whole"
    )


def test_the_grid_does_not_depend_on_where_frames_begin():
    web = web_of(160, 40)
    seen = []
    for heights in ([160], [40, 40, 40, 40], [20, 25, 70, 45]):
        strips = strips_of(Tiler(GRID, whole_frame, seamless=True), items_of(web, heights, set()))
        batches = [(s.first_row, s.batch) for s in strips if s.batch]
        seen.append(
            {
                (f + int(r), int(c)): t.tobytes()
                for f, b in batches
                for t, (r, c) in zip(b.pixels, b.origins_px, strict=True)
            }
        )
    assert seen[0] == seen[1] == seen[2]


def test_frames_are_let_go_when_no_tile_row_reaches_into_them_any_more():
    web = web_of(600, 40)
    tiler = Tiler(GRID, whole_frame, seamless=True)
    frames = [Frame(stamp(n, n * 60, (n + 1) * 60), web[n * 20 : (n + 1) * 20].copy()) for n in range(30)]
    alive = [weakref.ref(frame.pixels) for frame in frames]
    while frames:
        tiler.push(frames.pop(0))
        pushed = len(alive) - len(frames)
        assert sum(one() is not None for one in alive[:pushed]) <= 2  # a tile with its margins is 24 rows


def test_colour_tiles():
    web = np.random.default_rng(1).integers(0, 256, (64, 40, 3), dtype=np.uint8)
    (strip,) = Tiler(GRID, whole_frame, seamless=True).push(Frame(stamp(0, 0, 64), web))
    assert strip.batch.pixels.shape[1:] == (24, 24, 3)
    assert strip.batch.pixels.flags.c_contiguous
    assert (strip.batch.pixels[0, 4:, 4:] == web[:20, :20]).all()


def test_a_hole_in_the_encoder_without_a_lost_frame_gets_a_verdict_and_breaks_the_piece():
    web = web_of(120, 32)
    tiler = Tiler(GRID, whole_frame, seamless=True)
    (first,) = tiler.push(Frame(stamp(0, 0, 40), web[:40]))
    hole, second = tiler.push(Frame(stamp(1, 55, 95), web[55:95]))
    assert (hole.encoder_start, hole.encoder_end, hole.reason) == (first.encoder_end, 55, Reason.FRAME_LOST)
    assert hole.batch is None
    assert second.encoder_start == 55
    assert second.piece != first.piece
    assert second.first_row == 0


def test_an_encoder_that_runs_back_is_not_inspected_until_new_web_comes():
    web = web_of(120, 32)
    tiler = Tiler(GRID, whole_frame, seamless=True)
    (first,) = tiler.push(Frame(stamp(0, 100, 140), web[:40]))
    (back,) = tiler.push(Frame(stamp(1, 0, 40), web[:40]))
    assert back.batch is None
    assert back.encoder_start == back.encoder_end == first.encoder_end
    (again,) = tiler.push(Frame(stamp(2, 90, 190), web[:100]))
    assert again.batch is None
    assert (again.encoder_start, again.encoder_end) == (first.encoder_end, 190)


@pytest.mark.parametrize("back", range(1, 41))
def test_a_web_that_ran_back_by_less_than_a_frame_is_never_joined(back):
    """Nothing of the frame after it is taken for the web below the frame before."""
    web = web_of(120, 32)
    tiler = Tiler(GRID, whole_frame, seamless=True)
    (first,) = tiler.push(Frame(stamp(0, 0, 40), web[:40]))
    strips = tiler.push(Frame(stamp(1, 40 - back, 80 - back), web[40 - back : 80 - back]))
    assert strips[0].encoder_start == first.encoder_end
    assert all(before.encoder_end == after.encoder_start for before, after in pairwise(strips))
    for strip in strips:
        if strip.batch is None:
            assert strip.reason is Reason.FRAME_LOST
        else:
            assert (strip.piece, strip.first_row) == (first.piece + 1, 0)
            assert strip.encoder_start == 40 - back >= first.encoder_end
            assert (strip.batch.pixels[0, 4:, 4:] == web[40 - back :][:20, :20]).all()


@pytest.mark.parametrize("heights", [[32, 32, 32], [48, 32, 16, 64]])
def test_a_web_whose_frames_are_whole_tiles_without_margin_or_overlap(heights):
    grid = Grid(tile_px=16, margin_px=0, overlap_px=0, px_per_cell=4)
    web = web_of(sum(heights), 32)
    strips = strips_of(Tiler(grid, whole_frame, seamless=True), items_of(web, heights, set()))
    assert [s.decided_px for s in strips] == heights
    for strip in strips:
        for tile, (row, column) in zip(strip.batch.pixels, strip.batch.origins_px, strict=True):
            top = strip.first_row + row
            assert (tile == web[top : top + 16, column : column + 16]).all()


@pytest.mark.parametrize("shape", [(19, 32), (40, 15), (40, 33), (40, 32, 3)])
def test_a_frame_of_another_size_is_incomplete(shape):
    tiler = Tiler(GRID, whole_frame, seamless=True)
    tiler.push(Frame(stamp(0, 0, 40), web_of(40, 32)))
    (strip,) = tiler.push(Frame(stamp(1, 40, 80), np.zeros(shape, np.uint8)))
    assert strip.batch is None
    assert strip.reason is Reason.FRAME_INCOMPLETE
    assert strip.encoder_end == 80


def test_single_images_may_differ_in_size_and_those_below_a_tile_are_named():
    tiler = Tiler(GRID, whole_frame, seamless=False)
    sizes = [(16, 16), (33, 50), (70, 21)]
    strips = [tiler.push(Frame(stamp(i, i * 10, i * 10 + 10), web_of(*s)))[0] for i, s in enumerate(sizes)]
    assert [s.canvas_cells for s in strips] == [(4, 4), (9, 13), (18, 6)]
    (small,) = tiler.push(Frame(stamp(3, 30, 40), web_of(12, 50)))
    assert small.reason is Reason.FRAME_INCOMPLETE
    assert "50 x 12" in small.detail


def test_web_start_and_end_in_single_images_are_never_claimed():
    tiler = Tiler(GRID, lambda _: Region(8, 40, 20, 60), seamless=False)
    before, web, after = tiler.push(Frame(stamp(0, 0, 100), web_of(100, 50)))
    spans = [(s.encoder_start, s.encoder_end) for s in (before, web, after)]
    assert spans == [(0, 20), (20, 60), (60, 100)]
    assert before.reason is after.reason is Reason.STATE
    assert web.encoder_at(10) == 30


def test_no_web_in_view():
    for seamless in (True, False):
        tiler = Tiler(GRID, find_region, seamless=seamless)
        (strip,) = tiler.push(Frame(stamp(0, 0, 100), np.full((100, 64), 3, np.uint8)))
        assert strip.batch is None
        assert (strip.reason, strip.detail) == (Reason.STATE, "no web in view")


def test_grid_for():
    assert grid_for(line_config(), ENGINE) == Grid(256, 32, 32, 4)
    odd = line_config(tiles={"size_mm": 51.2, "overlap_mm": 6.5})
    assert grid_for(odd, ENGINE).overlap_px == 36
    with pytest.raises(ConfigError, match=r"set size_mm = 51\.2"):
        grid_for(line_config(tiles={"size_mm": 50, "overlap_mm": 6.4}), ENGINE)
    margin = dataclasses.replace(ENGINE, margin_px=256)
    with pytest.raises(
        ArtefactError, match="its margin of 256 px is no narrower than its tile of 256 px, and no line"
    ):
        grid_for(line_config(), margin)


def test_frame_sizes_are_refused_by_name():
    check_frame_size(GRID, 20, 16, seamless=True)
    check_frame_size(GRID, 16, 16, seamless=False)
    with pytest.raises(ConfigError, match="at least 20"):
        check_frame_size(GRID, 19, 16, seamless=True)
    with pytest.raises(ConfigError, match="smaller than a tile"):
        check_frame_size(GRID, 16, 15, seamless=False)


def test_a_lines_tiler_takes_its_region_from_config_or_calibration():
    camera = CameraInfo("loom", "", "", "1", "Mono8", 2048, 1024, True)
    grid = grid_for(line_config(), ENGINE)
    frame = Frame(stamp(0, 0, 1024), web_of(1024, 2048))
    cases = [
        (line_config(), None, (0, 2048)),
        (line_config(region={"kind": "fixed", "left_mm": 20, "right_mm": 200}), None, (100, 1000)),
        (line_config(region={"kind": "auto"}), (10.0, 300.0), (50, 1500)),
    ]
    for line, calibrated, columns in cases:
        (strip,) = Tiler.for_line(grid, line, camera, calibrated).push(frame)
        assert (strip.region.left_px, strip.region.right_px) == columns
    with pytest.raises(ConfigError, match="frames are 2048 px wide"):
        Tiler.for_line(grid, line_config(region={"kind": "fixed", "right_mm": 500}), camera, None)
    with pytest.raises(ConfigError, match="narrower than a tile"):
        Tiler.for_line(grid, line_config(region={"kind": "fixed", "right_mm": 40}), camera, None)


@pytest.mark.parametrize(("dark_px", "reason"), [(64, Reason.NONE), (512, Reason.STATE)])
def test_an_image_of_its_own_that_shows_less_web_across_is_not_inspected(dark_px: int, reason: Reason):
    """Whatever hides a side of the web, what lies there would be in no verdict; up to a twentieth is its edge."""
    camera = CameraInfo("folder", "", "", "1", "Mono8", 2048, 1024, True)
    web = {
        "width_mm": 409.6,
        "mm_per_px": 0.2,
        "encoder_counts_per_m": 10000,
        "speed_m_min": 6,
        "seamless": False,
    }
    line = line_config(region={"kind": "auto"}, web=web)
    pixels = web_of(1024, 2048)
    pixels[:, 2048 - dark_px :] = 0
    strips = Tiler.for_line(grid_for(line, ENGINE), line, camera, (0.0, 409.6)).push(
        Frame(stamp(0, 0, 1024), pixels)
    )
    assert [strip.reason for strip in strips] == [reason]
    if reason is Reason.STATE:
        assert strips[0].detail.endswith("less than the 1945 px that are 95% of what limits were set on")


@pytest.mark.parametrize("dark_px", [64, 512])
def test_check_says_what_a_run_would_not_inspect(dark_px: int):
    """By the same figure as the run."""
    web = {"width_mm": 409.6, "mm_per_px": 0.2, "encoder_counts_per_m": 10000, "speed_m_min": 6}
    line = line_config(region={"kind": "auto"}, web={**web, "seamless": False})
    pixels = web_of(1024, 2048)
    pixels[:, 2048 - dark_px :] = 0
    frame, grid = Frame(stamp(0, 0, 1024), pixels), grid_for(line, ENGINE)
    if dark_px == 64:
        assert 1945 <= _columns(line, frame, grid, (0.0, 409.6)).width_px <= 2048 - 64
    else:
        with pytest.raises(
            CameraError, match=r"less than the 1945 px .*; a run would not inspect such an image"
        ):
            _columns(line, frame, grid, (0.0, 409.6))
    assert _columns(line, frame, grid, None).width_px <= 2048 - dark_px, "nothing is calibrated yet"


def test_tiles_per_s_is_the_known_load_of_a_line():
    """60 m/min, 1.8 m at 0.2 mm/px: 703 tiles/s by area without overlap; whole tiles across make it a little more."""
    demand = tiles_per_s(Grid(256, 32, 0, 4), 9000, 60, 0.2, frame_rows=1024, seamless=True)
    assert demand == pytest.approx(36 * 5000 / 256)
    plan = plan_for(Grid(256, 32, 32, 4), line_config(), 2048, 1024)
    assert (plan.tiles_across, plan.stride_px) == (9, 224)
    assert plan.tiles_per_m == pytest.approx(9 * 5000 / 224)
    assert plan.tiles_per_s == pytest.approx(plan.tiles_per_m * 0.1)


@pytest.mark.parametrize(
    ("frame_rows", "seamless"),
    [(16, False), *((rows, joins) for rows in (20, 21, 24, 25, 33, 40, 64, 65) for joins in (False, True))],
)
def test_a_plan_has_the_tiles_that_the_tiler_cuts(frame_rows: int, seamless: bool):
    """However high frames are and whether or not they join: as many a second, and no more at once."""
    web = {
        "width_mm": 10,
        "mm_per_px": 0.2,
        "encoder_counts_per_m": 15000,
        "speed_m_min": 18,
        "seamless": seamless,
    }
    tiler = Tiler(GRID, whole_frame, seamless=seamless)
    count = 60
    pixels = web_of(frame_rows, 48)
    stamps = [stamp(i, i * frame_rows, (i + 1) * frame_rows) for i in range(count)]
    batches = [strip.batch for one in stamps for strip in tiler.push(Frame(one, pixels))]
    cut = [len(batch.pixels) for batch in batches if batch is not None]
    plan = plan_for(GRID, line_config(web=web), 48, frame_rows)
    seconds = count * frame_rows / 1500
    waiting = 3 * plan.tiles_across if seamless else 0  # rows of tiles that the next frames complete
    assert sum(cut) == pytest.approx(plan.tiles_per_s * seconds, abs=waiting, rel=1e-9)
    assert plan.tiles_per_s == pytest.approx(plan.tiles_per_m * 0.3)
    assert max(cut) == tile_rows(GRID, frame_rows, seamless=seamless) * plan.tiles_across
    assert plan.tile_rows == (None if seamless else max(cut) / plan.tiles_across)


@pytest.mark.parametrize(
    ("frame_rows", "tiles", "per_s"),
    [(256, 9, 52.7), (300, 18, 90.0), (512, 27, 79.1), (600, 27, 67.5), (1024, 45, 65.9)],
)
def test_frames_that_join_no_other_bring_more_tiles_or_fewer(frame_rows: int, tiles: int, per_s: float):
    """As counted by pushing frames through the tiler; where they join, 60.3 a second at any height."""
    web = {"width_mm": 409.6, "mm_per_px": 0.2, "encoder_counts_per_m": 10000, "speed_m_min": 18}
    grid, alone = Grid(256, 32, 32, 4), line_config(web={**web, "seamless": False})
    (strip,) = Tiler(grid, whole_frame, seamless=False).push(
        Frame(stamp(0, 0, frame_rows), web_of(frame_rows, 2048))
    )
    assert strip.batch is not None
    assert len(strip.batch.pixels) == tiles
    assert plan_for(grid, alone, 2048, frame_rows).tiles_per_s == pytest.approx(per_s, abs=0.05)
    for joined in (plan_for(grid, line_config(web=web), 2048, frame_rows), plan_for(grid, alone, 2048, None)):
        assert joined.tiles_per_s == pytest.approx(60.3, abs=0.05)


# -- where the web is ----------------------------------------------------------------------------


def weave(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Threads of 5 px under light that falls off to the sides."""
    rows, columns = np.mgrid[0:height, 0:width]
    threads = 30 * np.sign(np.sin(rows * 1.25) * np.sin(columns * 1.25))
    light = 1 - 0.5 * ((columns - width / 2) / (width / 2)) ** 2
    noise = np.random.default_rng(seed).normal(0, 3, (height, width))
    return np.clip((120 + threads) * light + noise, 0, 255).astype(np.uint8)


def as_box(region: Region | None) -> tuple[int, int, int, int] | None:
    return region and (region.left_px, region.right_px, region.top_px, region.bottom_px)


def test_a_web_that_fills_the_frame_is_the_whole_frame():
    for shape in ((256, 4096), (1024, 2048), (256, 256), (700, 900)):
        assert as_box(find_region(weave(*shape))) == (0, shape[1], 0, shape[0])


@pytest.mark.parametrize("level", [2, 90, 255])
def test_background_is_left_out_and_nearly_all_web_kept(level):
    picture = weave(600, 1000)
    picture[:, :200] = level
    picture[:150] = level
    left, right, top, bottom = as_box(find_region(picture))
    assert (right, bottom) == (1000, 600)
    assert 200 <= left <= 240
    assert 150 <= top <= 190


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 900),
    st.integers(0, 500),
    st.integers(20, 300),
    st.integers(20, 300),
    st.sampled_from([0, 60, 255]),
)
def test_a_hole_or_stain_is_never_cut_out(x, y, wide, high, level):
    picture = weave(600, 1000)
    picture[y : y + high, x : x + wide] = level
    assert as_box(find_region(picture)) == (0, 1000, 0, 600)


def test_a_streak_across_the_whole_web_is_no_edge():
    picture = weave(600, 1000)
    picture[:, 300:340] = 0
    picture[200:230] = 255
    assert as_box(find_region(picture)) == (0, 1000, 0, 600)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_the_web_is_found_on_real_line_scan_frames():
    """Selvedge ends read off the pictures by eye: from 4096 px, the ground weave begins between 210 and 490 px."""
    for picture in sorted((DATA / "aitex_fabric02").glob("t*/*/*.png")):
        left, right, top, bottom = as_box(find_region(cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)))
        assert (right, top, bottom) == (4096, 0, 256), picture
        assert 200 < left < 520, picture


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_web_start_and_end_are_found_on_real_frames():
    frames = DATA / "conveyor_frames_a" / "frames"
    for number, rows in {0: (0, 1080), 1: (528, 1080), 4: (0, 500), 9: (660, 1080), 17: (0, 1080)}.items():
        picture = cv2.imread(str(frames / f"src{number:03d}.jpg"), cv2.IMREAD_GRAYSCALE)
        left, right, top, bottom = as_box(find_region(picture))
        assert (left, right) == (0, 2048)
        assert abs(top - rows[0]) <= 48
        assert abs(bottom - rows[1]) <= 48


def test_region_finder_follows_the_config():
    picture = weave(300, 600)
    assert region_finder(line_config()) is whole_frame
    assert region_finder(line_config(region={"kind": "auto"})) is find_region
    fixed = region_finder(line_config(region={"kind": "fixed", "left_mm": 10, "right_mm": 80}))
    assert as_box(fixed(picture)) == (50, 400, 0, 300)
    assert fixed_columns(1, 2)(picture) == Region(1, 2, 0, 300)


def test_cut_region_refuses_what_is_smaller_than_a_tile():
    with pytest.raises(ValueError, match="less than a tile"):
        cut_region(GRID, web_of(20, 12), Region(0, 12, 0, 20))


@pytest.mark.parametrize("seamless", [True, False])
def test_the_picture_shows_what_is_not_judged(seamless):
    web = {
        "width_mm": 409.6,
        "mm_per_px": 0.2,
        "encoder_counts_per_m": 10000,
        "speed_m_min": 6,
        "seamless": seamless,
    }
    frame = np.full((600, 1000), 150, np.uint8)
    region = Region(200, 1000, 100, 600)
    picture = draw_grid(frame, Grid(256, 32, 32, 4), line_config(web=web), region, (40.0, 120.0, 200.0))
    assert picture.shape[1:] == (1000, 3)
    assert picture.shape[0] > 600
    assert (picture[50, 50] == 50).all()
    assert (picture[200, 250] == 150).all()
