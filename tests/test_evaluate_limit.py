"""Evaluation at a limit: of a calibrated line, by hand, or none; every figure worked out by hand in flat_tree."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from inspector import config
from inspector.backends.artifact import load_recipe, write_recipe
from inspector.cli import main
from inspector.config import Site
from inspector.errors import ArtefactError, ConfigError, DataError
from inspector.evaluating.escapes import Confusion, KindEscapes
from inspector.evaluating.evaluate import evaluate
from inspector.evaluating.operating import OperatingPoint, line_under_test
from inspector.evaluating.report import Evaluation
from inspector.limits import limits_file, to_toml
from inspector.records import WideLimit, Zone
from tests.flat_tree import BY_HAND, HEIGHT, WIDTH, make_flat_tree, set_limit, write
from tests.small_recipe import PLANT, make_recipe, make_site, weave


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = make_site(tmp_path_factory.mktemp("flat"))
    make_recipe(site, "stripes")
    make_flat_tree(site.root / "tree")
    set_limit(site)
    return site


def look(site: Site, tree: Path | None = None, **options: object) -> Evaluation:
    """At the limit of line 1."""
    return alone(site, tree, **{"line": line_under_test(site, "1", "stripes"), **options})


def alone(site: Site, tree: Path | None = None, **options: object) -> Evaluation:
    """Without a line, unless one is given."""
    given = options if "line" in options else {"backend": "onnxruntime", "overlap_px": 0, **options}
    return evaluate(tree or site.root / "tree", site.engines / "stripes", **given)  # type: ignore[arg-type]


def test_everything_at_the_limit_of_a_line(site: Site) -> None:
    result = look(site)
    at = result.at_limit
    assert at is not None
    assert (result.limit_sigma, result.limit_source) == (10.0, f"line 1, set by hand: {BY_HAND}")
    assert at.tile is not None
    assert replace(at.image, f1_ci95=None) == Confusion(3, 1, 1, 1, 0.75, 0.75, 0.75)
    assert replace(at.tile, f1_ci95=None) == Confusion(2, 2, 4, 40, 0.5, 1 / 3, 0.4)
    assert (at.good_tiles, at.good_tiles_above) == (16, 1)
    assert at.good_web_m == pytest.approx(0.0512)
    assert at.false_alarms_per_100m == at.one_alarm_per_100m == pytest.approx(31250 / 16)
    assert at.escapes.by_kind == {
        "hole": KindEscapes(2, 1, 0, 3, 2, (0.0, 1.0), (0.5, 1.0)),
        "stain": KindEscapes(2, 0, 1, 2, 1, None, (0.0, 1.0)),
    }
    sizes = [(one.from_px, one.faults, one.faults_escaped) for one in at.escapes.by_size]
    assert sizes == [(0, 1, 1), (4, 0, 0), (8, 1, 0), (16, 1, 0), (32, 1, 1), (64, 1, 1)]
    assert [one.to_mm for one in at.escapes.by_size] == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, None])
    assert (result.line, result.mm_per_px, result.tiles_per_100m) == ("1", 0.2, 31250)
    assert (result.faults, at.escapes.faults, at.escapes.faults_escaped, result.tolerance_px) == (5, 5, 3, 4)


def test_faults_one_by_one(site: Site) -> None:
    found = {(one.image, one.extent_px): one for one in look(site).fault_scores}
    square = found["hole/0.png", 8]
    assert (square.kind, square.area_px) == ("hole", 64)
    assert square.peak_sigma == pytest.approx((80 - 64 * 80 / 9216) / 4, rel=1e-5)
    assert found["hole/1.png", 2].peak_sigma == pytest.approx((4 * 80 + 8 * 4 * 80 / 9216) / 16 / 4, rel=1e-4)
    assert found["stain/0.png", 70].peak_sigma < 1
    assert found["stain/1.png", 16].peak_sigma == pytest.approx(square.peak_sigma)


def test_sixteen_good_tiles_show_no_rate_of_false_alarms(site: Site) -> None:
    points = look(site).evaluation_operating_points
    assert points is not None
    assert [one.good_tiles_allowed for one in points] == [0, 0, 0, 0]
    assert {(one.evaluation_threshold_sigma, one.escapes) for one in points} == {(None, None)}


def test_a_rate_that_lets_all_good_tiles_be_above_is_told_apart_from_one_that_wants_more_of_them(
    site: Site,
) -> None:
    of_few = tuple(
        OperatingPoint(rate, None, n, None, None, None, None) for rate, n in ((1000, 16), (10, 0), (1, 0))
    )
    told = replace(look(site), evaluation_operating_points=of_few).summary()
    assert (
        "at 1000 false alarms per 100 m: such a rate lets every good tile be above, which tells nothing"
        in told
    )
    assert "at 10, 1 false alarms per 100 m: the good test tiles are too few to show it" in told


def test_good_tiles_enough_for_a_rate(site: Site, tmp_path: Path) -> None:
    """128 good tiles of one line's 31250: 1000 per 100 m is four of them, and the fifth highest the threshold."""
    tree = make_flat_tree(tmp_path / "tree")
    for number in range(14):
        write(tree / f"test/good/w{number}.png", weave(number, HEIGHT, WIDTH))
    result = look(site, tree)
    assert result.evaluation_operating_points is not None
    point, *others = result.evaluation_operating_points
    assert (point.good_tiles_allowed, point.good_tiles_above) == (4, 4)
    assert point.evaluation_threshold_sigma is not None
    assert 2 < point.evaluation_threshold_sigma < 10  # woven cloth, not dust
    assert point.escapes is not None
    assert point.escapes.by_kind["stain"].faults_escaped == 1
    assert all(one.evaluation_threshold_sigma is None for one in others)
    told = result.summary()
    assert (
        "at 1000 false alarms per 100 m: escaped 0 of 4 faulty images, 1 of 5 faults (95 %: 0.00 to 0.75) (evaluation "
        "operating point above" in told
    )
    assert "at 100, 10, 1 false alarms per 100 m: the good test tiles are too few to show it" in told
    assert result.limit_sigma == 10.0


