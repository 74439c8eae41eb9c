"""What the shipped demo recipe does, with its trained weights, on web woven for this test.

test_learning_graph.py holds the mechanics with random teachers; here are the figures a plant would ask for.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import openvino
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inspector import config
from inspector.backends.artifact import load_recipe
from inspector.cameras.loom import Loom
from inspector.judging import levelled_alone, stitch
from inspector.limits import Limits, load_limits
from inspector.records import F32, I32, U8, Grid, Region
from inspector.tiling import cut_region

ROOT = Path(__file__).resolve().parents[1]
RECIPE = load_recipe(ROOT / "engines/demo")
TILE, MARGIN = RECIPE.tile_px, RECIPE.margin_px
SIDE = TILE + 2 * MARGIN
MIDDLE = SIDE // 2
NEAR = MARGIN + 32  # so near to a side that a scratch of 61 px just fits in


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    file = ROOT / "engines/demo/model.onnx"
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def limits() -> Limits:
    return load_limits(config.load(ROOT / "config.toml"), "2", "demo")


@pytest.fixture(scope="module")
def web() -> U8:
    """Good web that neither training nor calibration has seen."""
    return Loom(2048, 0.2, "plain", 900, config.FaultMix(per_m=0.0)).rows(928)


def tile_at(web: U8, top: int, left: int) -> U8:
    return web[top : top + SIDE, left : left + SIDE].copy()


@pytest.fixture(scope="module")
def good(web: U8) -> U8:
    """Twelve tiles with real margins."""
    return np.stack([tile_at(web, top, left) for top in (0, SIDE) for left in range(0, 6 * SIDE, SIDE)])


@pytest.fixture(scope="module")
def within(web: U8) -> tuple[U8, I32]:
    """Tiles as the line cuts them from running web, and their places: margins are mirrored at the web's sides alone."""
    grid = Grid(TILE, MARGIN, 32, RECIPE.px_per_cell)
    tiles, origins = cut_region(grid, web, Region(0, web.shape[1], 0, web.shape[0]))
    rows = origins[:, 0]
    inner = (rows > 0) & (rows < rows.max())
    return tiles[inner], origins[inner] - (rows[inner].min(), 0)


def above(session: onnxruntime.InferenceSession, limits: Limits, tiles: U8, origins: I32) -> float:
    """The highest of these tiles together, cells and windows, in sigma: above ``limit_sigma`` it alarms."""
    cell = RECIPE.px_per_cell
    rows, columns = (origins.max(0) + TILE) // cell
    canvas = stitch(seen(session, tiles)[0], origins, cell, (int(rows), int(columns)))
    return float(levelled_alone(limits.levels, canvas, cell, 0, limits.mm_per_px).max())


def seen(session: onnxruntime.InferenceSession, tiles: U8) -> tuple[F32, F32]:
    maps, scores = session.run(["map", "score"], {"tiles": np.ascontiguousarray(tiles)})
    return maps, scores


def spoiled(tile: U8, pattern: F32, row: int, column: int, depth: float = 70.0) -> U8:
    """A tile that is darker by ``depth`` where ``pattern`` [h, w] of 0 to 1 lies around (row, column)."""
    mask = np.zeros(tile.shape, np.float32)
    top, left = row - pattern.shape[0] // 2, column - pattern.shape[1] // 2
    mask[top : top + pattern.shape[0], left : left + pattern.shape[1]] = pattern
    return np.clip(tile - depth * mask, 0, 255).astype(np.uint8)


def disc(radius: int) -> F32:
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (rows**2 + columns**2 <= radius**2).astype(np.float32)


def scratch() -> F32:
    """Oblique, so that a quarter turn and a mirror image differ from it."""
    drawn = np.zeros((61, 61), np.float32)
    cv2.line(drawn, (4, 18), (56, 42), 1.0, 3)
    return drawn


def test_good_web_scores_the_same_at_a_tiles_border_and_in_its_middle(
    session: onnxruntime.InferenceSession, good: U8
) -> None:
    maps, _ = seen(session, good)
    border = np.ones(maps.shape[1:], np.bool_)
    border[8:-8, 8:-8] = False
    assert abs(maps[:, border].mean() - maps[:, ~border].mean()) < 0.35  # sigma
    # The highest one in a thousand, at any phase of the weave: constants near a side hold mean and deviation, and the
    # tail nearly so. Recipes that had only seen the grid's own phase came to twice the middle.
    high = [float(np.quantile(maps[:, where], 0.999)) for where in (border, ~border)]
    assert high[0] < 1.5 * high[1]


