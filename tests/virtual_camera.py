"""The virtual camera's own tools, which are no package, and a web whose rows can be told apart."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

SIMCAM = Path(__file__).parents[1] / "tools" / "simcam"


def load(name: str) -> ModuleType:
    """A module of tools/simcam."""
    spec = importlib.util.spec_from_file_location(f"simcam_{name}", SIMCAM / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Control = load("control").Control
FeedWriter = load("feed").FeedWriter


def numbered_rows(first: int, count: int, width: int) -> np.ndarray:
    """Rows that carry their number in their first eight bytes."""
    rows = np.full((count, width), 100, np.uint8)
    rows[:, :8] = np.arange(first, first + count, dtype="<u8").view(np.uint8).reshape(count, 8)
    return rows


def row_numbers(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, :8]).view("<u8").ravel()