def test_a_calibrated_limit_is_taken_as_it_is(site: Site, tmp_path: Path) -> None:
    own = make_site(tmp_path)
    make_recipe(own, "stripes")
    limits = set_limit(own, None)
    result = look(own, site.root / "tree")
    assert (result.limit_sigma, result.limit_source) == (limits.limit_sigma, "line 1, calibrated")
    assert result.at_limit is not None
    assert result.at_limit.limit_sigma == limits.limit_sigma


def test_zones_and_windows_of_the_line_judge_and_do_not_rank(site: Site, tmp_path: Path) -> None:
    """The left half's limit is 25, so its squares of 19.9 sigma pass; a bar of 40 x 4 px and 4.9 sigma is found."""
    own = make_site(tmp_path)
    make_recipe(own, "stripes")
    limits = set_limit(own)
    before = look(own, site.root / "tree")
    bar = WideLimit(
        name="bar",
        across_px=40,
        along_px=4,
        clip_sigma=8.0,
        mean_sigma=0.0,
        deviation_sigma=1.0,
        limit_deviations=4.0,
    )
    zones = (
        Zone(from_mm=0.0, to_mm=25.6, factor=2.5),
        Zone(from_mm=25.6, to_mm=51.2, factor=1.0),
    )
    file = limits_file(own, "1", "stripes")
    file.write_text(to_toml(msgspec.structs.replace(limits, zones=zones, wide=(bar,))))
    after = look(own, site.root / "tree", pictures=tmp_path / "out")
    assert before.at_limit is not None
    assert after.at_limit is not None
    assert before.at_limit.escapes.by_kind["hole"].faults_escaped == 2
    found = {(one.image, one.extent_px): one.peak_sigma for one in after.fault_scores}
    assert found["hole/0.png", 8] == pytest.approx((80 - 64 * 80 / 9216) / 4 / 2.5, rel=1e-5)
    assert found["hole/0.png", 40] == pytest.approx((20 - 160 * 20 / 9216) / 4 * 10 / 4, rel=1e-4)
    assert after.at_limit.escapes.by_kind["hole"].faults_escaped == 2  # the bar is found, the square is not
    assert after.at_limit.good_tiles_above == 0  # the dust lies at the left
    assert (after.image_auroc, after.tile_auroc, after.pixel_auroc) == (
        before.image_auroc,
        before.tile_auroc,
        before.pixel_auroc,
    )


