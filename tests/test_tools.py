"""What the tools print into the docs, on figures small enough to work out by hand."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspector.backends.artifact import load_recipe
from inspector.backends.openvino import count_work
from inspector.capacity.presets import MARGIN_PX, PRESETS, TILE_PX, Preset
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


def test_a_strip_scores_its_tiles(tool: Any) -> None:
    ways, random_graph = tool("bench_ways"), tool("random_graph")
    graph = random_graph.random_graph("faster", ways.SHAPE)
    strip = np.random.default_rng(3).integers(0, 256, ways.STRIP_PX, dtype=np.uint8)
    with ways.torch.inference_mode():
        by_tile, of_tile = graph(ways.torch.from_numpy(ways.tiles_of(strip)))
        by_strip, of_strip = ways.Strip(graph)(ways.torch.from_numpy(strip[None]))
    assert (by_strip.shape, of_strip.shape) == (by_tile.shape, of_tile.shape) == ((9, 64, 64), (9,))
    # Random weights hear of zero padding from afar, so cells are only nearly alike; other tiles' are not at all.
    middle = (slice(None), slice(24, 40), slice(24, 40))
    alike, mixed_up = (
        np.corrcoef(by_strip[middle].ravel(), other[middle].ravel())[0, 1]
        for other in (by_tile, by_tile.roll(1, 0))
    )
    assert alike > 0.95
    assert mixed_up < 0.5


@pytest.mark.parametrize("preset", PRESETS, ids=[one.name for one in PRESETS])
def test_what_capacity_says_of_presets_work_is_counted_in_their_graphs(tool: Any, preset: Preset) -> None:
    """The demo's recipe is of the default, trained, and its tiles are those; others have random weights."""
    shape = tool("inspector.learning.cells").Shape(TILE_PX, MARGIN_PX, 1)
    if preset.name == "balanced":
        graph = (ROOT / "engines/demo/model.onnx").read_bytes()
    else:
        graph = tool("inspector.learning.export").to_onnx(
            tool("random_graph").random_graph(preset.name, shape)
        )
    assert preset.work == count_work(preset.name, graph, shape.tile_shape)


def test_ways_are_told_in_times_of_a_lines(tool: Any) -> None:
    ways = tool("bench_ways")
    strip = ways.Way("strip", "side by side", 2, True)
    head, _, *lines = ways.rate_table({ways.AS_A_LINE: [10.0, 20.0, 40.0], strip: [15.0, 30.0, 60.0]})
    assert len(cells(head)) == 5
    assert [cells(line) for line in lines] == [
        [
            "tiles, as a line runs them",
            "OpenVINO's choice",
            "OpenVINO's choice",
            "20.0 (12.0 to 36.0)",
            "1.00",
        ],
        ["strips of 320x2112 px, side by side", "2", "yes", "30.0 (18.0 to 54.0)", "1.50"],
    ]


def test_a_roof_on_both_sides_of_its_knee(tool: Any) -> None:
    roof = tool("roofline").Roof({"fp32": 100.0}, bytes_s=20.0)
    assert roof.attainable("fp32", 4.0) == 80.0  # bound by memory
    assert roof.attainable("fp32", 5.0) == 100.0
    assert roof.attainable("fp32", 50.0) == 100.0  # bound by arithmetic
    assert roof.attainable("int8", 50.0) is None


@pytest.mark.parametrize("count", [3, 40])
def test_a_roofline_is_as_high_as_its_list_of_names(tool: Any, count: int) -> None:
    roofline = tool("roofline")
    points = [roofline.Point(f"graph {n}", 10.0 + n, 1e10 + n) for n in range(count)]
    picture = roofline.drawn(roofline.Roof({"fp32": 1e11}, bytes_s=2e10), points)
    height = int(re.search(r'viewBox="0 0 \d+ (\d+)"', picture)[1])  # type: ignore[index]
    lowest = max(float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)"', picture))
    assert lowest < height < lowest + 40


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


# -- pareto.py and packs.py ---------------------------------------------------------------------------------


