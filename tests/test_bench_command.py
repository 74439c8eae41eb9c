"""`inspector bench`: every way that this machine has to run a line's recipe, in turn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from inspector.backends import build_engine, golden, gpu, onnxruntime, proving, tensorrt
from inspector.backends.artifact import Recipe, load_manifest
from inspector.backends.rate import Rounds
from inspector.backends.runtime import Means
from inspector.cli import main
from inspector.selftest import bench
from inspector.selftest.load import Load
from inspector.selftest.ways import Bench, Timed, Way
from tests.test_selftest import plant

NOW = Way("openvino", "fp32")
OTHER = Way("onnxruntime", "fp32")
APART = Way("tensorrt", "fp16", apart=True)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("built", ["openvino", "onnxruntime"])
def test_all_that_a_cpu_has_takes_its_turns(tmp_path: Path, built: str) -> None:
    site = plant(tmp_path, built)
    before, said, turns = content(tmp_path), [], []
    found = bench(site, "1", 0.2, ["openvino", "onnxruntime"], said.append, lambda *turn: turns.append(turn))
    names = [one.way.name for one in found.timed]
    assert names[-1] == "onnxruntime fp32"
    assert "openvino fp32" in names
    assert [turn[2] for turn in turns] == names * (len(turns) // len(names)), "in turn"
    assert all(0 <= done <= total for done, total, _ in turns)
    assert all(one.tiles_per_s[1] > 0 and one.p99_ms > 0 for one in found.timed)
    assert found.load == Load(27, "a frame of 64 rows", pytest.approx(27 * 0.001 / 60 / (3 * 28 * 0.2e-3)))
    assert found.built is not None
    assert found.built.backend == built
    assert found.text().count("(now)") == 1
    assert content(tmp_path) == before, "what a line reads stays as it is"


def test_an_engine_that_the_line_would_refuse_is_not_its_own(tmp_path: Path) -> None:
    """Of another machine: nobody is to be told that there is nothing to do."""
    site = plant(tmp_path)
    file = site.engines / "tiny/manifest.toml"
    device = load_manifest(file.parent, "").engines["onnxruntime"].device  # type: ignore[union-attr]
    file.write_text(file.read_text().replace(device, "another CPU"))
    one = bench(site, "1", 0.1, ["onnxruntime"])
    assert one.built is None
    assert one.advice().startswith("onnxruntime fp32 is the fastest here: run `inspector build-engine")
    file.write_text(file.read_text().replace("another CPU", device))
    assert bench(site, "1", 0.1, ["onnxruntime"]).built is not None
    (file.parent / golden.FILE).write_bytes(b"damaged")
    assert bench(site, "1", 0.1, ["onnxruntime"]).built is None


def timed(way: Way, *tiles_per_s: float) -> Timed:
    return Timed(way, "1", "a CPU", tuple(Rounds(8, (8 / rate,)) for rate in tiles_per_s))


def found(built: Way | None, *ways: Timed) -> Bench:
    return Bench("3", "rib", Load(8, "a frame of 64 rows", 90.0), built, list(ways), ["x is left out: y"])


def test_ways_are_told_fastest_first_and_against_the_lines_own_turn_by_turn() -> None:
    text = found(NOW, timed(NOW, 100, 50, 100), timed(OTHER, 200, 100, 400)).text()
    rows = [line for line in text.splitlines() if line.startswith(("openvino", "onnxruntime"))]
    assert rows[0].split() == ["onnxruntime", "fp32", "200", "(120", "to", "360)", "80.0", "ms", "2.00"]
    assert rows[1].split() == ["openvino", "fp32", "100", "(60", "to", "100)", "160.0", "ms", "1.00", "(now)"]
    assert "x is left out: y" in text.splitlines()


@pytest.mark.parametrize(
    ("built", "others", "advice"),
    [
        (
            NOW,
            [timed(OTHER, 90, 99, 99)],
            "the line's own engine, openvino fp32, is the fastest here, or as fast as the turns can tell",
        ),
        (
            NOW,
            [timed(OTHER, 99, 110, 120)],  # a tenth of its turns are below most of the line's own
            "the line's own engine, openvino fp32, is the fastest here, or as fast as the turns can tell",
        ),
        (
            NOW,
            [timed(APART, 200, 210, 220)],
            (
                "tensorrt fp16, three engines is the fastest here: run `inspector build-engine --recipe rib --backend "
                'tensorrt --precision fp16 --apart` and set backend = "tensorrt" for line 3'
            ),
        ),
        (
            OTHER,
            [timed(OTHER, 50, 51, 52), timed(Way("onnxruntime", "bf16"), 200, 210, 220)],
            (
                "onnxruntime bf16 is the fastest here: run `inspector build-engine --recipe rib --backend onnxruntime "
                "--precision bf16`"
            ),
        ),
        (
            APART,
            [timed(OTHER, 90, 99, 99)],
            (
                "openvino fp32 is the fastest of those tried; the line's own, tensorrt fp16, three engines, is none of "
                "them"
            ),
        ),
        (
            None,
            [],
            (
                "openvino fp32 is the fastest here: run `inspector build-engine --recipe rib --backend openvino "
                '--precision fp32` and set backend = "openvino" for line 3'
            ),
        ),
    ],
)
def test_what_to_type(built: Way | None, others: list[Timed], advice: str) -> None:
    assert found(built, timed(NOW, 100, 101, 104), *others).advice() == advice


@pytest.fixture
def gpu_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Means]:
    """TensorRT and a GPU by name; what runs is ONNX Runtime."""
    built: list[Means] = []

    def build_plan(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
        built.append(means)
        return f"{precision} {means.apart}".encode()

    def open_runtime(recipe: Recipe, graph: bytes, *rest: Any) -> Any:
        return onnxruntime.open_runtime(
            recipe, (tmp_path / "engines/tiny/model.onnx").read_bytes(), b"", "fp32", 1
        )

    monkeypatch.setattr(tensorrt, "library_version", lambda: "tensorrt 10.16.1.11")
    monkeypatch.setattr(tensorrt, "device_name", lambda: "NVIDIA L4, SM89, CUDA 12.4")
    monkeypatch.setattr(tensorrt, "build_plan", build_plan)
    monkeypatch.setattr(tensorrt, "open_runtime", open_runtime)
    monkeypatch.setattr(gpu, "DRIVER_VERSION", tmp_path / "version")
    return built


def test_with_tensorrt_one_engine_and_three_take_turns(tmp_path: Path, gpu_by_name: list[Means]) -> None:
    site = plant(tmp_path)
    one = bench(site, "1", 0.1, ["tensorrt"])
    ways = [(one.way.precision, one.way.apart) for one in one.timed]
    assert ways == [(precision, apart) for apart in (False, True) for precision in ("fp16", "tf32", "fp32")]
    assert [means.apart for means in gpu_by_name] == [False] * 3 + [True] * 3
    assert one.built == OTHER, "the line's own, which isn't among them"
    build_engine(site.engines / "tiny", "tensorrt", "fp16", means=Means(apart=True))
    line = msgspec.structs.replace(
        site.line("1"), engine=msgspec.structs.replace(site.line("1").engine, backend="tensorrt")
    )
    site = msgspec.structs.replace(site, plant=msgspec.structs.replace(site.plant, line={"1": line}))
    assert bench(site, "1", 0.1, ["tensorrt"]).built == APART


@pytest.mark.usefixtures("gpu_by_name")
def test_a_way_that_scores_otherwise_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = plant(tmp_path)
    real, exact = proving.golden.deviation, proving.golden.TOLERANCES["fp32"]

    def deviation(seen: Any, reference: Any, tolerance: Any) -> float:
        return float(real(seen, reference, tolerance)) if tolerance == exact else 3.0

    monkeypatch.setattr(proving.golden, "deviation", deviation)
    one = bench(site, "1", 0.1, ["tensorrt"])
    assert {one.way.precision for one in one.timed} == {"fp32"}
    assert one.left_out[0].startswith(
        "tensorrt fp16 is left out: recipe tiny: the fp16 engine scores golden tiles 3.0 times further"
    )
    assert len(one.left_out) == 4


@pytest.mark.usefixtures("gpu_by_name")
def test_a_way_that_is_refused_gives_its_memory_back_before_the_next_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = plant(tmp_path)
    real, held, there = tensorrt.open_runtime, set[int](), list[int]()

    def open_runtime(*about: Any) -> Any:
        runtime = real(*about)
        there.append(len(held))
        held.add(id(runtime))
        close = runtime.close
        monkeypatch.setattr(runtime, "close", lambda: (held.discard(id(runtime)), close()), raising=False)
        return runtime

    monkeypatch.setattr(tensorrt, "open_runtime", open_runtime)
    exact = proving.golden.TOLERANCES["fp32"]
    monkeypatch.setattr(proving.golden, "deviation", lambda *rest: 0.0 if rest[-1] == exact else 3.0)
    one = bench(site, "1", 0.1, ["tensorrt"])
    assert [timed.way.apart for timed in one.timed] == [False, True], "fp32 alone"
    assert there == [0, 0, 0, 1, 1, 1]
    assert held == set()


def command(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(main, ["bench", "--config", str(folder / "config.toml"), "--line", "1", *words])


def test_the_command_prints_the_table_and_writes_all_figures(tmp_path: Path) -> None:
    plant(tmp_path)
    report = tmp_path / "bench.json"
    ran = command(tmp_path, "--seconds", "0.1", "--backend", "onnxruntime", "--report", str(report))
    assert ran.exit_code == 0, ran.output
    figures = json.loads(report.read_text())
    (way,) = figures["ways"]
    assert (way["backend"], way["precision"], way["apart"]) == ("onnxruntime", "fp32", False)
    assert np.median(way["turns_tiles_per_s"]) == way["tiles_per_s"]
    assert figures["advice"] in ran.output
    assert str(tmp_path) not in report.read_text()


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
    ran = command(tmp_path, "--seconds", "0.1", "--backend", "tensorrt")
    assert ran.exit_code == 4
    assert "recipe tiny runs in no way here: tensorrt is left out: neither tensorrt nor" in ran.output


def test_a_way_that_fails_at_work_is_left_out_and_the_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path)
    real, turns = onnxruntime.OrtRuntime.run, []

    def run(self: Any, tiles: Any, *rest: Any) -> None:
        turns.append(len(tiles))
        if turns.count(27) == 3:  # in its second turn; the first has a batch to warm up
            raise RuntimeError("out of memory")
        real(self, tiles, *rest)

    monkeypatch.setattr(onnxruntime.OrtRuntime, "run", run)
    ran = command(tmp_path, "--seconds", "0.01", "--backend", "openvino", "--backend", "onnxruntime")
    assert ran.exit_code == 0, ran.output
    assert (
        "onnxruntime fp32 is left out: recipe tiny: onnxruntime fails at scoring tiles (out of memory)"
        in ran.output
    )
    assert "openvino fp32" in ran.output


def test_turns_come_to_the_seconds_asked_for_however_slow_a_way_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of many tiles takes seconds; twenty turns of half a second would be minutes."""
    site = plant(tmp_path)
    taken: list[tuple[int, bool]] = []

    def slow(engine: Any, seconds: float, tiles: int, *, is_warm: bool) -> Rounds:
        taken.append((tiles, is_warm))
        return Rounds(tiles, (5.0,))

    monkeypatch.setattr(sys.modules["inspector.selftest.bench"], "measure_rate", slow)
    (one,) = bench(site, "1", 20.0, ["onnxruntime"]).timed
    assert [len(turn.seconds) for turn in one.turns] == [1, 1, 1, 1]
    assert [is_warm for _, is_warm in taken] == [False, True, True, True]


