"""A plant, a recipe and a web that are small enough to score in a blink."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector import config
from inspector.backends import build_engine, open_backend
from inspector.backends.artifact import SCHEMA, Recipe, Training, sha256_of, write_recipe
from inspector.config import Site
from inspector.interfaces import Backend
from tests.contrast_graph import CELL_PX, MARGIN_PX, TILE_PX, write_contrast_onnx

PLANT = """\
plant = "small"
[line.1]
recipe = "stripes"
camera = { kind = "folder", path = "frames" }
web = { width_mm = 51.2, mm_per_px = 0.2, encoder_counts_per_m = 10000, speed_m_min = 6, seamless = false }
tiles = { size_mm = 12.8, overlap_mm = 0 }
engine = { backend = "onnxruntime", threads = 1 }
bus = { verdicts = "tcp://127.0.0.1:*", maps = "tcp://127.0.0.1:*", replay = "tcp://127.0.0.1:*" }
"""


def make_site(folder: Path) -> Site:
    """A plant of one line, 256 px wide, tiles of 64 px."""
    (folder / "config.toml").write_text(PLANT)
    return config.load(folder / "config.toml")


def make_recipe(
    site: Site,
    name: str,
    *,
    learnt: Sequence[Path] = (),
    validation: Sequence[Path] = (),
    pixels_sha256: dict[str, str] | None = None,
) -> Path:
    """A recipe whose graph scores contrast, with an engine for onnxruntime."""
    engine_dir = site.engines / name
    write_contrast_onnx(engine_dir / "model.onnx")
    recipe = Recipe(
        schema=SCHEMA,
        name=name,
        tile_px=TILE_PX,
        margin_px=MARGIN_PX,
        px_per_cell=CELL_PX,
        channels=1,
        teachers=("contrast",),
        onnx_sha256=sha256_of((engine_dir / "model.onnx").read_bytes()),
        training=Training(
            date_utc="2026-11-24T02:00:00+00:00",
            inspector="0.1.0",
            data="good",
            learnt={path.name: sha256_of(path.read_bytes()) for path in learnt},
            validation={path.name: sha256_of(path.read_bytes()) for path in validation},
            pixels_sha256=pixels_sha256 or {},
            seed=0,
            epochs=0,
        ),
    )
    write_recipe(engine_dir, recipe)
    build_engine(engine_dir, "onnxruntime")
    return engine_dir


def weave(seed: int, height: int, width: int) -> np.ndarray:
    """Grey cloth: a plain weave of period 8 px with noise, uint8 [height, width]."""
    rows, columns = np.mgrid[:height, :width]
    cloth = 120 + 10 * np.sin(rows * np.pi / 4) * np.sin(columns * np.pi / 4)
    noise = np.random.default_rng(seed).normal(0, 6, (height, width))
    return np.clip(cloth + noise, 0, 255).astype(np.uint8)


def engine_that_fails(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let the engine that a module opens fail at its work, once it has passed its own test."""

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    def opened(*how: Any) -> Backend:
        backend = open_backend(*how)
        monkeypatch.setattr(type(backend), "infer", fail)
        return backend

    monkeypatch.setattr(f"{module}.open_backend", opened)