def test_presets_are_those_that_both_files_know_float_and_int8_apart(tool: Any) -> None:
    pareto = tool("pareto")
    rates = {
        "fast, OpenVINO fp32, batch 1, 1 threads": 50.0,
        "fast, OpenVINO fp32, batch 1, 2 threads": 90.0,
        "fast, OpenVINO bf16, batch 1, 2 threads": 95.0,
        "fast, OpenVINO bf16, batch 4, 2 threads": 300.0,  # a line runs a tile at a time
        "fast, OpenVINO int8, batch 1, 2 threads": 120.0,
        "fast, ONNX Runtime fp32, batch 1, 2 threads": 999.0,
        "fast in tiles of 512 px, OpenVINO fp32, batch 1, 2 threads": 999.0,
        "faster, OpenVINO fp32, batch 1, 2 threads": 200.0,
        "balanced, OpenVINO int8, batch 1, 2 threads": 40.0,
    }
    grid, tilda, tiles = "mvtec_grid", "tilda_fabric_a", "aitex_fabric02"
    figures = {
        "preset fast: L4 L8 L16": {
            grid: [90.0, 0.0, 80.0],
            tilda: [100.0, 0.0, 10.0],
            tiles: [1.0, 1.0, 1.0],
        },
        "preset fast, int8": {grid: [88.0, 0.0, 78.0], tilda: [98.0, 0.0, 10.0]},
        "preset faster, int8": {grid: [1.0, 1.0, 1.0]},  # not in the bench
    }
    found, packs = pareto.presets(rates, figures)
    assert packs == [grid, tilda]
    assert [(one.name, one.precision, one.tiles_per_s) for one in found] == [
        ("fast", "bf16", 95.0),
        ("fast", "int8", 120.0),
    ]
    assert [(one.auroc, one.aupro) for one in found] == [
        (95.0, 80.0),
        (93.0, 78.0),
    ]  # TILDA's masks are coarse


def test_names_in_the_plot_lie_over_nothing(tool: Any) -> None:
    pareto = tool("pareto")
    names = ["paper's graph", "balanced", "fast"]
    found = [pareto.Preset(name, kind, 1.0, 0.0, 0.0) for name in names for kind in ("fp32", "int8")]
    places = [(100.0, 100.0), (104.0, 100.0), (110.0, 96.0), (112.0, 80.0), (130.0, 90.0), (131.0, 60.0)]
    boxes = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    for name, (x, y) in zip(names, pareto.labelled(names, found, places), strict=True):
        half = pareto.CHAR_PX * len(name) / 2
        box = (x - half, y - pareto.LINE_PX, x + half, y)
        for other in boxes:
            assert box[0] >= other[2] or box[2] <= other[0] or box[1] >= other[3] or box[3] <= other[1]
        boxes.append(box)


def test_a_packs_row_beside_its_marks(tool: Any) -> None:
    packs = tool("packs")
    found = {
        name: value
        for key, (middle, low, high) in {
            "image_auroc": (0.9, 0.8, 1.0),
            "tile_auroc": (0.881, 0.8, 0.95),
            "pixel_auroc": (0.97, 0.95, 0.99),
            "aupro": (0.95, 0.9, 1.0),
        }.items()
        for name, value in ((key, middle), (f"{key}_ci95", (low, high)))
    }
    squeezed = found | {"resize": 256, "tiles_per_second": 34.6}
    assert cells(packs.row("mvtec_grid", 61.4, squeezed)) == [
        "mvtec_grid",
        "90.0 (80.0 to 100.0); 98.8",
        "97.0 (95.0 to 99.0); 97.6",
        "**95.0** (90.0 to 100.0); 93.5",
        "-",
        "61",
        "35",
    ]
    assert cells(packs.row("tilda_fabric_a", 1.0, squeezed))[1:5] == [
        "90.0 (80.0 to 100.0); 99",
        "-",
        "-",
        "-",
    ]
    few = squeezed | {"image_auroc": 1.0, "image_auroc_ci95": (1.0, 1.0)}
    assert cells(packs.row("tilda_fabric_a", 1.0, few))[1] == "**100.0**; 99", "so few images promise nothing"
    native = found | {"resize": None, "tiles_per_second": 1.0}
    assert cells(packs.row("aitex_fabric02", 1.0, native))[:5] == [
        "aitex_fabric02 (tiles)",
        "**88.1** (80.0 to 95.0); 88",
        "97.0 (95.0 to 99.0); 98.5",
        "**95.0** (90.0 to 100.0); 94",
        "90.0 (80.0 to 100.0); 95.5",
    ]