def test_the_lines_own_portable_engine_takes_turns_too(tmp_path: Path, gpu_by_name: list[Means]) -> None:
    """It may be slower than one for this GPU alone, and what to type keeps what its owner chose it for."""
    site = plant(tmp_path)
    build_engine(site.engines / "tiny", "tensorrt", "fp16", means=Means(portable=True))
    line = msgspec.structs.replace(
        site.line("1"), engine=msgspec.structs.replace(site.line("1").engine, backend="tensorrt")
    )
    site = msgspec.structs.replace(site, plant=msgspec.structs.replace(site.plant, line={"1": line}))
    gpu_by_name.clear()
    one = bench(site, "1", 0.1, ["tensorrt"])
    assert one.built == Way("tensorrt", "fp16", portable=True)
    assert [means.portable for means in gpu_by_name] == [False] * 6 + [True]
    assert one.text().count("(now)") == 1
    assert "--precision fp16 --portable`" in one.built.command("tiny")
    build_engine(site.engines / "tiny", "tensorrt", "fp16", means=Means(workspace_mb=512))
    gpu_by_name.clear()
    one = bench(site, "1", 0.1, ["tensorrt"])
    assert one.built == Way("tensorrt", "fp16", workspace_mb=512)
    assert [means.workspace_mb for means in gpu_by_name] == [None] * 6 + [512]
    assert "tensorrt fp16, workspace 512 MB" in one.text()
    for plan in (site.engines / "tiny/plans").glob("*.plan"):
        plan.unlink()
    assert bench(site, "1", 0.1, ["tensorrt"]).built is None, "a line without its plan can't start"


def test_an_engine_that_fails_at_work_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path)
    real, calls = onnxruntime.OrtRuntime.run, []

    def run(self: Any, tiles: Any, *rest: Any) -> None:
        calls.append(len(tiles))
        if len(tiles) == 27:  # of a frame: the bench's own
            raise RuntimeError("out of memory")
        real(self, tiles, *rest)

    monkeypatch.setattr(onnxruntime.OrtRuntime, "run", run)
    ran = command(tmp_path, "--seconds", "0.1", "--backend", "onnxruntime")
    assert ran.exit_code == 4
    assert "onnxruntime fails at scoring tiles (out of memory)" in ran.output
    assert "Traceback" not in ran.output


def test_a_line_that_is_not_there(tmp_path: Path) -> None:
    plant(tmp_path)
    ran = CliRunner().invoke(main, ["bench", "--config", str(tmp_path / "config.toml"), "--line", "9"])
    assert ran.exit_code == 2