def test_a_limit_by_hand_with_and_without_a_line(site: Site) -> None:
    by_hand = look(site, limit_sigma=19.0)
    assert (by_hand.limit_sigma, by_hand.limit_source) == (19.0, "given by hand")
    assert by_hand.at_limit is not None
    assert by_hand.at_limit.false_alarms_per_100m == 0.0
    without = alone(site, limit_sigma=19.0)
    assert without.at_limit is not None
    assert without.at_limit.image == by_hand.at_limit.image
    assert (without.at_limit.false_alarms_per_100m, without.mm_per_px) == (None, None)
    points = without.evaluation_operating_points
    assert [one.share_of_good_tiles for one in points] == [0.1, 0.05, 0.01]
    assert {one.false_alarms_per_100m for one in points} == {None}
    assert [one.good_tiles_allowed for one in points] == [1, 0, 0], "of 16 good tiles"


def test_masks_with_grey_pieces_are_told(site: Site, tmp_path: Path) -> None:
    tree = make_flat_tree(tmp_path / "tree")
    file = tree / "ground_truth/hole/1_mask.png"
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    mask[60:70, 60:70] = 100
    write(file, mask)
    told: list[str] = []
    result = alone(site, tree, warn=told.append)
    assert told == list(result.warnings)
    (sentence,) = told
    assert sentence.startswith("1 masks hold pieces that are grey all over and count as good web (")
    assert f"{file} at column 60, row 60" in sentence


def test_without_line_or_limit_nothing_is_held_against_one(site: Site, tmp_path: Path) -> None:
    """The pictures show the highest good tile of train/good; no figure does."""
    tree = make_flat_tree(tmp_path / "tree")
    write(tree / "train/good/0.png", weave(0, HEIGHT, WIDTH))
    for options in ({}, {"pictures": tmp_path / "out"}):
        result = alone(site, tree, **options)
        assert result.at_limit is None
        assert "at 10% of good tiles: escaped 0 of 4 faulty images" in result.summary()
        assert "at 5%, 1% of good tiles: the good test tiles are too few to show it" in result.summary()
        assert "no limit: no alarms and escapes; name a calibrated line with --line" in result.summary()
    assert result.limit_sigma is not None
    assert result.limit_source.startswith("for the pictures alone: ")