# -- loom_runs.py -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (
            0,
            0.0,
            5.991 / 2,
        ),  # chi-square of 2 (count + 1) degrees of freedom at 95 %, of 2 count at 5 %, halved
        (1, 0.1026 / 2, 9.488 / 2),
        (8, 7.962 / 2, 28.869 / 2),
    ],
)
def test_garwoods_bounds_are_half_of_chi_squares(tool: Any, count: int, low: float, high: float) -> None:
    assert tool("loom_runs").bounds(count) == pytest.approx((low, high), abs=6e-4)


def test_escapes_and_false_alarms_per_100_m(tool: Any) -> None:
    runs = [
        {"truth": {"inspected_m": 300.0, "false_alarms": 0, "faults": 60, "found": 55}},
        {"truth": {"inspected_m": 100.0, "false_alarms": 0, "faults": 20, "found": 17}},
    ]
    assert tool("loom_runs").told(runs, 1.0) == [
        "2 webs, 400 m inspected: 0 false alarms, 0.00 per 100 m (90% sure between 0.00 and 0.75);",
        "web by web 0, 0. Asked for: 1.",
        "8 of 80 faults escaped (recall 90.0%): 2.00 per 100 m (90% sure between 1.00 and 3.61).",
        "The webs have 20.0 faults per 100 m.",
    ]


def test_alarms_of_one_web_alone_leave_a_rate_less_sure_than_as_many_of_all(tool: Any) -> None:
    runs = tool("loom_runs")
    assert runs.per_100m([2] * 5, [100.0] * 5) == "2.00 per 100 m (90% sure between 1.09 and 3.39)"
    assert runs.bounds_by_web([2] * 5, [100.0] * 5) == pytest.approx((0.02, 0.02))
    low, high = runs.bounds_by_web([10, 0, 0, 0, 0], [100.0] * 5)
    assert (low, high) == pytest.approx((0.0, 0.06))
    assert runs.per_100m([10, 0, 0, 0, 0], [100.0] * 5).endswith("between 0.00 and 6.00)")


def test_no_recipe_has_seen_a_web_that_it_is_tried_on(tool: Any) -> None:
    demo, runs, trial = tool("make_demo_engine"), tool("loom_runs"), tool("limit_trial")
    seen = {*demo.TRAIN_SEEDS, *demo.CALIBRATE_SEEDS}
    assert seen.isdisjoint(range(runs.FIRST_SEED, runs.FIRST_SEED + 100))
    assert max(seen) < min(trial.GOOD_SEEDS, trial.FAULTY_SEEDS)
    learnt = load_recipe(ROOT / "engines" / "demo").training.learnt
    assert {int(name[4:7]) for name in learnt} <= set(demo.TRAIN_SEEDS)


# -- ablation.py --------------------------------------------------------------------------------------------


def tiny_maps(ablation: Any) -> Any:
    """Six good tiles and two to test, of noise, with a noisier rim; L16's maps get twice as far on good tiles."""
    rng = np.random.default_rng(0)
    names = [f"{layer} {kind}" for layer in ablation.JUDGED for kind in ablation.KINDS]
    names.remove("L32 size")
    cells, tiles = ablation.CELLS, 8
    maps = rng.normal(0, 1, (tiles, len(names), cells, cells)).astype(np.float32)
    maps[:, :, :2] *= 5
    maps[:6, names.index("L16 direction"), 30, 30:36] = 20
    tone = rng.normal(0, 0.01, (tiles, 7, cells, cells)).astype(np.float32)
    sides = np.zeros((tiles, 4), np.float32)
    masks = np.zeros((2, ablation.TILE_PX, ablation.TILE_PX), np.uint8)
    return ablation.Maps(
        names, maps[:6], sides[:6], maps[6:], sides[6:], tone[:6], sides[:6], tone[6:], masks,
        np.arange(2), np.array([False, True]), maps[:6], sides[:6], np.ones((6, cells, cells), np.uint8),
    )  # fmt: skip


