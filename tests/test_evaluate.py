"""Evaluation through a real engine on trees whose faults are known to the pixel."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.config import Site
from inspector.errors import ArtefactError, ConfigError, DataError
from inspector.evaluating.evaluate import Evaluation, evaluate
from tests.small_recipe import engine_that_fails, make_recipe, make_site, weave

HEIGHT, WIDTH = 128, 256


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path)
    make_recipe(site, "stripes")
    return site


@pytest.fixture
def recipe(site: Site) -> Path:
    return site.engines / "stripes"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three good images; three holes, three faint stains; masks of exactly what was drawn."""
    root = tmp_path / "cloth"
    for number in range(4):
        save(root / f"train/good/{number:03}.png", weave(100 + number, HEIGHT, WIDTH))
    for number in range(3):
        save(root / f"test/good/{number:03}.png", weave(number, HEIGHT, WIDTH))
        faulty(root, "hole", number, depth=110)
        faulty(root, "stain", number, depth=3)
    return root


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def faulty(root: Path, kind: str, number: int, depth: int) -> None:
    """A fault of 16 x 16 px in the tile at row 64, column 128."""
    pixels, mask = weave(50 + number, HEIGHT, WIDTH), np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[80:96, 150:166] = 255
    save(root / f"test/{kind}/{number:03}.png", np.where(mask > 0, np.maximum(pixels, depth) - depth, pixels))
    save(root / f"ground_truth/{kind}/{number:03}_mask.png", mask)


def look(tree: Path, recipe: Path, **options: object) -> Evaluation:
    return evaluate(tree, recipe, backend="onnxruntime", **{"overlap_px": 0, **options})  # type: ignore[arg-type]


