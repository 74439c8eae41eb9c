"""A line's parts before its start: whether the engine keeps up, with the tiles that a frame brings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inspector import parts
from tests.test_tiling import ENGINE, line_config

WEB = {"width_mm": 409.6, "mm_per_px": 0.2, "encoder_counts_per_m": 10000, "speed_m_min": 18}


@pytest.mark.parametrize(
    ("height_px", "seamless", "tiles", "needed"),
    [
        (448, True, 18, 60),
        (512, True, 27, 60),  # every other frame completes a third row of tiles
        (512, False, 27, 79),
        (300, False, 18, 90),
        (256, False, 9, 53),
    ],
)
def test_an_engine_is_glanced_at_with_the_most_tiles_that_a_frame_brings(
    monkeypatch: pytest.MonkeyPatch, height_px: int, seamless: bool, tiles: int, needed: int
) -> None:
    glances: list[int] = []

    def glance(_: object, most: int) -> float:
        glances.append(most)
        return 1.0

    monkeypatch.setattr(parts, "glance_rate", glance)
    camera = {"kind": "loom", "height_px": height_px}
    line: Any = SimpleNamespace(
        line_id="1",
        config=line_config(camera=camera, web={**WEB, "seamless": seamless}),
        camera=SimpleNamespace(info=SimpleNamespace(height_px=height_px)),
        backend=SimpleNamespace(info=ENGINE),
        limit=SimpleNamespace(region_mm=(0.0, 409.6)),
    )
    assert f"18 m/min needs {needed} tiles/s; the engine did 1 " in parts.slowness(line)
    assert glances == [tiles]