def test_test_images_set_nothing(site: Site, tmp_path: Path) -> None:
    """Whatever the test images score, the limit stays, and so does what the other images come to."""
    tree = make_flat_tree(tmp_path / "tree")
    before = look(site, tree)
    write(tree / "test/good/7.png", np.tile(np.array([0, 255], np.uint8), (HEIGHT, WIDTH // 2)))
    after = look(site, tree)
    assert after.limit_sigma == before.limit_sigma
    assert after.fault_scores == before.fault_scores
    assert [one for one in after.scores if one.image != "good/7.png"] == list(before.scores)


def test_a_line_brings_its_grid_its_region_and_its_backend(tmp_path: Path) -> None:
    own = make_site(tmp_path)
    make_recipe(own, "stripes")
    make_flat_tree(tmp_path / "tree")
    text = PLANT.replace("overlap_mm = 0", "overlap_mm = 3.2").replace(
        "[line.1]", '[line.1]\nregion = { kind = "fixed", left_mm = 12.8, right_mm = 51.2 }'
    )
    (tmp_path / "config.toml").write_text(text)
    own = config.load(tmp_path / "config.toml")
    set_limit(own)
    result = look(own)
    assert (result.backend, result.overlap_px, result.region) == ("onnxruntime", 16, "fixed")
    # 192 px across and 128 px along in steps of 48: 4 times 3 tiles an image.
    assert result.tiles == 6 * 12
    assert result.tiles_per_100m == math.ceil(100 * 12 * 1000 / (128 * 0.2))  # images that join no other
    assert result.at_limit.good_web_m == pytest.approx(2 * 128 * 0.2 / 1000, rel=1e-4)  # those that are good
    assert result.faults_outside_region == 3  # those left of column 64
    whole = look(own, region="whole")
    assert (whole.overlap_px, whole.region) == (16, "whole")
    assert whole.tiles > result.tiles
    # 256 px are 5 times 3 tiles an image, and as much web: the metres are the same, whoever judges how much of it.
    assert whole.tiles_per_100m == math.ceil(100 * 15 * 1000 / (128 * 0.2))
    assert result.at_limit is not None
    assert whole.at_limit is not None
    assert whole.at_limit.good_web_m == pytest.approx(result.at_limit.good_web_m, rel=1e-4)
    assert result.warnings == ()
    (sentence,) = whole.warnings
    assert sentence.startswith(
        "--region whole is not what line 1 does: its region is 'fixed', its limit was "
    )
    with pytest.raises(
        ConfigError, match="--overlap-px 0 with --line 1: rates are those of the line's own tiles"
    ):
        look(own, overlap_px=0)
    write(tmp_path / "tree/test/good/0.png", weave(0, HEIGHT, 128))
    with pytest.raises(DataError, match="128 px wide, but the line's region reaches to column 256"):
        look(own)


def test_limits_of_other_columns_than_the_line_judges_are_refused(tmp_path: Path) -> None:
    """``check`` and ``run`` refuse them, too: the rate and the zones are those of other web."""
    own = make_site(tmp_path)
    make_recipe(own, "stripes")
    make_flat_tree(tmp_path / "tree")
    set_limit(own)
    assert look(own, region="whole").warnings == (), "the line's own region, by name"
    write(tmp_path / "tree/test/hole/2.png", weave(0, HEIGHT, 128))
    with pytest.raises(
        ArtefactError, match=r"hole/2\.png, 128 px wide: limits .* the line judges 0 to 25.6 mm"
    ):
        look(own)
    write(tmp_path / "tree/test/hole/2.png", weave(0, HEIGHT, 244))
    assert look(own).images == 7, "95 % of the width is what a run inspects of an image that joins no other"
    (tmp_path / "config.toml").write_text(PLANT.replace("seamless = false", "seamless = true"))
    with pytest.raises(ArtefactError, match=r"hole/2\.png, 244 px wide: limits "):
        look(config.load(tmp_path / "config.toml"))
    half = '[line.1]\nregion = { kind = "fixed", left_mm = 0, right_mm = 25.6 }'
    (tmp_path / "config.toml").write_text(PLANT.replace("[line.1]", half))
    with pytest.raises(ArtefactError, match=r"columns from 0 to 51.2 mm, but the line judges 0 to 25.6 mm"):
        look(config.load(tmp_path / "config.toml"))


def test_a_line_sees_no_squeezed_images(site: Site) -> None:
    with pytest.raises(ConfigError, match="--resize 64 with --line 1"):
        look(site, resize=64)


@pytest.mark.parametrize(
    ("trained", "asked", "said"),
    [
        (64, None, "squeezed to 64 px square, but these are taken at native resolution: give --resize 64"),
        (64, 128, "squeezed to 64 px square, but these are squeezed to 128 px: give --resize 64"),
        (None, 64, "native resolution as far as its recipe.toml tells, but --resize 64 squeezes these"),
        (64, 64, None),
        (None, None, None),
    ],
)
def test_images_taken_otherwise_than_in_training(
    site: Site, tmp_path: Path, trained: int | None, asked: int | None, said: str | None
) -> None:
    own = make_site(tmp_path)
    folder = make_recipe(own, "stripes")
    recipe = load_recipe(folder)
    training = msgspec.structs.replace(recipe.training, resize=trained)
    write_recipe(folder, msgspec.structs.replace(recipe, training=training))
    heard: list[str] = []
    result = alone(own, site.root / "tree", resize=asked, warn=heard.append)
    assert list(result.warnings) == heard
    assert (result.trained_resize, result.resize) == (trained, asked)
    if said is None:
        assert heard == []
    else:
        (sentence,) = heard
        assert said in sentence
        assert "\n" not in sentence


def test_images_the_students_learnt_from_are_told(tmp_path: Path) -> None:
    own = make_site(tmp_path)
    tree = make_flat_tree(tmp_path / "tree")
    make_recipe(own, "stripes", learnt=[tree / "test/good/0.png"])
    result = alone(own, tree)
    assert result.images_learnt == 1
    assert "1 images are among those the students learnt from: every figure is flattered" in result.summary()


def test_images_that_recipe_and_limit_come_from_are_told(tmp_path: Path) -> None:
    """No calibration image is above the limit that was set on it, so that none of them counts as good web."""
    own = make_site(tmp_path)
    tree = make_flat_tree(tmp_path / "tree")
    make_recipe(own, "stripes")
    set_limit(own)
    for number in (1, 2):
        shutil.copy(own.root / f"more/{number}.png", tree / f"test/good/c{number}.png")
    shutil.copy(own.root / "more/3.png", tree / "test/hole/c3.png")  # whatever that is, it is no good web
    make_recipe(own, "stripes", validation=[tree / "test/good/0.png", tree / "test/hole/1.png"])
    result = look(own, tree)
    assert (result.images_learnt, result.images_held_back, result.good_images_calibrated) == (0, 2, 2)
    told = result.summary()
    assert "2 good images are among those that line 1 was calibrated on: that they pass says nothing" in told
    assert (
        "2 images were held back in training, for the recipe's constants: every figure is flattered" in told
    )
    assert alone(own, tree).good_images_calibrated == 0, "without a line nothing is held against its limit"


def test_copies_among_the_test_images_are_told(site: Site, tmp_path: Path) -> None:
    tree = make_flat_tree(tmp_path / "tree")
    before = look(site, tree)
    assert (before.images_repeated, "copies" in before.summary()) == (0, False)
    pixels = cv2.imread(str(tree / "test/hole/0.png"), cv2.IMREAD_GRAYSCALE)
    write(tree / "test/hole/copy.bmp", pixels)  # another file of the same pixels
    write(tree / "test/stain/copy.png", pixels)
    result = look(site, tree)
    assert result.images_repeated == 2
    told = "2 images are copies of others, pixel by pixel: they make intervals too narrow; take them out"
    assert told in result.summary()


def test_images_of_another_fabric_are_told(tmp_path: Path) -> None:
    """An image with faults over a part of it is none yet; one with faint stripes all over is."""
    own = make_site(tmp_path)
    tree = make_flat_tree(tmp_path / "tree")
    make_recipe(own, "stripes")
    part = np.full((HEIGHT, WIDTH), 120, np.uint8)
    part[::2, :40] = 200
    write(tree / "test/stain/part.png", part)
    assert "unlike" not in alone(own, tree).summary()
    write(tree / "test/stain/all.png", np.tile(np.array([[100], [140]], np.uint8), (HEIGHT // 2, WIDTH)))
    result = alone(own, tree)
    assert "1 images are as a whole unlike what was learnt (a median score of 3 sigma" in result.summary()
    assert [one.image for one in result.scores if one.median > 3] == ["stain/all.png"]


def test_intervals_hold_their_figures_and_come_again(site: Site) -> None:
    result, again = look(site).to_json(), look(site).to_json()
    for name in ("image_auroc", "tile_auroc", "pixel_auroc", "aupro"):
        low, high = result[f"{name}_ci95"]
        assert 0 <= low <= result[name] <= high <= 1
    for changing in ("date_utc", "tiles_per_second"):
        result.pop(changing)
        again.pop(changing)
    assert result == again


def test_from_the_command_line(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(site.root)
    json_file = tmp_path / "figures.json"
    words = ("evaluate", "tree", "--recipe", "stripes", "--line", "1", "--json", str(json_file))
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stderr) == (0, "")
    figures = json.loads(json_file.read_text())
    assert figures["at_limit"]["image"]["f1"] == 0.75
    assert figures["at_limit"]["escapes"]["by_size"][5] == {
        "from_px": 64,
        "to_px": None,
        "from_mm": 12.8,
        "to_mm": None,
        "faults": 1,
        "faults_escaped": 1,
        "faults_escaped_share_ci95": None,
    }
    for said in (
        f"at the limit, 10.00 sigma (line 1, set by hand: {BY_HAND}):",
        "images   F1 0.7500 (95 %: 0.3333 to 1.0000)  precision 0.7500  recall 0.7500  (1 of 4 faulty escaped, 1 of 2 ",
        "false alarms  1 of 16 good tiles (0.05 m): 1.95e+03 per 100 m, one would be 1.95e+03",
        "escaped  all                      1 of 4 images (95 %: 0.00 to 0.75), 3 of 5 faults (95 %: 0.",
        "escaped  hole                     1 of 2 images (95 %: 0.00 to 1.00), 2 of 3 faults (95 %: 0.50 to 1.00)\n",
        "escaped  stain                    0 of 2 images, 1 of 2 faults (95 %: 0.00 to 1.00); 1 above, but off",
        "escaped  below 4 px               1 of 1 faults; below 0.8 mm\n",
        "escaped  from 64 px               1 of 1 faults; from 12.8 mm\n",
        "at 1000, 100, 10, 1 false alarms per 100 m: the good test tiles are too few to show it",
    ):
        assert said in done.stdout
    squeezed = CliRunner().invoke(main, [*words, "--resize", "64"])
    assert squeezed.exit_code == 2
    missing = CliRunner().invoke(main, [*words[:5], "7"])
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)
    assert "there is no line '7'" in missing.stderr
    resized = CliRunner().invoke(main, [*words[:4], "--backend", "onnxruntime", "--resize", "64"])
    assert resized.exit_code == 0
    assert resized.stderr.startswith("inspector: recipe stripes learnt from images at native resolution")