def refusal(error: type[Exception], *args: Path, **options: object) -> str:
    with pytest.raises(error) as caught:
        look(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_figures_and_counts(tree: Path, recipe: Path) -> None:
    told: list[tuple[int, int]] = []
    result = look(tree, recipe, progress=lambda done, total: told.append((done, total)))
    assert result.image_auroc_by_kind["hole"] == 1.0
    assert 0.2 < result.image_auroc_by_kind["stain"] < 1.0
    assert result.image_auroc == pytest.approx(sum(result.image_auroc_by_kind.values()) / 2)
    assert result.images_by_kind == {"good": 3, "hole": 3, "stain": 3}
    assert (result.images, result.tiles, result.tiles_faulty, result.faults) == (9, 72, 6, 6)
    assert (result.images_without_mask, result.images_without_web, result.faults_outside_region) == (0, 0, 0)
    assert result.tiles_per_second > 0
    assert told[-1] == (9, 9)
    for figure in (result.tile_auroc, result.pixel_auroc, result.aupro):
        assert figure is not None
        assert 0.5 < figure <= 1.0


@pytest.mark.parametrize("kind", ["hole", "stain"])
def test_figures_of_a_type_are_those_of_a_tree_without_the_others(
    kind: str, tree: Path, recipe: Path
) -> None:
    of_kind = look(tree, recipe).figures_by_kind[kind]
    other = "stain" if kind == "hole" else "hole"
    for folder in ("test", "ground_truth"):
        shutil.rmtree(tree / folder / other)
    alone = look(tree, recipe)
    for name in ("image_auroc", "pixel_auroc", "aupro"):
        for figure in (name, f"{name}_ci95"):
            assert getattr(of_kind, figure) == getattr(alone, figure) is not None


def test_a_type_without_masks_or_with_one_image_has_what_it_can(tree: Path, recipe: Path) -> None:
    shutil.rmtree(tree / "ground_truth/stain")
    for number in (1, 2):
        (tree / f"test/hole/00{number}.png").unlink()
        (tree / f"ground_truth/hole/00{number}_mask.png").unlink()
    result = look(tree, recipe)
    hole, stain = result.figures_by_kind["hole"], result.figures_by_kind["stain"]
    assert (stain.pixel_auroc, stain.aupro, stain.pixel_auroc_ci95, stain.aupro_ci95) == (None,) * 4
    assert stain.image_auroc_ci95 is not None
    assert (hole.image_auroc, hole.image_auroc_ci95) == (1.0, None)
    assert hole.pixel_auroc == result.pixel_auroc is not None
    assert (hole.pixel_auroc_ci95, hole.aupro_ci95) == (None, None)
    assert "  hole                     1.0000                     " in result.summary()


def test_an_engine_that_fails_at_its_work_is_one_sentence(
    tree: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_that_fails(monkeypatch, "inspector.evaluating.evaluate")
    assert "onnxruntime fails at scoring tiles (out of memory); run `" in refusal(ArtefactError, tree, recipe)


def test_an_image_scores_as_its_highest_tile(tree: Path, recipe: Path) -> None:
    """The graph's score of a hole can be worked out by hand: the darkest whole cell against the tile's mean."""
    result = look(tree, recipe)
    hole = cv2.imread(str(tree / "test/hole/000.png"), cv2.IMREAD_GRAYSCALE).astype(np.float64)
    framed = cv2.copyMakeBorder(hole, 16, 16, 16, 16, cv2.BORDER_REFLECT_101)
    contrast = np.abs(hole[64:, 128:192] - framed[64:160, 128:224].mean())
    cells = contrast.reshape(16, 4, 16, 4).mean(axis=(1, 3)) / 4
    (scored,) = (one for one in result.scores if one.image == "hole/000.png")
    assert scored.score == pytest.approx(cells.max(), rel=1e-4)
    assert scored.tiles == 8


def test_overlap_brings_more_tiles(tree: Path, recipe: Path) -> None:
    # Stride 48: interiors at 0, 48, 64 down; 0, 48, 96, 144, 192 across.
    assert look(tree, recipe, overlap_px=16).tiles == 9 * 3 * 5


def test_whole_images_resized(tree: Path, recipe: Path) -> None:
    result = look(tree, recipe, resize=64, limit_sigma=10.0)
    assert (result.tiles, result.tiles_faulty, result.faults) == (9, 6, 6)
    assert "(px of images squeezed to 64 px)" in result.summary()
    assert "squeezed" not in look(tree, recipe, limit_sigma=10.0).summary(), (
        "nothing is said where nothing is"
    )
    assert result.tile_auroc == result.image_auroc
    assert result.image_auroc_by_kind["hole"] == 1.0


def test_without_masks_pixel_figures_are_null(tree: Path, recipe: Path) -> None:
    for mask in (tree / "ground_truth").glob("*/*"):
        mask.unlink()
    result = look(tree, recipe)
    assert result.image_auroc_by_kind["hole"] == 1.0
    assert (result.tile_auroc, result.pixel_auroc, result.aupro) == (None, None, None)
    assert result.images_without_mask == 6
    assert json.loads(json.dumps(result.to_json()))["pixel_auroc"] is None
    assert "6 faulty images without a mask" in result.summary()


def test_images_without_a_mask_count_for_image_auroc_alone(tree: Path, recipe: Path) -> None:
    whole = look(tree, recipe)
    (tree / "ground_truth/stain/001_mask.png").unlink()
    save(tree / "ground_truth/stain/002_mask.png", np.zeros((HEIGHT, WIDTH), np.uint8))  # no pixel
    result = look(tree, recipe)
    assert result.image_auroc == whole.image_auroc
    assert (result.images_without_mask, result.tiles_faulty, result.faults) == (2, 4, 4)


def test_a_tree_of_good_images_alone_has_no_figures(tree: Path, recipe: Path) -> None:
    for kind in ("hole", "stain"):
        for folder in ("test", "ground_truth"):
            for file in (tree / folder / kind).iterdir():
                file.unlink()
    result = look(tree, recipe)
    assert (result.image_auroc, result.tile_auroc, result.pixel_auroc, result.aupro) == (None,) * 4
    assert result.images == 3


def test_the_result_is_json_and_a_summary(tree: Path, recipe: Path) -> None:
    result = look(tree, recipe)
    told = json.loads(json.dumps(result.to_json(), allow_nan=False))
    for key in (
        "image_auroc",
        "tile_auroc",
        "pixel_auroc",
        "aupro",
        "tiles",
        "tiles_per_second",
        "images_by_kind",
    ):
        assert key in told
    assert told["scores"][0]["image"] == "good/000.png"
    assert len(told["scores"]) == 9
    assert f"image_auroc  {result.image_auroc:.4f}" in result.summary()
    assert "72 tiles" in result.summary()


def test_pictures_of_every_image_and_a_page(tree: Path, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    result = look(tree, recipe, pictures=folder)
    assert len(list(folder.glob("*.png"))) == 9
    picture = cv2.imread(str(folder / "hole-000.png"))
    assert picture.shape[1] > 4 * WIDTH or picture.shape[0] > 4 * HEIGHT
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.index("hole/000.png") < page.index("good/000.png")
    assert page.count("<img") == 9
    # The limit drawn is the highest tile of train/good, which nobody learnt from here.
    assert result.limit_sigma is not None
    assert min(one.score for one in result.scores if one.kind == "hole") > result.limit_sigma


@pytest.mark.parametrize("limit", [1e-6, 1e9])
def test_the_farthest_limits_that_can_be_asked_for_are_drawn(
    tree: Path, recipe: Path, tmp_path: Path, limit: float
) -> None:
    look(tree, recipe, pictures=tmp_path / "out", limit_sigma=limit)
    assert (tmp_path / "out/index.html").read_text().count("<svg") > 2


def test_no_page_shows_pictures_of_two_runs(tree: Path, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    look(tree, recipe, pictures=folder, limit_sigma=5.0)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look(tree, recipe, pictures=folder, limit_sigma=50.0, progress=stop)
    assert len(list(folder.glob("*.png"))) == 9, "some of this run, some of the one before"
    assert not (folder / "index.html").exists()


def test_where_a_page_can_not_be_removed_its_pictures_stay(tree: Path, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures/index.html").mkdir(parents=True)
    told: list[ArtefactError] = []
    result = look(tree, recipe, pictures=tmp_path / "pictures", unwritten=told.append)
    (error,) = told
    assert str(error).startswith(f"{tmp_path}/pictures/index.html: can't be removed (")
    assert str(error).endswith("), and would show pictures of two runs; name another folder")
    assert result.images == 9
    assert not list((tmp_path / "pictures").glob("*.png"))


def test_the_limit_of_the_pictures_comes_from_unlearnt_images_only(
    tree: Path, site: Site, tmp_path: Path
) -> None:
    train = sorted((tree / "train/good").iterdir())
    save(train[0], np.where(np.arange(WIDTH) < 20, 0, weave(100, HEIGHT, WIDTH)).astype(np.uint8))
    with_torn = look(tree, make_recipe(site, "stripes"), pictures=tmp_path / "a").limit_sigma
    without = look(tree, make_recipe(site, "stripes", learnt=train[:1]), pictures=tmp_path / "b").limit_sigma
    learnt_all = look(tree, make_recipe(site, "stripes", learnt=train), pictures=tmp_path / "c").limit_sigma
    given = look(tree, make_recipe(site, "stripes"), pictures=tmp_path / "d", limit_sigma=5.0).limit_sigma
    assert with_torn is not None
    assert without is not None
    assert with_torn > 2 * without
    assert (learnt_all, given) == (None, 5.0)


def test_background_is_left_out_on_request(tmp_path: Path, recipe: Path) -> None:
    """A third of the frame is a black gap beside the web, one mask lies in it."""
    root = tmp_path / "gap"
    for kind in ("good", "hole"):
        for number in range(2):
            pixels = weave(number, 256, 512)
            pixels[:, :160] = 2
            mask = np.zeros((256, 512), np.uint8)
            if kind == "hole":
                pixels[100:120, 300:320], mask[100:120, 300:320], mask[5:15, 10 + number : 20] = 0, 255, 255
                save(root / f"ground_truth/hole/{number}_mask.png", mask)
            save(root / f"test/{kind}/{number}.png", pixels)
    whole, auto = look(root, recipe), look(root, recipe, region="auto")
    assert (whole.faults, whole.faults_outside_region) == (4, 0)
    assert (auto.faults, auto.faults_outside_region) == (2, 2)
    assert auto.tiles < whole.tiles
    assert auto.image_auroc == 1.0
    assert whole.scores[0].score > 2 * auto.scores[0].score  # a good image: its web's edge stands out
    assert "2 faults outside the region" in auto.summary()


def test_images_without_web_are_counted(tree: Path, recipe: Path) -> None:
    save(tree / "test/good/dark.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    result = look(tree, recipe, region="auto")
    assert (result.images, result.images_without_web) == (9, 1)
    assert "1 images in which no web was found" in result.summary()


def test_images_of_which_none_shows_web_are_refused(tree: Path, recipe: Path, tmp_path: Path) -> None:
    for file in (tree / "test").glob("*/*"):
        save(file, np.zeros((HEIGHT, WIDTH), np.uint8))
    said = refusal(DataError, tree, recipe, region="auto", pictures=tmp_path / "out")
    assert "region 'auto' finds no web in any of the 9 test images" in said
    assert look(tree, recipe).images == 9


def test_a_score_is_the_same_whatever_else_is_in_the_tree(tree: Path, recipe: Path) -> None:
    whole = {one.image: one.score for one in look(tree, recipe).scores}
    for file in (tree / "test/hole").iterdir():
        file.unlink()
    for file in (tree / "ground_truth/hole").iterdir():
        file.unlink()
    assert all(math.isclose(whole[one.image], one.score) for one in look(tree, recipe).scores)


def test_bad_trees_are_refused_by_name(tree: Path, recipe: Path) -> None:
    mask = tree / "ground_truth/hole/001_mask.png"
    good_mask = mask.read_bytes()
    save(mask, np.zeros((10, 20), np.uint8))
    said = refusal(DataError, tree, recipe)
    assert "001_mask.png" in said
    assert "20x10" in said
    mask.write_bytes(good_mask[:50])
    assert "001_mask.png" in refusal(DataError, tree, recipe)
    mask.write_bytes(good_mask)
    stray = mask.with_name("777_mask.png")
    stray.write_bytes(good_mask)
    said = refusal(DataError, tree, recipe)
    assert "777_mask.png" in said
    assert "without an image" in said
    stray.unlink()
    (tree / "test/good/001.png").write_bytes(b"no image")
    assert "001.png" in refusal(DataError, tree, recipe)


def test_images_that_are_not_looked_at_are_told(tree: Path, recipe: Path) -> None:
    """Without their masks nothing else would tell that faults of this type are missing."""
    (tree / "test/hole/000.png").rename(tree / "test/hole/000.webp")
    mask = tree / "ground_truth/hole/000_mask.png"
    said = refusal(DataError, tree, recipe)
    assert said.startswith(
        f"{tree}/test/hole/000.webp: there is a mask of it, {mask}, but this program reads no .webp"
    )
    mask.unlink()
    heard: list[str] = []
    result = look(tree, recipe, warn=heard.append)
    assert result.images_by_kind["hole"] == 2
    (sentence,) = heard
    assert list(result.warnings) == heard
    assert sentence.startswith(f"1 files in {tree}/test/hole are no images that this program reads (.webp)")


@pytest.mark.parametrize("name", ["0.webp", "roll2/0.png"])
def test_a_type_of_fault_without_an_image_to_look_at_is_refused(tree: Path, recipe: Path, name: str) -> None:
    save(tree / "test/knot" / name, weave(0, HEIGHT, WIDTH))
    said = refusal(DataError, tree, recipe)
    assert said.startswith(f"{tree}/test/knot: no image that this program reads (.png, ")


def test_masks_of_good_images_are_no_mistake(tree: Path, recipe: Path) -> None:
    save(tree / "ground_truth/good/000_mask.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    assert look(tree, recipe).images == 9


def test_what_cannot_be_evaluated(tree: Path, recipe: Path, tmp_path: Path) -> None:
    assert "nowhere" in refusal(DataError, tmp_path / "nowhere", recipe)
    assert "no test images" in refusal(DataError, tree / "train/good", recipe)
    assert "multiple of the recipe's cell" in refusal(ConfigError, tree, recipe, overlap_px=15)
    assert "half a tile" in refusal(ConfigError, tree, recipe, overlap_px=48)
    assert "--resize 32" in refusal(ConfigError, tree, recipe, resize=32)
    save(tree / "test/good/000.png", weave(0, 40, WIDTH))
    assert "--resize 64" in refusal(DataError, tree, recipe)


def test_scores_that_are_no_numbers(tree: Path, recipe: Path) -> None:
    save(tree / "test/good/002.png", weave(2, HEIGHT, WIDTH) + np.uint8(80))
    said = refusal(ArtefactError, tree, recipe)
    assert "002.png" in said
    assert "NaN or infinity" in said


def test_a_recipe_that_is_not_there(tree: Path, site: Site) -> None:
    assert "denim" in refusal(ArtefactError, tree, site.engines / "denim")


def test_evaluation_loads_no_torch(tree: Path, recipe: Path) -> None:
    import subprocess
    import sys

    modules = "inspector.evaluating.evaluate, inspector.calibrating.calibrate, inspector.calibrating.from_run"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
