"""`tools/against.py`: a difference is of the same images, and its interval is of what both were drawn."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspector.evaluating.metrics import auroc
from tests.conftest import ROOT

IMAGES, CELLS, TILE_PX = 12, 64, 256


@pytest.fixture
def against(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("against")


def a_pack(seed: int) -> tuple[Any, dict[str, Any]]:
    """Six good images and six faulty ones, one tile each; sigmas of a preset that sees faults, and of one blind."""
    rng = np.random.default_rng(seed)
    faulty = np.arange(IMAGES) % 2 == 1
    masks = np.zeros((IMAGES, TILE_PX, TILE_PX), np.uint8)
    masks[faulty, 64:128, 64:128] = 1
    noise = rng.normal(0, 1, (2, IMAGES, CELLS, CELLS)).astype(np.float32)
    seen = noise[0].copy()
    seen[faulty, 16:32, 16:32] += 2
    maps = SimpleNamespace(masks=masks, image=np.arange(IMAGES), faulty=faulty)
    return maps, {"seeing": seen, "blind": noise[1]}


@pytest.fixture
def pack(against: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    maps, sigmas = a_pack(0)
    monkeypatch.setattr(against, "maps_from", lambda *_: maps)
    monkeypatch.setattr(against, "row_of", lambda training: training)
    monkeypatch.setattr(against, "fused", lambda training, _: (None, sigmas[training]))
    return maps, sigmas


def test_first_are_the_figures_of_all_images(against: Any, pack: tuple[Any, dict[str, Any]]) -> None:
    maps, sigmas = pack
    found = against.drawn_figures(Path(), "mvtec_grid", "seeing", 0)
    overall = auroc(sigmas["seeing"].max((1, 2)), maps.faulty)
    assert overall is not None
    assert found[0, 0] == pytest.approx(100 * overall)
    assert found.shape[1] == 1 + 1000
    assert found[1, 0] > 85  # two deviations apart: 92 % by pixel


def test_a_preset_is_no_worse_than_itself_and_a_blind_one_is(
    against: Any, pack: tuple[Any, dict[str, Any]]
) -> None:
    seeing, blind = (against.drawn_figures(Path(), "mvtec_grid", one, 0) for one in ("seeing", "blind"))
    assert (seeing - seeing == 0).all()
    assert against.cell((seeing - seeing)[1]) == "+0.0 (+0.0 to +0.0)"
    assert against.cell((blind - seeing)[1]).startswith("**-")
    assert not against.cell((seeing - blind)[1]).startswith("**")
