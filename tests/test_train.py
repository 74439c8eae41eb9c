"""`inspector train` as a person uses it: from a folder of images to a line's limit, in processes of its own.

The teachers' weights are random and given by --weights: a teacher that knows nothing still disagrees with its
student about a hole. That the real weights fit is held in test_learning_distill.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open

from inspector import config
from inspector.backends import golden, open_backend
from inspector.backends.artifact import load_recipe, sha256_of
from inspector.cameras.loom import Loom
from inspector.cli import main
from inspector.errors import ArtefactError
from inspector.images.reading import ImageFile, read_image
from inspector.learning.export import InspectionGraph
from inspector.learning.networks import EfficientNet, MobileNetV2
from inspector.learning.students import build_students
from inspector.learning.train import _identity, _put_in_place, _refuse_existing
from tests.contrast_graph import MARGIN_PX, write_contrast_onnx
from tests.random_weights import write_random_weights
from tests.small_recipe import PLANT, make_recipe, make_site

SIDE = 256
# Two threads that share their cores with others wait for each other, tenfold.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TILES = ("--tile-px", "64", "--margin-px", "32", "--region", "whole")
EPOCHS = 4
PRESET = "fast"  # to export a graph torch follows every part of every network: the default's two take it twice as long
ONE_SIZE = "take out what differs, or let --resize bring all images to one size"


def inspector(folder: Path, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        cwd=folder,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=240,  # a guard against a hang: a busy machine takes minutes to export a graph
        check=False,
    )


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "inspector", *map(str, words)]


def training(name: str, weights: list[Path], *more: str, preset: str | None = PRESET) -> list[str]:
    given = [word for file in weights for word in ("--weights", str(file))]
    chosen = [] if preset is None else ["--preset", preset]
    return ["train", "good", "--recipe", name, *TILES, "--epochs", str(EPOCHS), *chosen, *given, *more]


def weave(folder: Path, seeds: range) -> list[Path]:
    folder.mkdir(parents=True)
    files = []
    for seed in seeds:
        files.append(folder / f"{seed}.png")
        pixels = Loom(SIDE, 0.2, "plain", seed, config.FaultMix(per_m=0.0)).rows(SIDE)
        assert cv2.imwrite(str(files[-1]), pixels)
    return files


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Random, for the teacher of the preset."""
    return write_random_weights(tmp_path_factory.mktemp("weights"), PRESET)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, weights: list[Path]) -> Path:
    """A plant with good images and the recipe "cloth" trained from them in one go."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "config.toml").write_text(PLANT.replace('"stripes"', '"cloth"'))
    weave(folder / "good", range(6))
    done = inspector(folder, *training("cloth", weights))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("recipe cloth: learnt from 5 images, 1 held back, best after epoch ")
    assert (
        "inspector: 6 good images are few, 20 or more are better; --learning-curve says what more"
        in done.stderr
    )
    return folder


def test_training_leaves_a_whole_recipe(plant: Path, weights: list[Path]) -> None:
    folder = plant / "engines" / "cloth"
    recipe = load_recipe(folder)
    names = {file.stem: sha256_of(file.read_bytes()) for file in weights}
    assert recipe.training.weights_sha256 == names
    assert recipe.training.resize is None
    assert recipe.training.preset == PRESET
    images = {**recipe.training.learnt, **recipe.training.validation}
    assert recipe.training.pixels_sha256 == {
        path: read_image(ImageFile(plant / "good" / path, "good")).pixels_sha256 for path in images
    }
    assert recipe.onnx_sha256 == sha256_of((folder / "model.onnx").read_bytes())
    assert not (folder / "training").exists(), "checkpoints are done with"
    (held,) = recipe.training.validation
    web = np.pad(read_image(ImageFile(plant / "good" / held, "good")).pixels, 32, "reflect")
    own = np.lib.stride_tricks.sliding_window_view(web, (128, 128))
    kept = golden.golden_tiles(folder, recipe, "")
    assert len(np.unique(kept, axis=0)) == golden.COUNT
    corners = [np.argwhere(own[..., 0, 0] == tile[0, 0]) for tile in kept]
    for tile, places in zip(kept, corners, strict=True):
        assert any(np.array_equal(own[row, column], tile) for row, column in places), "of a held-back image"
    open_backend(folder, "openvino").close()


def test_without_a_preset_it_is_the_default_with_both_of_its_teachers(
    plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the export, which takes longer than all else; test_learning_graph.py exports the default."""
    exported: list[InspectionGraph] = []
    write_contrast_onnx(tmp_path / "any.onnx")

    def export(graph: InspectionGraph) -> bytes:
        exported.append(graph)
        return (tmp_path / "any.onnx").read_bytes()

    monkeypatch.setattr("inspector.learning.train.to_onnx", export)
    monkeypatch.chdir(plant)
    weights = write_random_weights(tmp_path)
    words = training("usual", weights, "--epochs", "1", "--margin-px", str(MARGIN_PX), preset=None)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    recipe = load_recipe(plant / "engines" / "usual")
    assert recipe.training.preset == "balanced"
    assert recipe.teachers == ("efficientnet_lite0", "mobilenet_v2")
    assert recipe.training.weights_sha256 == {file.stem: sha256_of(file.read_bytes()) for file in weights}
    (graph,) = exported
    assert [type(teacher.trunk) for teacher in graph.disagreement.teachers] == [EfficientNet, MobileNetV2]


