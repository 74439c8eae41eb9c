"""No pixel is copied but out of the camera's buffer and into the engine's input; and what `make bench` says of that."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from inspector.backends import openvino
from inspector.backends.engine import Engine, info_of, score_loose
from inspector.backends.runtime import Means
from inspector.records import F32, U8
from tests.conftest import ROOT
from tests.graphs import tiny_graph, write_tiny_recipe


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return importlib.import_module


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="moved.c stands in front of glibc's allocators")
def test_a_frame_of_line_3_is_copied_once_and_its_tiles_are(producer: Path, tool: Any) -> None:
    moved = tool("moved").measure(frames=16)
    assert moved.shape == (512, 2048)
    assert moved.frame_bytes == 512 * 2048
    assert moved.tile_bytes == pytest.approx(moved.tiles * 320 * 320)
    assert moved.by_library[moved.producer].copied == pytest.approx(moved.frame_bytes, rel=0.001)
    ours = [one for library, one in moved.by_library.items() if library != moved.producer]
    # OpenCV mirrors margins at the web's edges by a loop of its own: the counter doesn't see those.
    assert 0.97 * moved.needed < sum(one.copied for one in ours) < 1.01 * moved.needed
    assert sum(one.taken for one in ours) == pytest.approx(moved.needed, rel=0.003)
    assert moved.is_kept


class Recorder:
    """A runtime that keeps what it is handed."""

    def run(self, tiles: U8, maps: F32, scores: F32) -> None:
        self.tiles = tiles
        maps[...] = 0
        scores[...] = 0

    def close(self) -> None:
        pass


def test_the_engine_hands_its_runtime_the_tiles_themselves(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny")
    runtime = Recorder()
    tiles = np.zeros((5, *recipe.tile_shape), np.uint8)
    score_loose(Engine(recipe, info_of(recipe, "openvino", "", "", "fp32", ""), runtime), tiles)
    assert runtime.tiles.ctypes.data == tiles.ctypes.data


def test_openvino_reads_the_tiles_where_they_lie(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny")
    plan = openvino.build_plan(recipe, tiny_graph(), "fp32", Means())
    runtime = openvino.open_runtime(recipe, tiny_graph(), plan, "fp32", 1)
    tiles = np.random.default_rng(0).integers(0, 256, (7, *recipe.tile_shape), np.uint8)
    runtime.run(tiles, np.empty((7, recipe.cells, recipe.cells), np.float32), np.empty(7, np.float32))
    read = [request.get_input_tensor().data for request in runtime._queue]
    assert all(np.shares_memory(one, tiles) for one in read)
    assert {one.shape for one in read} == {(1, *recipe.tile_shape)}
    runtime.close()


# -- what `make bench` says ---------------------------------------------------------------------------------


def loaded(tool: ModuleType, **changes: Any) -> Any:
    """Ten minutes at 90 % of 40 tiles/s, 20 tiles a frame: the engine takes 500 ms for them."""
    cpu_s = {"acquire": 20.0, "tiling": 5.0, "inspect": 5.0, "engine": 970.0}
    report = {"seconds": 599.0, "triggers": 1078, "lost": {}, "p99_ms": 900.0, "cpu_s": cpu_s, **changes}
    return tool.Loaded(report, bare=40.0, tiles_per_frame=20.0)


def moved_by(tool: Any, **libraries: int) -> Any:
    moved = tool("moved")
    by_library = {name: moved.Bytes(amount, 0) for name, amount in {"cam": 1000, **libraries}.items()}
    return moved.Moved((10, 100), 1000, 2, 2000, "cam", by_library)


def verdicts(tool: Any, changes: dict[str, Any], **libraries: int) -> list[str]:
    wanted = tool("wanted")
    table = wanted.wanted([loaded(wanted), loaded(wanted, **changes)], moved_by(tool, **libraries))
    return [row.split("|")[3].strip() for row in table.splitlines()[2:]]


TWO_COPIES = "wanted one, has two: tiles overlap and bear margins: NOT kept"


def test_a_line_that_keeps_up_keeps_all_but_the_second_copy(tool: Any) -> None:
    assert verdicts(tool, {}, numpy=3000) == ["kept"] * 3 + [TWO_COPIES]


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        (0, {"lost": {"overload": 1}}),
        (1, {"p99_ms": 1000.0}),
        (2, {"cpu_s": {"acquire": 5.0, "tiling": 5.0, "inspect": 0.0, "engine": 90.0}}),
    ],
)
def test_one_bad_run_is_enough_not_to(tool: Any, row: int, changes: dict[str, Any]) -> None:
    found = verdicts(tool, changes, numpy=3000)
    assert found.pop(row) == "NOT kept"
    assert found == ["kept"] * 2 + [TWO_COPIES]


def test_a_third_copy_is_told(tool: Any) -> None:
    assert verdicts(tool, {}, numpy=3011)[3] == "wanted one, has more than two: NOT kept"


def test_a_short_run_says_nothing_of_drops(tool: Any) -> None:
    wanted = tool("wanted")
    table = wanted.wanted([loaded(wanted, seconds=60.0)], moved_by(tool, numpy=3000))
    assert "0 of 1078 in 1 runs, the longest of 1.0 minutes | too short to tell |" in table
