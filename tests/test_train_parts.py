"""The parts of a training: what it refuses, and which tiles it learns from and holds back."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.errors import ConfigError
from inspector.learning.train import train


def silent(done: int, total: int, note: str = "") -> None:
    assert 0 <= done <= total


@pytest.mark.parametrize("tile_px", [32, 64])
def test_tiles_that_no_line_can_cut_are_refused_before_anything_is_read(tmp_path: Path, tile_px: int) -> None:
    said = f"a margin of 64 px is no narrower than a tile of {tile_px} px, and no line can cut such tiles; give a"
    with pytest.raises(ConfigError, match=said):
        train(tmp_path / "none", "cloth", tmp_path, tile_px=tile_px, margin_px=64, progress=silent)
