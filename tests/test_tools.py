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
