"""Calibration through a real engine: what counts, what is refused, and what the file then says."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from inspector import config
from inspector.backends import open_backend
from inspector.backends.artifact import load_recipe, sha256_of, write_recipe
from inspector.calibrating.calibrate import calibrate, draw_pictures, summary
from inspector.calibrating.calibrated import digest_of
from inspector.config import Site
from inspector.errors import ArtefactError, ConfigError, DataError
from inspector.images.reading import ImageFile, read_image
from inspector.limits import Limits, has_measured_shape, limits_file, load_limits, sealed, to_toml
from tests.small_recipe import PLANT, engine_that_fails, make_recipe, make_site, weave
from tests.test_limits import LOWERED

IMAGES = 14


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Good web: 14 frames of 128 x 256 px, eight tiles of 64 px each."""
    folder = tmp_path / "good"
    folder.mkdir()
    for number in range(IMAGES):
        cv2.imwrite(str(folder / f"{number:03}.png"), weave(number, 128, 256))
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path)
    make_recipe(site, "stripes")
    return site


def refusal(error: type[Exception], *args: object, **options: float) -> str:
    with pytest.raises(error) as caught:
        calibrate(*args, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_limit_from_good_web(good: Path, site: Site) -> None:
    told: list[tuple[int, int]] = []
    limits = calibrate(
        good, "stripes", "1", site, progress=lambda done, total: told.append((done, total))
    ).limits
    assert load_limits(site, "1", "stripes") == limits
    highest = max(limits.provenance.highest_sigma, limits.provenance.bound_sigma)
    assert limits.limit_sigma == pytest.approx(highest, abs=2e-4)
    assert limits.region_mm == (0.0, 51.2)
    found = limits.provenance
    assert (found.images, found.images_left_out, found.tiles, found.suspects) == (IMAGES, 0, 8 * IMAGES, ())
    # Four tiles across 51.2 mm, one row of them every 64 px * 0.2 mm.
    assert found.tiles_per_100m == 4 * 7812.5 == round(found.false_alarms_per_100m / found.tile_rate)
    assert (found.data, found.engine.split()[0]) == ("good", "onnxruntime")
    assert told[0] == (0, IMAGES)
    assert told[-1] == (IMAGES, IMAGES)
    assert f"{limits.limit_sigma:.2f} sigma" in summary(limits)


@pytest.mark.parametrize(
    ("camera", "rows"),
    [('{ kind = "folder", path = "frames" }', 3 / 128), ('{ kind = "loom", height_px = 80 }', 2 / 80)],
    ids=["images tell", "the config tells"],
)
def test_tiles_of_frames_that_join_no_other(good: Path, site: Site, camera: str, rows: float) -> None:
    """Rows of tiles 48 px apart, the last one shifted inwards: as high as the line's frames are."""
    text = PLANT.replace("overlap_mm = 0", "overlap_mm = 3.2").replace(
        '{ kind = "folder", path = "frames" }', camera
    )
    site.file.write_text(text)
    found = calibrate(good, "stripes", "1", config.load(site.file)).limits.provenance
    assert found.tiles_per_100m == math.ceil(5 * rows * 100_000 / 0.2)


def test_the_same_web_gives_the_same_limit(good: Path, site: Site) -> None:
    first, second = (calibrate(good, "stripes", "1", site).limits for _ in range(2))
    assert first.limit_sigma == second.limit_sigma
    assert first.provenance.images_sha256 == second.provenance.images_sha256


def test_fewer_false_alarms_cost_a_higher_limit(good: Path, site: Site) -> None:
    often = calibrate(good, "stripes", "1", site, false_alarms_per_100m=100.0).limits
    seldom = calibrate(good, "stripes", "1", site, false_alarms_per_100m=1.0).limits
    assert often.provenance.quantile_sigma < seldom.provenance.quantile_sigma
    assert often.limit_sigma <= seldom.limit_sigma


def test_what_the_students_learnt_from_does_not_count(good: Path, site: Site) -> None:
    learnt = sorted(good.iterdir())[:4]
    validation = sorted(good.iterdir())[4:6]
    make_recipe(site, "stripes", learnt=learnt, validation=validation)
    limits = calibrate(good, "stripes", "1", site).limits
    assert (limits.provenance.images, limits.provenance.images_left_out) == (10, 4)
    assert "left out because the students learnt from them: 4 images" in summary(limits)


def test_only_train_good_of_a_tree_counts(good: Path, site: Site, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "train").mkdir(parents=True)
    good.rename(tree / "train/good")
    (tree / "test/good").mkdir(parents=True)
    cv2.imwrite(
        str(tree / "test/good/900.png"), np.zeros((8, 8), np.uint8)
    )  # would be refused if it were read
    assert calibrate(tree, "stripes", "1", site).limits.provenance.images == IMAGES


def test_a_fault_among_the_good_images_is_pointed_at(good: Path, site: Site) -> None:
    clean = calibrate(good, "stripes", "1", site).limits.limit_sigma
    torn = weave(5, 128, 256)
    torn[40:56, 200:216] = 0
    cv2.imwrite(str(good / "005.png"), torn)
    found = calibrate(good, "stripes", "1", site)
    limits = found.limits
    (apart,) = found.suspects
    assert (apart.file, apart.faint) == (good / "005.png", "")
    assert apart.sigma > limits.limit_sigma
    (suspect,) = limits.provenance.suspects
    assert suspect == apart.text(0.2)
    assert suspect.startswith("005.png: ")
    x_mm, y_mm = (float(word) for word in suspect.replace(" mm", "").split() if word.isdigit())
    assert 200 * 0.2 <= x_mm <= 216 * 0.2
    assert 40 * 0.2 <= y_mm <= 56 * 0.2
    assert suspect in summary(limits)
    assert limits.limit_sigma < 2 * clean


def test_faults_among_the_good_images_do_not_hide_each_other(good: Path, site: Site, tmp_path: Path) -> None:
    clean = calibrate(good, "stripes", "1", site).limits.limit_sigma
    for number in (2, 5, 9):
        torn = weave(number, 128, 256)
        torn[40:56, 200:216] = 0
        cv2.imwrite(str(good / f"{number:03}.png"), torn)
    shown = tmp_path / "shown"
    found = calibrate(good, "stripes", "1", site)
    draw_pictures(found, shown)
    assert {suspect.file.name for suspect in found.suspects} == {"002.png", "005.png", "009.png"}
    assert len(found.limits.provenance.suspects) == 3
    assert all(suspect in summary(found.limits) for suspect in found.limits.provenance.suspects)
    assert len([*shown.glob("*-suspect-*")]) == 3
    assert found.limits.limit_sigma == pytest.approx(clean, rel=0.15)


def test_an_engine_that_fails_at_its_work_is_one_sentence(
    good: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_that_fails(monkeypatch, "inspector.calibrating.calibrate")
    assert "onnxruntime fails at scoring tiles (out of memory); run `" in refusal(
        ArtefactError, good, "stripes", "1", site
    )
    assert not limits_file(site, "1", "stripes").exists()


def test_too_few_tiles_says_how_many_more(good: Path, site: Site) -> None:
    for file in sorted(good.iterdir())[3:]:
        file.unlink()
    said = refusal(DataError, good, "stripes", "1", site)
    assert "24 tiles of good web" in said
    assert "wants at least 50" in said
    assert "4 images like these or 0.08 m of good web more" in said
    assert not limits_file(site, "1", "stripes").exists()


def test_one_image_says_nothing_of_how_images_differ(good: Path, site: Site) -> None:
    """One long image has tiles enough; of two, of which one bears a fault, one remains."""
    for file in good.iterdir():
        file.unlink()
    cv2.imwrite(str(good / "long.png"), weave(1, 1024, 256))
    said = refusal(DataError, good, "stripes", "1", site)
    assert "good: one image counts for the limit of line 1; how good images differ" in said
    assert "give 2 at least, better 10 or more" in said
    torn = weave(2, 1024, 256)
    torn[40:56, 200:216] = 0
    cv2.imwrite(str(good / "torn.png"), torn)
    assert "line 1, 1 more stand out from it; how" in refusal(DataError, good, "stripes", "1", site)
    assert not limits_file(site, "1", "stripes").exists()
    cv2.imwrite(str(good / "torn.png"), weave(2, 1024, 256))
    assert calibrate(good, "stripes", "1", site).limits.provenance.images == 2


def test_few_images_are_told(good: Path, site: Site) -> None:
    told = "LOOK: 9 images hardly tell how good web differs"
    assert "LOOK" not in summary(calibrate(good, "stripes", "1", site).limits)
    for file in sorted(good.iterdir())[9:]:
        file.unlink()
    assert told in summary(calibrate(good, "stripes", "1", site).limits)


def test_nothing_left_to_count(good: Path, site: Site) -> None:
    make_recipe(site, "stripes", learnt=sorted(good.iterdir()))
    said = refusal(DataError, good, "stripes", "1", site)
    assert "0 tiles" in said
    assert "14 images were left out" in said


def test_a_rate_that_the_tiles_cannot_answer_for(good: Path, site: Site) -> None:
    """One false alarm per 100 km is one in 31 million tiles; 112 of them say nothing about that."""
    assert "wants at least 31250" in refusal(
        DataError, good, "stripes", "1", site, false_alarms_per_100m=0.001
    )


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none(good: Path, site: Site, rate: float) -> None:
    assert "false alarms per 100 m" in refusal(
        ConfigError, good, "stripes", "1", site, false_alarms_per_100m=rate
    )


def test_the_same_image_twice(good: Path, site: Site) -> None:
    (good / "copy.png").write_bytes((good / "003.png").read_bytes())
    said = refusal(DataError, good, "stripes", "1", site)
    assert "copy.png" in said
    assert "003.png" in said


def test_the_same_picture_in_another_format(good: Path, site: Site) -> None:
    cv2.imwrite(str(good / "copy.bmp"), weave(3, 128, 256))
    said = refusal(DataError, good, "stripes", "1", site)
    assert "copy.bmp and" in said
    assert "003.png are the same image" in said


def test_what_was_learnt_counts_in_no_other_format(good: Path, site: Site) -> None:
    """By its pixels, where the recipe tells them; a recipe of before knows its files alone."""
    learnt = sorted(good.iterdir())[:2]
    pixels = {file.name: read_image(ImageFile(file, "good")).pixels_sha256 for file in learnt}
    make_recipe(site, "told", learnt=learnt, pixels_sha256=pixels)
    make_recipe(site, "before", learnt=learnt)
    for number, file in enumerate(learnt):
        cv2.imwrite(str(file.with_suffix(".bmp")), weave(number, 128, 256))
        file.unlink()
    told, before = (calibrate(good, name, "1", site).limits.provenance for name in ("told", "before"))
    assert (told.images, told.images_left_out) == (IMAGES - 2, 2)
    assert (before.images, before.images_left_out) == (IMAGES, 0)


def test_what_training_held_back_counts_only_where_the_rest_is_too_little(good: Path, site: Site) -> None:
    files = sorted(good.iterdir())
    make_recipe(site, "stripes", validation=files[:4])
    limits = calibrate(good, "stripes", "1", site).limits
    found = limits.provenance
    assert (found.images, found.images_validation, found.images_validation_left_out) == (10, 0, 4)
    assert set(limits.images) == {file.name for file in files[4:]}
    assert "left out because training held them back: 4 images" in summary(limits)
    assert "LOOK" not in summary(limits)
    files[-1].unlink()
    limits = calibrate(good, "stripes", "1", site).limits
    found = limits.provenance
    assert (found.images, found.images_validation, found.images_validation_left_out) == (13, 4, 0)
    assert "LOOK: 4 of the images were held back in training, and every constant" in summary(limits)


def test_the_file_tells_every_image_and_the_engine(good: Path, site: Site) -> None:
    torn = weave(5, 128, 256)
    torn[40:56, 200:216] = 0
    cv2.imwrite(str(good / "005.png"), torn)
    limits = calibrate(good, "stripes", "1", site).limits
    found = limits.provenance
    assert (found.images, found.tiles) == (IMAGES - 1, 8 * (IMAGES - 1)), "without the suspect, both"
    assert limits.images == {file.name: sha256_of(file.read_bytes()) for file in sorted(good.iterdir())}
    assert found.images_sha256 == digest_of(limits.images.values())
    backend = open_backend(site.engines / "stripes", "onnxruntime")
    assert found.engine_sha256 == backend.info.engine_sha256
    backend.close()
    assert has_measured_shape(limits)
    assert limits == sealed(limits) == load_limits(site, "1", "stripes")
    text = limits_file(site, "1", "stripes").read_text()
    assert text.split("\n[")[-1].startswith("images]"), "the long list is at the end"


def test_a_window_that_no_image_holds_is_told(good: Path, site: Site) -> None:
    """Frames of 128 x 256 px hold no band of 512 px across, nor one of 256 px along."""
    told = summary(calibrate(good, "stripes", "1", site).limits)
    assert "large and faint, no limit: across: no good image holds its 512 x 16 px" in told
    assert "large and faint, no limit: along: no good image holds its 16 x 256 px" in told


def test_images_that_show_nothing(good: Path, site: Site) -> None:
    for number, file in enumerate(sorted(good.iterdir())):
        cv2.imwrite(str(file), np.full((128, 256), 100 + number, np.uint8))
    assert "scores 0 sigma at most" in refusal(DataError, good, "stripes", "1", site)


def test_tiles_that_are_all_alike(good: Path, site: Site) -> None:
    """Different files, but the same stripes at another brightness, without noise."""
    stripes = np.tile(np.where(np.arange(8) < 4, 100, 140).astype(np.uint8), (128, 32))
    for number, file in enumerate(sorted(good.iterdir())):
        cv2.imwrite(str(file), stripes + np.uint8(number))
    assert "scores the same 5 sigma" in refusal(DataError, good, "stripes", "1", site)


def test_scores_that_are_no_numbers(good: Path, site: Site) -> None:
    cv2.imwrite(str(good / "009.png"), weave(9, 128, 256) + np.uint8(80))
    said = refusal(ArtefactError, good, "stripes", "1", site)
    assert "009.png" in said
    assert "NaN or infinity" in said
    assert not limits_file(site, "1", "stripes").exists()


def test_an_image_smaller_than_a_tile(good: Path, site: Site) -> None:
    cv2.imwrite(str(good / "004.png"), weave(4, 60, 256))
    assert "004.png: 256x60 px of web, less than a tile of 64 px" in refusal(
        DataError, good, "stripes", "1", site
    )


def test_a_broken_image(good: Path, site: Site) -> None:
    (good / "004.png").write_bytes((good / "004.png").read_bytes()[:100])
    assert "004.png" in refusal(DataError, good, "stripes", "1", site)


def test_unknown_line_recipe_and_folder(good: Path, site: Site) -> None:
    assert "there is no line '9'" in refusal(ConfigError, good, "stripes", "9", site)
    assert "denim" in refusal(ArtefactError, good, "denim", "1", site)
    assert "nowhere" in refusal(DataError, good / "nowhere", "stripes", "1", site)


def test_old_limits_outlive_a_refused_calibration(good: Path, site: Site) -> None:
    calibrate(good, "stripes", "1", site)
    before = limits_file(site, "1", "stripes").read_bytes()
    for file in sorted(good.iterdir())[3:]:
        file.unlink()
    refusal(DataError, good, "stripes", "1", site)
    assert limits_file(site, "1", "stripes").read_bytes() == before
    assert [file.name for file in site.calibration.iterdir()] == ["line-1.stripes.toml"]


WORD = "A. Person, 3 May:\ntwo escapes on roll 7"


def set_by_hand(site: Site, limits: Limits) -> Limits:
    moved = msgspec.structs.replace(limits, limit_sigma=11.0, set_by_hand=WORD)
    limits_file(site, "1", "stripes").write_text(to_toml(moved))
    return moved


def test_what_a_person_set_is_replaced_only_when_asked_for(good: Path, site: Site) -> None:
    measured = calibrate(good, "stripes", "1", site).limits
    by_hand = set_by_hand(site, measured)
    scored: list[int] = []
    with pytest.raises(ArtefactError) as caught:
        calibrate(good, "stripes", "1", site, progress=lambda done, total: scored.append(done))
    assert str(caught.value) == (
        f"{limits_file(site, '1', 'stripes')}: 11.00 sigma, set by hand (A. Person, 3 May: two escapes on roll 7); "
        "what is measured would take its place: keep it, or replace it by --overwrite"
    )
    assert not scored, "refused before the work"
    assert load_limits(site, "1", "stripes") == by_hand
    found = calibrate(good, "stripes", "1", site, overwrite=True)
    assert found.before == by_hand
    assert found.limits == load_limits(site, "1", "stripes")
    assert (found.limits.limit_sigma, found.limits.set_by_hand) == (measured.limit_sigma, "")
    told = summary(found.limits, found.before)
    assert f"\nbefore: 11.00 sigma, set by hand: {WORD}\n" in told


def test_the_limit_of_before_is_told(good: Path, site: Site) -> None:
    first = calibrate(good, "stripes", "1", site, false_alarms_per_100m=100.0)
    assert first.before is None
    assert "before:" not in summary(first.limits, first.before)
    again = calibrate(good, "stripes", "1", site)
    assert again.before == first.limits
    line = f"\nbefore: {first.limits.limit_sigma:.2f} sigma\n"
    assert line in summary(again.limits, again.before)
    run = msgspec.structs.replace(LOWERED, limit_sigma=1.5)
    provenance = msgspec.structs.replace(again.limits.provenance, runs=(run,))
    lowered = msgspec.structs.replace(again.limits, limit_sigma=1.5, provenance=provenance)
    limits_file(site, "1", "stripes").write_text(to_toml(sealed(lowered)))
    third = calibrate(good, "stripes", "1", site)
    assert "\nbefore: 1.50 sigma, runs that had lowered it: 1\n" in summary(third.limits, third.before)


@pytest.mark.parametrize(
    "spoilt", [("onnx_sha256 = ", 'onnx_sha256 = "{sha}" # '), ("\nlimit_sigma", "\nlimt")]
)
def test_limits_that_no_line_could_run_with_stand_in_nobodys_way(
    good: Path, site: Site, spoilt: tuple[str, str]
) -> None:
    """Of another training, or damaged: `run` sends whoever reads that to calibrate."""
    set_by_hand(site, calibrate(good, "stripes", "1", site).limits)
    file = limits_file(site, "1", "stripes")
    file.write_text(file.read_text().replace(spoilt[0], spoilt[1].format(sha="ab" * 32), 1))
    found = calibrate(good, "stripes", "1", site)
    assert found.before is None
    assert load_limits(site, "1", "stripes") == found.limits


def test_a_rate_per_hour_is_one_per_100_m_at_the_lines_speed(good: Path, site: Site) -> None:
    """6 m/min: 360 m in an hour."""
    by_hour = calibrate(good, "stripes", "1", site, false_alarms_per_hour=36.0).limits
    by_metre = calibrate(good, "stripes", "1", site, false_alarms_per_100m=10.0).limits
    assert by_hour.limit_sigma == by_metre.limit_sigma
    for found in (by_hour.provenance, by_metre.provenance):
        assert (found.false_alarms_per_100m, found.false_alarms_per_hour) == pytest.approx((10, 36))
    assert "false alarms per 100 m: 10, that is one tile in 3125, or 36 per hour at 6 m/min" in summary(
        by_hour
    )


def test_a_rate_that_is_given_twice_or_not_at_all_one(good: Path, site: Site) -> None:
    said = refusal(ConfigError, good, "stripes", "1", site, false_alarms_per_100m=1, false_alarms_per_hour=1)
    assert "at once; give one of the two" in said
    said = refusal(ConfigError, good, "stripes", "1", site, false_alarms_per_hour=float("nan"))
    assert "nan false alarms per hour can't be had" in said


def test_suspects_and_the_highest_are_shown(good: Path, site: Site, tmp_path: Path) -> None:
    torn = weave(5, 128, 256)
    torn[40:56, 200:216] = 0
    cv2.imwrite(str(good / "005.png"), torn)
    folder = tmp_path / "shown"
    folder.mkdir()
    (folder / "99-suspect-of-before.png").write_bytes(b"old")
    found = calibrate(good, "stripes", "1", site)
    limits = found.limits
    written = draw_pictures(found, folder)
    assert len(limits.provenance.suspects) == 1
    names = sorted(file.name for file in folder.iterdir())
    assert names[0] == "01-suspect-005.png"
    assert [file.name for file in written] == names
    assert [name.split("-")[1] for name in names] == ["suspect", "highest", "highest", "highest"]
    picture = cv2.imread(str(folder / names[0]))
    assert picture is not None
    outlined = np.nonzero((picture[:, :256] == (40, 40, 255)).all(axis=2))
    assert 200 - 24 <= outlined[1].min() <= outlined[1].max() <= 216 + 24


def test_what_stands_out_is_not_counted_where_tiles_are_few(good: Path, site: Site) -> None:
    """Sixteen images are 64 tiles, of which such a rate wants 63; one that stands out leaves 60."""
    for number in range(16):
        cv2.imwrite(str(good / f"{number:03}.png"), weave(number, 64, 256))
    calibrate(good, "stripes", "1", site, false_alarms_per_100m=0.5)
    torn = weave(5, 64, 256)
    torn[30:46, 200:216] = 0
    cv2.imwrite(str(good / "005.png"), torn)
    said = refusal(DataError, good, "stripes", "1", site, false_alarms_per_100m=0.5)
    assert (
        "60 tiles of good web that the students never learnt from, 1 images that stand out not counted"
        in said
    )
    assert "wants at least 63; give 1 images like these" in said


def test_two_fabrics_in_one_folder(good: Path, site: Site) -> None:
    """A second cloth of five times the contrast: told where it is plain, and refused where it is beyond doubt."""
    for number in range(10):
        grey = weave(100 + number, 128, 256).astype(np.float64)
        cv2.imwrite(
            str(good / f"1{number:02}.png"), np.clip((grey - 120) * 1.6 + 120, 0, 255).astype(np.uint8)
        )
    told = summary(calibrate(good, "stripes", "1", site).limits)
    assert "LOOK: the good images are of two kinds: 14 typically score" in told
    assert "make two recipes" in told
    for number in range(10):
        grey = weave(100 + number, 128, 256).astype(np.float64)
        cv2.imwrite(str(good / f"1{number:02}.png"), np.clip((grey - 120) * 4 + 120, 0, 255).astype(np.uint8))
    limits_file(site, "1", "stripes").unlink()
    said = refusal(DataError, good, "stripes", "1", site)
    assert "of two kinds" in said
    assert "14 typically score" in said
    assert not limits_file(site, "1", "stripes").exists()


def test_images_of_part_of_the_web_are_no_web_of_a_line_that_judges_all_of_it(good: Path, site: Site) -> None:
    for file in good.iterdir():
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)[:, :128])
    assert "the images show 25.6 mm of web at 0.2 mm/px, but line 1 judges all of its 51.2 mm" in refusal(
        DataError, good, "stripes", "1", site
    )
    assert not limits_file(site, "1", "stripes").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resize": 256}, "recipe stripes learnt from images squeezed to 256 px, which line 1 never shows"),
        ({"mm_per_px": 0.05}, "recipe stripes learnt at 0.05 mm/px, line 1 has 0.2; train one at the line's"),
    ],
)
def test_a_recipe_of_another_scale(good: Path, site: Site, changes: dict[str, float], sentence: str) -> None:
    recipe = load_recipe(site.engines / "stripes")
    write_recipe(
        site.engines / "stripes",
        msgspec.structs.replace(recipe, training=msgspec.structs.replace(recipe.training, **changes)),
    )
    assert sentence in refusal(ConfigError, good, "stripes", "1", site)


