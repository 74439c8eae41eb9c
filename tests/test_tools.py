"""What the tools print into the docs, on figures small enough to work out by hand."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import one of them by its bare name, as they import each other."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


# -- bench_engine.py, peaks.py and roofline.py --------------------------------------------------------------


@pytest.fixture
def bench(tool: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    bench = tool("bench_engine")
    monkeypatch.setattr(bench, "precisions", lambda: ("fp32", "int8"))
    return bench


def rates_of(bench: Any, seen: dict[tuple[str, str, int], list[float]]) -> dict[Any, list[float]]:
    return {bench.way_of(name, kind, 2, batch): rates for (name, kind, batch), rates in seen.items()}


def test_a_ratio_is_of_the_same_batch_and_turn(bench: Any) -> None:
    reference, other = bench.REFERENCE, bench.CONTENDERS[4]
    graph = SimpleNamespace(gflop=1.0, intensity=lambda precision: {"fp32": 1.0, "int8": 4.0}[precision])
    rates = rates_of(
        bench,
        {
            (reference.name, "fp32", 1): [10.0, 20.0, 40.0],  # the machine was another in every turn
            (reference.name, "fp32", 4): [5.0, 5.0, 5.0],
            (reference.name, "int8", 1): [10.0, 20.0, 40.0],
            (reference.name, "int8", 4): [5.0, 5.0, 5.0],
            (other.name, "fp32", 1): [30.0, 60.0, 120.0],
            (other.name, "fp32", 4): [300.0, 300.0, 300.0],
            (other.name, "int8", 1): [40.0, 80.0, 160.0],
            (other.name, "int8", 4): [50.0, 50.0, 50.0],
        },
    )
    roof = bench.Roof({"fp32": 200e9, "int8": 400e9}, 100e9)
    head, _, *rows = bench.as_run_table({reference: graph, other: graph}, rates, roof, 2)
    assert cells(head)[3] == "times paper's graph in fp32"
    found = [[cells(row)[place] for place in (2, 3, 4, 5, 6)] for row in rows]
    assert found == [
        ["20.0 (12.0 to 36.0)", "**1.00**", "20", "20%", "1: 20.0"],
        ["20.0 (12.0 to 36.0)", "**1.00**", "20", "5%", "1: 20.0"],
        ["60.0 (36.0 to 108.0)", "**3.00**", "60", "60%", "4: 300.0"],  # never 300 / 20
        ["80.0 (48.0 to 144.0)", "**4.00**", "80", "20%", "1: 80.0"],
    ]
    drawn = {one.name: (one.intensity, one.flops) for one in bench.points({other: graph}, rates, 2)}
    assert drawn == {f"{other.name} fp32": (1.0, 60e9), f"{other.name} int8": (4.0, 80e9)}


def test_values_of_a_precision_take_its_bytes(bench: Any, tool: Any) -> None:
    work = SimpleNamespace(flop=800, values_fused=10)
    built = tool("engine_graphs").Built(None, b"", b"", work, 1.0)
    assert [built.intensity(one) for one in ("fp32", "bf16", "int8")] == [20.0, 40.0, 80.0]


def test_an_int8_peak_is_of_what_ran_in_int8(tool: Any) -> None:
    peaks = tool("peaks")
    (peak,) = peaks.int8_peak([peaks.product(64), peaks.convolution(16, 16)], 1).values()
    assert peak > 1e6
    tiles = peaks.opset13.parameter([64, 64], peaks.np.float32)
    floats = peaks.openvino.Model([peaks.opset13.matmul(tiles, tiles, False, False)], [tiles])
    assert peaks.int8_peak([(floats, 2 * 64**3)], 1) == {}


def test_a_roof_on_both_sides_of_its_knee(tool: Any) -> None:
    roof = tool("roofline").Roof({"fp32": 100.0}, bytes_s=20.0)
    assert roof.attainable("fp32", 4.0) == 80.0  # bound by memory
    assert roof.attainable("fp32", 5.0) == 100.0
    assert roof.attainable("fp32", 50.0) == 100.0  # bound by arithmetic
    assert roof.attainable("int8", 50.0) is None


# -- bench_line.py and wanted.py ----------------------------------------------------------------------------


class FakeRig:
    """Runs nothing; remembers at what rate it should have."""

    recipe, tiles_per_frame = "demo", 20.0

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []

    def run(self, frames_per_s: float, seconds: float, sample_memory: bool = False) -> dict[str, Any]:
        self.asked.append((frames_per_s, seconds))
        return {"triggers": 7, "lost": {}, "memory_mb": [100.0] * 20, "p99_ms": 1.0}


def test_a_soak_is_paced_by_what_the_engine_does_right_before_it(
    tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, rig, rows = tool("bench_line"), FakeRig(), {"bare engine, tiles/s": [35.0]}
    monkeypatch.setattr(line, "bare_engine", lambda *_: [40.0, 30.0][len(rig.asked)])
    loaded = line.soak(rig, None, 1.0, 10.0, rows)
    assert rig.asked == [(0.9 * 40 / 20, 600.0)]
    assert loaded.bare == 40.0
    assert rows["before the soak: bare engine, tiles/s"] == [40.0]
    assert rows["after the soak: bare engine, tiles/s"] == [30.0]
    assert "| after the soak: bare engine, tiles/s | 30.00 | 30.00 | 30.00 |" in line.figures(rows)


def test_two_copies_are_not_the_one_that_was_wanted(tool: Any) -> None:
    moved, wanted = tool("moved"), tool("wanted")

    def row(copied: float) -> tuple[str, str, str]:
        ours = {"numpy": moved.Bytes(copied, copied), "simcam.cti": moved.Bytes(100.0, 0.0)}
        found: tuple[str, str, str] = wanted._copies(
            moved.Moved((10, 10), 100.0, 2.0, 200.0, "simcam.cti", ours)
        )
        return found

    two, three = row(300.0), row(400.0)
    assert two[1:] == (
        "100 bytes a frame out of it, 200 into the engine's input; 0 bytes beyond these two",
        "wanted one, has two: tiles overlap and bear margins: NOT kept",
    )
    assert three[2] == "wanted one, has more than two: NOT kept"
