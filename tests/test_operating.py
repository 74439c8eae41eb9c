"""Alarms and escapes, worked out by hand and by brute force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.backends import open_backend
from inspector.calibrating.calibrate import calibrate
from inspector.errors import ArtefactError, ConfigError
from inspector.evaluating.escapes import Confusion, Escapes, KindEscapes, confusion
from inspector.evaluating.faults import Fault, faults_of
from inspector.evaluating.operating import Web, at_limit, line_under_test, operating_points, web_of
from inspector.evaluating.peaks import Peaks
from inspector.records import F64
from tests.small_recipe import make_recipe, make_site, weave
from tests.test_metrics import regions

WEB = Web(mm_per_px=0.25, tiles_per_100m=2000)


def tiles(*peaks: float) -> F64:
    return np.array(peaks, np.float64)


def fault(extent_px: int, peak: float) -> Fault:
    return Fault(extent_px, extent_px, peak)


def counts(one: Confusion) -> Confusion:
    """Without its interval."""
    return replace(one, f1_ci95=None)


def by_kind(found: Escapes) -> dict[str, KindEscapes]:
    """Without their intervals."""
    return {
        kind: replace(one, images_escaped_share_ci95=None, faults_escaped_share_ci95=None)
        for kind, one in found.by_kind.items()
    }


# Limit 10: good one, good one with two false alarms; a hole found and one escaped; a stain found elsewhere alone;
# a stain without a mask.
IMAGES = (
    Peaks("good/0", "good", tiles(1, 2, 3, 10), np.zeros(4, bool), ()),
    Peaks("good/1", "good", tiles(4, 10.5, 11, 0), np.zeros(4, bool), ()),
    Peaks(
        "hole/0",
        "hole",
        tiles(30, 2, 9, 12),
        np.array([True, False, True, False]),
        (fault(3, 30), fault(7, 9)),
    ),
    Peaks("hole/1", "hole", tiles(1, 2, 3, 10), np.array([True, False, False, False]), (fault(64, 1),)),
    Peaks(
        "stain/0",
        "stain",
        tiles(20, 0, 0, 5),
        np.array([False, False, False, True]),
        (fault(8, 5), fault(31, 4)),
    ),
    Peaks("stain/1", "stain", tiles(11, 0, 0, 0), None, ()),
)


def test_at_the_limit_by_hand() -> None:
    at = at_limit(IMAGES, 10.0, WEB)
    assert counts(at.image) == Confusion(3, 1, 1, 1, precision=3 / 4, recall=3 / 4, f1=3 / 4)
    # Tiles of the five images with a truth: faulty 30 | 9, 1, 5; good above: 10.5, 11, 12, 20.
    assert at.tile is not None
    assert counts(at.tile) == Confusion(1, 4, 3, 12, precision=1 / 5, recall=1 / 4, f1=2 / 9)
    assert (at.good_tiles, at.good_tiles_above) == (8, 2)
    assert (at.good_web_m, at.false_alarms_per_100m, at.one_alarm_per_100m) == (0.4, 500.0, 250.0)
    assert (at.escapes.faults, at.escapes.faults_escaped) == (5, 4)
    assert by_kind(at.escapes) == {"hole": KindEscapes(2, 1, 0, 3, 2), "stain": KindEscapes(2, 0, 1, 2, 2)}
    assert (at.escapes.images, at.escapes.images_escaped) == (4, 1)
    sizes = [
        (one.from_px, one.to_px, one.from_mm, one.to_mm, one.faults, one.faults_escaped)
        for one in at.escapes.by_size
    ]
    assert sizes == [
        (0, 4, 0.0, 1.0, 1, 0),
        (4, 8, 1.0, 2.0, 1, 1),
        (8, 16, 2.0, 4.0, 1, 1),
        (16, 32, 4.0, 8.0, 1, 1),
        (32, 64, 8.0, 16.0, 0, 0),
        (64, None, 16.0, None, 1, 1),
    ]


def test_without_a_line_there_are_no_metres_and_no_millimetres() -> None:
    at = at_limit(IMAGES, 10.0, None)
    assert (at.good_web_m, at.false_alarms_per_100m, at.one_alarm_per_100m) == (None, None, None)
    assert {(one.from_mm, one.to_mm) for one in at.escapes.by_size} == {(None, None)}
    assert at.image == at_limit(IMAGES, 10.0, WEB).image


def test_without_masks_there_are_no_figures_of_tiles() -> None:
    at = at_limit([one for one in IMAGES if one.kind == "good" or one.faulty is None], 10.0, WEB)
    assert at.tile is None
    assert at.escapes.faults == 0
    assert by_kind(at.escapes) == {"stain": KindEscapes(1, 0, 0, 0, 0)}


def test_an_alarm_where_the_mask_lies_outside_the_region_is_off_the_fault() -> None:
    """The mask has faults, none of which anybody looked at: what is above the limit is something else."""
    outside = Peaks("hole/2", "hole", tiles(20, 1), np.zeros(2, bool), ())
    assert by_kind(at_limit([*IMAGES, outside], 10.0, WEB).escapes)["hole"] == KindEscapes(3, 1, 1, 3, 2)


def test_without_good_images_nobody_knows_the_alarms() -> None:
    at = at_limit([one for one in IMAGES if one.kind != "good"], 10.0, WEB)
    assert (at.good_tiles, at.good_web_m, at.false_alarms_per_100m) == (0, 0.0, None)


def test_ratios_that_divide_by_zero_are_none() -> None:
    assert confusion([False, False], [False, False]) == Confusion(0, 0, 0, 2, None, None, None)
    assert confusion([False], [True]) == Confusion(0, 0, 1, 0, None, 0.0, 0.0)
    assert confusion([], []) == Confusion(0, 0, 0, 0, None, None, None)


def test_operating_points_by_hand() -> None:
    """2000 tiles per 100 m, 40 good ones: 1000 alarms allow 20 of them above, 100 allow 2, 10 and 1 none."""
    good = [Peaks("good/0", "good", tiles(*range(40)), np.zeros(40, bool), ())]
    points = operating_points([*good, *IMAGES[2:4]], WEB)
    assert [one.false_alarms_per_100m for one in points] == [1000, 100, 10, 1]
    assert [one.good_tiles_allowed for one in points] == [20, 2, 0, 0]
    assert [one.evaluation_threshold_sigma for one in points] == [19, 37, None, None]
    assert [one.good_tiles_above for one in points] == [20, 2, None, None]
    assert points[0].image is not None
    assert counts(points[0].image) == Confusion(1, 1, 1, 0, 1 / 2, 1 / 2, 1 / 2)
    assert points[0].escapes is not None
    assert by_kind(points[0].escapes) == {"hole": KindEscapes(2, 1, 0, 3, 2)}
    assert points[1].escapes is not None
    assert points[1].escapes.faults_escaped == 3
    assert (points[2].image, points[2].escapes) == (None, None)


def test_equal_scores_never_bring_more_alarms_than_the_rate_allows() -> None:
    same = [Peaks("good/0", "good", tiles(*[5.0] * 30, *range(6, 16)), np.zeros(40, bool), ())]
    points = operating_points(same, Web(0.25, 1600))
    assert (points[0].good_tiles_allowed, points[0].good_tiles_above) == (25, 10)
    assert points[0].evaluation_threshold_sigma == 5.0


def test_a_rate_that_is_more_than_all_tiles_is_none() -> None:
    points = operating_points(IMAGES, Web(0.25, 900))
    assert (points[0].good_tiles_allowed, points[0].evaluation_threshold_sigma) == (8, None)
    assert operating_points([], WEB)[0].evaluation_threshold_sigma is None


@pytest.mark.parametrize("seed", range(6))
def test_faults_are_those_of_a_flood_fill(seed: int) -> None:
    """Each pixel of each fault looks around by the tolerance; its cell is read where it stands."""
    random = np.random.default_rng(seed)
    height, width, cell, tolerance = 27, 38, 4, int(random.integers(0, 6))
    truth = cv2.GaussianBlur(random.random((height, width)).astype(np.float32), (0, 0), 1.5) > 0.52
    truth |= random.random((height, width)) > 0.99
    cells = random.normal(0, 5, (-(-height // cell), -(-width // cell))).astype(np.float32)
    slow = []
    for piece in regions(truth):
        rows, columns = zip(*piece, strict=True)
        extent = max(max(rows) - min(rows), max(columns) - min(columns)) + 1
        near = {
            (row + i, column + j)
            for row, column in piece
            for i in range(-tolerance, tolerance + 1)
            for j in range(-tolerance, tolerance + 1)
            if 0 <= row + i < height and 0 <= column + j < width
        }
        slow.append(
            (extent, len(piece), max(float(cells[row // cell, column // cell]) for row, column in near))
        )
    found = [(one.extent_px, one.area_px, one.peak_sigma) for one in faults_of(truth, cells, cell, tolerance)]
    assert len(found) > 3
    assert sorted(found) == sorted(slow)


def test_the_web_is_measured_as_calibration_measures_it(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    make_recipe(site, "stripes")
    for number in range(8):
        (tmp_path / "good").mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / f"good/{number}.png"), weave(number, 128, 256))
    limits = calibrate(tmp_path / "good", "stripes", "1", site).limits
    engine = open_backend(site.engines / "stripes", "onnxruntime", 1)
    try:
        under_test = line_under_test(site, "1", "stripes")
        web = web_of(under_test, engine.info, [128] * 8)
        # Four tiles of 12.8 mm across, one row of them every 12.8 mm.
        assert web == Web(0.2, limits.provenance.tiles_per_100m) == Web(0.2, 31250)
        with pytest.raises(ConfigError, match="trained on 128 px"):
            web_of(under_test, replace(engine.info, tile_px=128), [128] * 8)
    finally:
        engine.close()
    with pytest.raises(ConfigError, match="no line '7'"):
        line_under_test(site, "7", "stripes")
    with pytest.raises(
        ArtefactError,
        match="no such file; bring it back if it was there before, else run `inspector calibrate",
    ):
        line_under_test(site, "1", "other")