def test_from_good_images_to_a_limit_and_to_figures(plant: Path) -> None:
    built = inspector(plant, "build-engine", "--recipe", "cloth", "--backend", "onnxruntime")
    assert (built.returncode, built.stderr) == (0, "")
    assert "golden tiles agree" in built.stdout

    weave(plant / "more", range(20, 26))
    limited = inspector(plant, "calibrate", "more", "--recipe", "cloth", "--line", "1")
    assert limited.returncode == 0, limited.stderr
    assert "from 96 tiles of 6 good images" in limited.stdout

    weave(plant / "tree/test/good", range(30, 33))
    masks = plant / "tree/ground_truth/hole"
    masks.mkdir(parents=True)
    for file in weave(plant / "tree/test/hole", range(40, 43)):
        pixels, mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.zeros((SIDE, SIDE), np.uint8)
        mask[100:124, 100:124] = 255
        pixels[mask > 0] = 0
        assert cv2.imwrite(str(file), pixels)
        assert cv2.imwrite(str(masks / f"{file.stem}_mask.png"), mask)
    options = ("--backend", "onnxruntime", "--overlap-px", "0", "--json", "figures.json")
    measured = inspector(plant, "evaluate", "tree", "--recipe", "cloth", *options)
    assert measured.returncode == 0, measured.stderr
    figures = json.loads((plant / "figures.json").read_text())
    assert figures["image_auroc"] == 1.0
    assert figures["pixel_auroc"] > 0.9