def test_web_that_the_recipe_does_not_know_is_told(good: Path, site: Site) -> None:
    """The graph scores contrast: cloth of twice as much scores high all over."""
    limits = calibrate(good, "stripes", "1", site).limits
    assert limits.provenance.unlike == ""
    assert "unlike" not in summary(limits)
    for number, file in enumerate(sorted(good.iterdir())):
        pixels = 120 + 2.5 * (weave(number, 128, 256).astype(np.float64) - 120)
        cv2.imwrite(str(file), pixels.clip(0, 255).round().astype(np.uint8))
    limits = calibrate(good, "stripes", "1", site).limits
    assert limits.provenance.unlike.startswith(
        f"{IMAGES} of {IMAGES} images are as a whole unlike what recipe stripes"
    )
    assert f"LOOK: {limits.provenance.unlike}" in summary(limits)


def test_images_that_differ_from_each_other_raise_the_limit_and_are_told(good: Path, site: Site) -> None:
    alike = calibrate(good, "stripes", "1", site).limits
    assert alike.provenance.images_spread < 0.05
    for number, file in enumerate(sorted(good.iterdir())):
        contrast = 0.6 + 0.7 * number / IMAGES
        pixels = 120 + contrast * (weave(number, 128, 256).astype(np.float64) - 120)
        cv2.imwrite(str(file), pixels.round().astype(np.uint8))
    differing = calibrate(good, "stripes", "1", site).limits
    spread = differing.provenance.images_spread
    assert 0.15 < spread < 0.4
    assert f"LOOK: the good images differ by {spread:.0%} from each other (light, focus, cloth?)" in summary(
        differing
    )
    assert differing.provenance.bound_sigma > differing.provenance.quantile_sigma
    assert load_limits(site, "1", "stripes") == differing