def test_neither_batch_nor_neighbours_change_a_score(
    session: onnxruntime.InferenceSession, good: U8, limits: Limits
) -> None:
    alone = np.concatenate([seen(session, tile[None])[1] for tile in good[:4]])
    black, noise = (
        np.zeros_like(good[:1]),
        np.random.default_rng(0).integers(0, 256, good[:1].shape, np.uint8),
    )
    together = seen(session, np.concatenate([black, good[:2], noise, good[2:4][::-1]]))[1]
    assert np.abs(together[[1, 2, 5, 4]] - alone).max() < 1e-4 * limits.limit_sigma


@pytest.mark.parametrize(
    "place",
    [(MIDDLE, MIDDLE), (NEAR, MIDDLE), (MIDDLE, NEAR), (NEAR, NEAR)],
    ids=["middle", "upper side", "left side", "corner"],
)
def test_a_fault_turned_and_mirrored_scores_alike(
    session: onnxruntime.InferenceSession, good: U8, place: tuple[int, int]
) -> None:
    """On the same cloth; the weave itself is not the same both ways, so no two are equal."""
    drawn = scratch()
    turned = [drawn, np.rot90(drawn), drawn[::-1], np.rot90(drawn[::-1])]
    for tile in good[:6]:
        scores = seen(session, np.stack([spoiled(tile, one, *place) for one in turned]))[1]
        assert scores.max() / scores.min() < 1.25


def test_a_fault_scores_alike_in_the_middle_on_a_side_and_in_a_corner(
    session: onnxruntime.InferenceSession, web: U8
) -> None:
    """The same web, the same fault; only where the tile is cut moves, by up to half a tile."""
    at = np.array([320, 900])
    marked = spoiled(web, disc(5), *at)
    near, far, half = MARGIN + 8, SIDE - MARGIN - 8, MIDDLE
    places = [(half, half), (near, half), (far, half), (half, near), (half, far), (near, near), (far, far)]
    tiles = np.stack([tile_at(marked, *(at - place)) for place in places])
    scores = seen(session, tiles)[1]
    assert scores.max() / scores.min() < 1.6  # stride 32 sees little past a corner whose margins are 32 px


def test_a_line_along_and_across_the_web_are_both_plain(
    session: onnxruntime.InferenceSession, good: U8, limits: Limits
) -> None:
    """Over the whole tile, margins and all: the official code's row-wise norm hid the upright one.

    They are not equal: this web's picks differ among themselves and its ends don't, so what lies like a pick
    surprises less. ``tools/line_faults.py`` asks the same of a web that is alike both ways.
    """
    along, across = (
        seen(session, np.stack([lined(tile, upright=upright) for tile in good[:8]]))[1]
        for upright in (True, False)
    )
    assert min(along.min(), across.min()) > limits.limit_sigma
    assert 1 / 1.3 < np.median(along) / np.median(across) < 1.3


def lined(tile: U8, *, upright: bool) -> U8:
    bar = np.ones((SIDE, 3), np.float32)
    return spoiled(tile, bar if upright else bar.T, MIDDLE, MIDDLE)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.floats(0.85, 1.15), st.floats(0.8, 1.1))
@example(1.0, 1.0)
@example(0.85, 0.8)
@example(0.85, 1.1)
@example(1.15, 0.8)
@example(1.15, 1.1)
@example(0.9, 1.0)
@example(1.1, 1.0)
@example(1.0, 0.9)
@example(1.0, 1.1)
@example(0.92, 1.08)
def test_no_light_within_the_stated_range_alarms(
    session: onnxruntime.InferenceSession,
    within: tuple[U8, I32],
    limits: Limits,
    gain: float,
    contrast: float,
) -> None:
    """Brightness within 15 %, contrast from 20 % less to 10 % more, both at once; docs/method.md states it."""
    tiles, origins = within
    middle = tiles.mean()
    changed = np.clip(((tiles - middle) * contrast + middle) * gain, 0, 255).round().astype(np.uint8)
    assert above(session, limits, changed, origins) < limits.limit_sigma


def test_good_web_is_far_below_the_limit_and_a_plain_fault_far_above(
    session: onnxruntime.InferenceSession, good: U8, limits: Limits
) -> None:
    """Or else the others would say little."""
    assert seen(session, good)[1].max() < limits.limit_sigma
    faulty = np.stack([spoiled(tile, disc(5), MIDDLE, MIDDLE) for tile in good[:4]])
    assert seen(session, faulty)[1].min() > limits.limit_sigma


@pytest.mark.parametrize(("precision", "share"), [("f32", 1e-3), ("bf16", 0.08)])
def test_openvino_agrees_with_onnxruntime(
    session: onnxruntime.InferenceSession, good: U8, precision: str, share: float
) -> None:
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(ROOT / "engines/demo/model.onnx"),
        "CPU",
        {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1},
    )
    tiles = np.concatenate([good[:4], spoiled(good[4], disc(5), MIDDLE, MIDDLE)[None]])
    expected = seen(session, tiles)[1]
    np.testing.assert_allclose(compiled({"tiles": tiles})["score"], expected, rtol=share, atol=share)
