"""The picture of what is not learnt yet: which tiles, drawn when and where; and a fault among good images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from inspector.errors import ArtefactError
from inspector.learning import curve
from inspector.learning.distill import Standing
from inspector.learning.train import train
from inspector.learning.unlearnt import NAME, SHOWN, Sheet, sheet, surprise
from tests.contrast_graph import write_contrast_onnx
from tests.random_weights import write_random_weights
from tests.small_recipe import weave

MARGIN, SIDE = 16, 64


def tiles(count: int) -> np.ndarray:
    return np.stack([weave(n, SIDE, SIDE) for n in range(count)])


def silent(done: int, total: int, note: str = "") -> None:
    assert 0 <= done <= total


def test_every_layer_weighs_the_same_and_margins_do_not_count() -> None:
    shallow, deep = torch.full((3, 16, 16), 0.02), torch.full((3, 4, 4), 2.0)
    shallow[1, 8, 8] = 0.5
    shallow[2, 0, 0] = 50.0  # in the margin
    maps = surprise([shallow, deep], SIDE, MARGIN)
    assert maps.shape == (3, SIDE - 2 * MARGIN, SIDE - 2 * MARGIN)
    assert maps.mean() == pytest.approx(1.0, abs=1e-4)
    assert maps[1].max() > 5
    assert maps[2].max() == pytest.approx(maps[0].max())


def test_the_worst_tiles_are_shown_and_the_worst_first() -> None:
    maps = np.ones((9, 32, 32), np.float32)
    maps[4, 10:20, 10:20], maps[7, 3:9, 3:9] = 9.0, 5.0
    shown: list[int] = []

    class Names(list[str]):
        def __getitem__(self, at: object) -> str:
            shown.append(int(at))  # type: ignore[call-overload]
            return f"{at}.png"

    picture = sheet(tiles(9), maps, Names(), MARGIN, "after epoch 1 of 2")
    assert shown[:2] == [4, 7]
    assert len(shown) == SHOWN
    assert (picture.ndim, picture.shape[2], picture.dtype) == (3, 3, np.uint8)
    few = sheet(tiles(3)[..., None].repeat(3, axis=3), maps[:3], ["a", "b", "c"], MARGIN, "")
    assert few.shape[1] == picture.shape[1]
    assert few.shape[0] < picture.shape[0]


def test_it_is_drawn_at_the_quarters_and_its_place_is_told_once(tmp_path: Path) -> None:
    notes: list[str] = []
    file = tmp_path / "engines" / NAME
    drawing = Sheet(
        file,
        tiles(4),
        ["0"] * 4,
        MARGIN,
        20,
        lambda done, total, note="": notes.append(f"{done} {note}"),
    )
    drawn = []
    for epoch in range(1, 21):
        before = file.read_bytes() if file.exists() else b""
        drawing.watch(Standing(epoch=epoch), [torch.rand(4, 8, 8)])
        if file.exists() and file.read_bytes() != before:
            drawn.append(epoch)
    assert drawn == [5, 10, 15]
    assert notes == [f"5 not learnt yet: {file}"]
    assert [one.name for one in file.parent.iterdir()] == [NAME], "nothing half written is left"


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("no folder")
    drawing = Sheet(tmp_path / "engines" / NAME, tiles(2), ["0", "1"], MARGIN, 4, silent)
    with pytest.raises(ArtefactError, match="can't be written"):
        drawing.watch(Standing(epoch=2), [torch.rand(2, 8, 8)])


def test_a_fault_among_good_images_is_named_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From ten images of 256 px, as few as a beginner may have; and what more of them would bring is told.

    The export takes longer than all else and is no part of this: test_learning_graph.py and test_train.py hold it.
    """
    monkeypatch.setattr(curve, "STEPS", 3)
    write_contrast_onnx(tmp_path / "any.onnx")
    monkeypatch.setattr(
        "inspector.learning.train.to_onnx", lambda graph: (tmp_path / "any.onnx").read_bytes()
    )
    (tmp_path / "good").mkdir()
    for n in range(10):
        pixels = weave(n, 256, 256)
        if n == 3:
            pixels[100:124, 60:84] = 20
        assert cv2.imwrite(str(tmp_path / "good" / f"{n}.png"), pixels)
    warnings: list[str] = []
    said_besides: list[str] = []
    recipe = train(
        tmp_path / "good",
        "cloth",
        tmp_path / "engines",
        weights=write_random_weights(tmp_path),
        tile_px=96,
        margin_px=16,
        resize=96,
        epochs=8,
        progress=silent,
        warn=warnings.append,
        learning_curve=True,
        say=said_besides.append,
    )
    assert (len(recipe.training.learnt), len(recipe.training.validation)) == (8, 2)
    left = {file.name for file in (tmp_path / "engines/cloth").iterdir()}
    assert left == {"golden.png", "learning-curve.svg", "model.onnx", NAME, "recipe.toml"}
    (told,) = said_besides
    assert [line.split()[0] for line in told.splitlines()[1:4]] == ["2", "4", "8"]
    (said,) = warnings
    assert said.startswith("3.png (")
    assert said.count(".png") == 1