def test_maps_that_say_more_of_drawn_faults_weigh_more(tool: Any) -> None:
    ablation = tool("ablation")
    weights, good = ablation.torch.full((2,), 0.5), ablation.torch.ones((3, 2, 4, 4))
    drawn, at = good.clone(), ablation.torch.zeros((3, 4, 4))
    drawn[:, 0, 1, 1] = 8.0  # on the fault
    drawn[:, 1, 2, 2] = 8.0  # beside it
    at[:, 1, 1] = 1.0
    told = ablation.telling_first(weights, good, drawn, at)
    assert told.sum() == pytest.approx(1.0)
    assert told[0] / told[1] == pytest.approx(np.log(9) / np.log(2), rel=1e-4)
    tiles = np.random.default_rng(0).integers(90, 160, (2, 320, 320), dtype=np.uint8)
    faulty, cells = ablation.with_drawn(tiles)
    assert len(faulty) == len(cells) == 6 * 4 * 4
    assert cells.any((1, 2)).all()


def test_every_training_is_a_row_and_every_row_has_its_training(tool: Any) -> None:
    ablation = tool("ablation")
    assert {row.training for row in ablation.rows()} == set(ablation.TRAININGS)
    names = [row.name for row in ablation.rows()]
    assert len(names) == len(set(names))
    assert {row for _, _, row in tool("pareto").ROWS} <= set(names)


def test_figures_are_kept_among_those_of_other_runs(tool: Any, tmp_path: Path) -> None:
    ablation, file = tool("ablation"), tmp_path / "figures.json"
    ablation.keep_figures(
        file, {("paper", "cloth"): [(98.2, 97.2, 91.5)], ("fast", "cloth"): [(1.0, 2.0, 3.0)]}
    )
    ablation.keep_figures(file, {("fast", "cloth"): [(90.0, 80.0, 70.0), (91.0, 81.004, 70.0)]})
    assert json.loads(file.read_text()) == {
        "paper": {"cloth": [98.2, 97.2, 91.5]},
        "fast": {"cloth": [90.5, 80.5, 70.0]},
    }


def test_constants_of_the_middle_raise_a_rim_that_is_noisier(tool: Any) -> None:
    ablation = tool("ablation")
    maps, default = tiny_maps(ablation), ablation.rows()[0]
    by_name = {row.name: row for row in ablation.rows()}
    _, usual = ablation.fused(default, maps)
    _, middles = ablation.fused(by_name["constants of the middle everywhere"], maps)
    assert np.isfinite(middles).all()
    assert middles[:, :2].max() > 1.5 * usual[:, :2].max()


def test_a_map_that_gets_far_on_good_tiles_weighs_less(tool: Any) -> None:
    ablation = tool("ablation")
    good = ablation.torch.zeros(2, 2, 4, 4)
    good[:, 0, 0, 0], good[0, 1, 3, 3], good[1, 1, 0, 3] = 2.0, 6.0, 2.0
    weights = ablation.quiet_first(ablation.torch.tensor([0.5, 0.5]), good)
    assert weights.tolist() == pytest.approx([2 / 3, 1 / 3])
    maps, rows = tiny_maps(ablation), {row.name: row for row in ablation.rows()}
    maps.test[:, maps.names.index("L16 direction"), 40, 40:44] = 20
    usual, weighed = (
        ablation.fused(row, maps)[1][:, 40, 40:44].mean()
        for row in (ablation.rows()[0], rows["maps weigh less, the noisier on good web"])
    )
    assert 0 < weighed < 0.9 * usual