@pytest.fixture(scope="module")
def interrupted(plant: Path, weights: list[Path]) -> dict[Path, bytes]:
    """Ctrl-C once a checkpoint is there; what the recipe's folder held before."""
    engine = plant / "engines" / "cloth"
    before = {file: file.read_bytes() for file in engine.rglob("*") if file.is_file()}
    checkpoint = engine / "training" / "checkpoint.safetensors"
    with subprocess.Popen(
        command(*training("cloth", weights, "--overwrite")),
        cwd=plant,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        deadline = time.monotonic() + 50
        while not checkpoint.exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        said, complaint = running.communicate(timeout=50)
    assert (running.returncode, said) == (130, "")
    assert complaint.splitlines()[-1] == "inspector: interrupted"
    return before


def test_an_interrupted_training_leaves_the_recipe_as_it_was(
    plant: Path, interrupted: dict[Path, bytes]
) -> None:
    assert {file: file.read_bytes() for file in interrupted} == interrupted
    with safe_open(plant / "engines/cloth/training/checkpoint.safetensors", "pt") as stored:
        standing = json.loads(stored.metadata()["inspector"])["standing"]
    assert 1 <= standing["epoch"] < EPOCHS


def test_the_same_command_goes_on_and_ends_as_one_never_interrupted(
    plant: Path, weights: list[Path], interrupted: dict[Path, bytes]
) -> None:
    """Trained twice with one seed it is the same graph, bit for bit; and the same web gives the same limit."""
    engine = plant / "engines" / "cloth"
    one = load_recipe(engine)
    assert (engine / "training").exists()
    resumed = inspector(plant, *training("cloth", weights, "--overwrite"))
    assert resumed.returncode == 0, resumed.stderr
    other = load_recipe(engine)
    assert (one.onnx_sha256, one.training.epochs) == (other.onnx_sha256, other.training.epochs)
    assert (engine / "recipe.toml").read_bytes() != interrupted[engine / "recipe.toml"], "its date is another"
    assert not (engine / "training").exists()


def test_a_checkpoint_belongs_to_students_of_its_own_shapes() -> None:
    tiles = [np.zeros((1, 8, 8), np.uint8)]
    one, other = (
        _identity("balanced", [], build_students("balanced", 1, 0, width), tiles) for width in (8, 16)
    )
    assert one != other
    assert one == _identity("balanced", [], build_students("balanced", 1, 0, 8), tiles)


def test_a_recipe_is_replaced_only_when_asked(plant: Path, weights: list[Path]) -> None:
    file = plant / "engines" / "cloth" / "recipe.toml"
    before = file.read_bytes()
    done = inspector(plant, *training("cloth", weights))
    assert done.returncode == 4
    assert "there is a recipe of that name already; choose another --recipe" in done.stderr
    assert file.read_bytes() == before


def stopped(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_training_stopped_while_its_engine_is_built_says_what_is_there(
    plant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(plant / "engines/cloth")
    monkeypatch.setattr("inspector.learning.train.train", lambda *given, **options: recipe)
    monkeypatch.setattr("inspector.backends.build_engine", stopped)
    arguments = ["train", str(plant), "--recipe", "cloth", "--config", str(plant / "config.toml")]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 130
    assert ended.stderr.splitlines()[-2:] == [
        "inspector: recipe cloth is in place, its engine isn't; run `inspector build-engine --recipe cloth`",
        "inspector: interrupted",
    ]
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(plant / "engines/cloth/recipe.toml", bare)
    with pytest.raises(
        ArtefactError, match=r"already .`inspector build-engine --recipe bare` builds its engine\);"
    ):
        _refuse_existing(bare, overwrite=False)


def colour(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert cv2.imwrite(str(folder / "3.png"), pixels)


def small(folder: Path) -> None:
    pixels = cv2.imread(str(folder / "3.png"), cv2.IMREAD_GRAYSCALE)
    assert cv2.imwrite(str(folder / "3.png"), pixels[:, :60])


def broken(folder: Path) -> None:
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:200])


def few(folder: Path) -> None:
    for number in (3, 4):
        (folder / f"{number}.png").unlink()


def copied(folder: Path) -> None:
    """In another format: another file, but the same picture."""
    (folder / "4.png").unlink()
    assert cv2.imwrite(str(folder / "4.bmp"), cv2.imread(str(folder / "3.png"), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (colour, "3.png: a colour image, but 0.png is grey; don't mix the two, convert them first"),
        (small, f"3.png: 60 px wide, but the median of all images is 256 px wide; {ONE_SIZE}"),
        (broken, "3.png: is damaged, cut short or no image; copy it again or take it away"),
        (
            copied,
            "4 good images (5, but only 4 different) are too few; training wants at least 5, better 20 or more",
        ),
        (few, "3 good images are too few; training wants at least 5, better 20 or more"),
    ],
)
def test_images_that_cannot_be_learnt_from_are_named(tmp_path: Path, spoil: object, sentence: str) -> None:
    (tmp_path / "config.toml").write_text(PLANT)
    weave(tmp_path / "good", range(5))
    spoil(tmp_path / "good")  # type: ignore[operator]
    done = inspector(tmp_path, *training("cloth", []))
    assert done.returncode == 6
    # Inside OpenCV 4, libpng speaks for itself and can't be told not to.
    (said,) = (line for line in done.stderr.splitlines() if not line.startswith("libpng error:"))
    assert said.startswith("inspector: good")
    assert said.endswith(sentence)
    assert not (tmp_path / "engines").exists()


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    absent = 'raise ModuleNotFoundError("No module named \'torch\'", name="torch")\n'
    (tmp_path / "hidden" / "torch.py").write_text(absent)
    done = inspector(tmp_path, *training("cloth", []), PYTHONPATH=str(tmp_path / "hidden"))
    assert done.returncode == 2
    assert done.stderr == (
        "inspector: training needs the package 'torch'; run: pip install -e \".[train]\"\n"
    )


def test_a_full_disk_leaves_the_old_recipe_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_recipe(make_site(tmp_path), "stripes")
    folder = tmp_path / "engines/stripes"
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    def full(engine_dir: Path, tiles: np.ndarray) -> None:
        raise ArtefactError(f"{engine_dir}: can't be written (No space left on device)")

    monkeypatch.setattr(golden, "write_golden_tiles", full)
    with pytest.raises(ArtefactError, match="No space left"):
        _put_in_place(folder, b"another graph", np.zeros((8, 128, 128), np.uint8), load_recipe(folder))
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    monkeypatch.undo()
    _put_in_place(folder, b"another graph", np.zeros((8, 128, 128), np.uint8), load_recipe(folder))
    assert (folder / "model.onnx").read_bytes() == b"another graph"
    assert not (folder / ".new").exists()
