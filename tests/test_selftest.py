"""The long self-test against engines that are well, and against such as aren't: real ones, a check at a time."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from inspector import config
from inspector.backends import build_engine, golden, open_backend, proving, rate, tensorrt
from inspector.backends.company import SIZES, Alone, neighbours_for
from inspector.backends.machine import without_folders
from inspector.backends.rate import Rounds
from inspector.backends.runtime import Unsuited
from inspector.cli import main
from inspector.config import Site
from inspector.interfaces import Backend
from inspector.records import ScoreMap, TileBatch
from inspector.selftest import self_test
from inspector.selftest.load import load_of, rows_of_tiles
from inspector.tiling import Grid
from tests.graphs import POISON, SIDE_PX, tiny_graph, write_tiny_recipe

CHECKS = ["golden", "faults", "batch", "neighbours", "again", "extremes", "rate"]
PLANT = """\
plant = "small"
[line.1]
recipe = "tiny"
camera = {{ {camera} }}
web = {{ width_mm = 51.2, mm_per_px = 0.2, encoder_counts_per_m = 10000, speed_m_min = 0.001{web} }}
tiles = {{ size_mm = 6.4, overlap_mm = 0.8 }}
engine = {{ backend = "{backend}", threads = 1 }}
bus = {{ verdicts = "tcp://127.0.0.1:*", maps = "tcp://127.0.0.1:*", replay = "tcp://127.0.0.1:*" }}
"""


def plant(
    folder: Path,
    backend: str = "onnxruntime",
    graph: bytes | None = None,
    camera: str = 'kind = "loom", width_px = 256, height_px = 64',
    web: str = "",
) -> Site:
    """A plant of one line and a tiny recipe, its engine built."""
    (folder / "config.toml").write_text(PLANT.format(backend=backend, camera=camera, web=web))
    site = config.load(folder / "config.toml")
    write_tiny_recipe(site.engines / "tiny", graph=graph)
    build_engine(site.engines / "tiny", backend)
    return site


def selftest(folder: Path) -> tuple[Result, dict[str, Any]]:
    """The command, and the report that it wrote: valid JSON, which knows no NaN."""
    words = ["selftest", "--line", "1", "--seconds", "0.01", "--config", str(folder / "config.toml")]
    result = CliRunner().invoke(main, [*words, "--report", str(folder / "report.json")])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return result, json.loads((folder / "report.json").read_text(), parse_constant=refuse)


def results(report: dict[str, Any]) -> dict[str, str]:
    return {row["check"]: row["result"] for row in report["rows"]}


def failing(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """What the command says fails, with the engine's exit code."""
    result, report = selftest(folder)
    assert result.exit_code == 4, result.output
    assert result.stderr == (
        f"inspector: line 1: the engine fails its self-test: {', '.join(report['failed'])}\n"
    )
    assert report["passed"] is False
    assert result.stdout.splitlines()[-1] == f"NOT well: {', '.join(report['failed'])}"
    return report["failed"], report


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_engine_that_is_well(tmp_path: Path, backend: str) -> None:
    site = plant(tmp_path, backend)
    result, report = selftest(tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert results(report) == {"limits": "warn"} | dict.fromkeys(CHECKS, "ok")
    assert result.stdout.splitlines()[-1] == "the engine is well"
    engine = report["engine"]
    assert (engine["recipe"], engine["backend"], engine["threads"]) == ("tiny", backend, 1)
    assert re.fullmatch("[0-9a-f]{64}", engine["engine_sha256"])
    assert len(report["golden"]) == golden.COUNT
    assert all(one["off_reference"] <= 1 for one in report["golden"])
    for row in report["rows"]:
        assert row["sentence"] in result.stdout
    (rate,) = (row["figures"] for row in report["rows"] if row["check"] == "rate")
    assert rate["tiles"] == 3 * 9  # of a frame of 64 rows: a row every 28 px, 9 across 256 px
    assert 0 < rate["p50_ms"] <= rate["p99_ms"]
    for text in (result.stdout, json.dumps(report)):
        assert str(site.root) not in text
        assert str(Path.home()) not in text
        for name in (socket.gethostname(), getpass.getuser()):
            assert not re.search(rf"\b{re.escape(name)}\b", text)


def test_an_engine_that_sees_its_batch_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """build-engine refuses it, unless it looks away."""
    with pytest.raises(Unsuited, match="all of these tiles in one batch"):
        plant(tmp_path, graph=tiny_graph(sees_its_batch=True))
    with monkeypatch.context() as patch:
        patch.setattr(golden, "deviation", lambda *answers: 0.0)
        site = plant(tmp_path, graph=tiny_graph(sees_its_batch=True))
    open_backend(site.engines / "tiny", "onnxruntime").close()
    failed, report = failing(tmp_path)
    assert failed == ["batch", "neighbours"]
    (batch,) = (row for row in report["rows"] if row["check"] == "batch")
    assert batch["figures"]["units"] > 1
    assert re.search(r"worst: batch of \d+, place \d+; don't run a line with it", batch["sentence"])


def test_a_tile_that_the_short_form_does_not_ask(tmp_path: Path) -> None:
    site = plant(tmp_path)
    manifest = site.engines / "tiny/manifest.toml"
    head, scores = manifest.read_text().split("golden_scores = [")
    numbers = re.findall(r"[-+.\de]+", scores)
    numbers[-1] = str(float(numbers[-1]) + 1.0)
    manifest.write_text(f"{head}golden_scores = [{', '.join(numbers)}]\n")
    open_backend(site.engines / "tiny", "onnxruntime").close()
    failed, report = failing(tmp_path)
    assert failed == ["golden"]
    assert [one["since_build"] > 1 for one in report["golden"]] == [False] * 7 + [True]


def test_an_engine_that_fails_does_so_though_nobody_reads_on(tmp_path: Path) -> None:
    site = plant(tmp_path)
    manifest = site.engines / "tiny/manifest.toml"
    text = manifest.read_text()
    manifest.write_text(re.sub(r"golden_scores = \[\s*[-+.\de]+", "golden_scores = [1e9", text, count=1))
    words = ["selftest", "--line", "1", "--seconds", "0.01", "--config", str(site.file), "--report"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "inspector", *words, str(tmp_path / "report.json")],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr == "inspector: line 1: the engine fails its self-test: golden\n"
    assert json.loads((tmp_path / "report.json").read_text())["failed"] == ["golden"]


def test_an_engine_that_an_extreme_tile_dazzles_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a build that didn't ask."""
    graph = tiny_graph(poison=255)
    (tmp_path / "config.toml").write_text(PLANT.format(backend="openvino", camera='kind = "loom"', web=""))
    folder = config.load(tmp_path / "config.toml").engines / "tiny"
    write_tiny_recipe(folder, graph=graph)
    tiles = np.random.default_rng(1).integers(60, 200, (golden.COUNT, SIDE_PX, SIDE_PX), np.uint8)
    golden.write_golden_tiles(folder, tiles)
    with monkeypatch.context() as patch:
        patch.setattr(proving, "_dazzled", lambda recipe, answers: [])
        patch.setattr(proving, "trial_tiles", lambda recipe, tiles: {proving.GOLDEN: tiles})
        build_engine(folder, "openvino")
    failed, report = failing(tmp_path)
    assert failed == ["golden", "faults", "extremes"]  # with the reference too
    (extremes,) = (row for row in report["rows"] if row["check"] == "extremes")
    assert extremes["sentence"].startswith(
        "NaN or infinity: white, one black pixel; run `inspector build-engine"
    )
    assert extremes["figures"]["white"] == "nan"


def test_an_engine_that_can_not_be_opened_is_a_report_too(tmp_path: Path) -> None:
    site = plant(tmp_path)
    (site.engines / "tiny/golden.png").unlink()
    failed, report = failing(tmp_path)
    assert failed == ["engine"]
    row = report["rows"][-1]
    assert row["sentence"] == (
        "engines/tiny/golden.png: no such file; bring it back from the backup, or run `inspector build-engine --recipe "
        "tiny --backend onnxruntime --precision fp32`"
    )
    assert report["machine"]["cpu"]


def test_a_report_that_can_not_be_written_is_found_out_before_the_work(tmp_path: Path) -> None:
    plant(tmp_path)
    words = ["selftest", "--line", "1", "--config", str(tmp_path / "config.toml")]
    result = CliRunner().invoke(main, [*words, "--report", str(tmp_path / "nowhere/report.json")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "report.json: can't be written there" in result.stderr


def test_tiles_of_another_size_are_the_configs_fault(tmp_path: Path) -> None:
    plant(tmp_path)
    file = tmp_path / "config.toml"
    file.write_text(file.read_text().replace("size_mm = 6.4", "size_mm = 12.8"))
    result = CliRunner().invoke(main, ["selftest", "--line", "1", "--config", str(file)])
    assert result.exit_code == 2
    assert "set size_mm = 6.4" in result.stderr


def test_progress_comes_to_its_end(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    self_test(plant(tmp_path), "1", 1e-3, lambda *words: told.append(words))
    assert [note for _, _, note in told][: len(CHECKS)] == CHECKS
    assert {total for _, total, _ in told} == {len(CHECKS)}
    assert all(before[0] <= after[0] for before, after in pairwise(told))


def test_what_is_no_number_differs_too_much(tmp_path: Path) -> None:
    site = plant(tmp_path)
    tiles = np.random.default_rng(1).integers(60, 200, (3, SIDE_PX, SIDE_PX), np.uint8)
    tiles[1] = POISON
    backend = open_backend(site.engines / "tiny", "onnxruntime")
    alone = Alone(backend, tiles, 10.0)
    for found in (alone.in_batches(), alone.again()):
        assert np.isnan(found.units)
        assert np.isnan(found.score_sigma)
    backend.close()


def test_neighbours_are_all_there_is_of_trouble(tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny")
    tiles = golden.made_up_tiles(recipe)
    kinds = neighbours_for(recipe, tiles)
    assert {"black", "white", "saturated noise", "faulty tiles"} <= set(kinds)
    assert (kinds["faulty tiles"] != tiles).any(axis=(1, 2)).all()


def test_batches_cross_what_tensorrt_runs_at_once() -> None:
    assert {tensorrt.MOST, tensorrt.MOST + 1, 2 * tensorrt.MOST + 1} <= set(SIZES)


@pytest.mark.parametrize(
    ("camera", "web", "rows"),
    [
        ('kind = "loom", height_px = 512', "", 3),  # 224 px apart
        ('kind = "loom", height_px = 448', "", 2),
        ('kind = "loom", height_px = 480', ", seamless = false", 2),
        ('kind = "genicam", producer = "x.cti", features = { Height = 1000 }', "", 5),
        ('kind = "genicam", producer = "x.cti"', "", 1),
        ('kind = "folder", path = "frames"', "", 1),
    ],
)
def test_how_many_rows_of_tiles_a_frame_gives(tmp_path: Path, camera: str, web: str, rows: int) -> None:
    (tmp_path / "config.toml").write_text(PLANT.format(backend="openvino", camera=camera, web=web))
    line = config.load(tmp_path / "config.toml").line("1")
    assert rows_of_tiles(line, Grid(256, 32, 32, 4))[0] == rows


@pytest.mark.parametrize(("height", "tiles"), [(32, 1), (33, 2), (60, 2), (64, 3), (88, 3)])
def test_the_load_of_frames_that_join_no_other(tmp_path: Path, height: int, tiles: int) -> None:
    """Nine tiles across, in as many rows as cover the frame: so many at once, and so many for its rows of web."""
    camera = f'kind = "loom", width_px = 256, height_px = {height}'
    (tmp_path / "config.toml").write_text(
        PLANT.format(backend="openvino", camera=camera, web=", seamless = false")
    )
    load = load_of(config.load(tmp_path / "config.toml").line("1"), Grid(32, 8, 4, 4), None)
    rows_per_s = 0.001 / 60 * 1000 / 0.2
    assert (load.tiles, load.of_what) == (9 * tiles, f"a frame of {height} rows")
    assert load.needed_tiles_per_s == pytest.approx(9 * tiles * rows_per_s / height)


def test_a_load_of_frames_that_nobody_knows_the_height_of(tmp_path: Path) -> None:
    camera = 'kind = "folder", path = "frames"'
    (tmp_path / "config.toml").write_text(
        PLANT.format(backend="openvino", camera=camera, web=", seamless = false")
    )
    load = load_of(config.load(tmp_path / "config.toml").line("1"), Grid(32, 8, 4, 4), None)
    assert load.of_what.endswith("only when they are read; tiles/s are as if they joined)")
    assert load.needed_tiles_per_s == pytest.approx(9 * (0.001 / 60 * 1000 / 0.2) / 28)


def test_quantiles_are_rounds_that_were_measured() -> None:
    rate = Rounds(4, tuple(float(second) for second in range(1, 101)))
    assert rate.quantile_ms(0.99) == 100_000
    assert rate.quantile_ms(0.5) == 51_000
    assert rate.tiles_per_s == pytest.approx(4 * 100 / 5050)


class Paced:
    """A backend on a clock of its own: every batch takes a start and a time for each tile."""

    def __init__(self, backend: Backend, start_s: float, tile_s: float) -> None:
        self.info = backend.info
        self.start_s, self.tile_s = start_s, tile_s
        self.now_s = 0.0
        self.batches: list[int] = []

    def infer(self, batch: TileBatch) -> ScoreMap:
        count = len(batch.pixels)
        self.batches.append(count)
        self.now_s += self.start_s + self.tile_s * count
        return ScoreMap(batch.stamp, np.zeros((count, 1, 1)), np.zeros(count), 4, batch.origins_px)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("start_s", "tile_s", "batches", "tiles_per_s"),
    [
        (0.0, 0.2, [4], 5),  # too slow for a second batch: it was told apart by the first
        (0.0, 0.025, [4, 8, 16], 40),
        (0.04, 0.001, [4, 8, 16, 21, 21, 21, 21, 21], 21 / 0.061),  # a frame's tiles, again and again
    ],
)
def test_a_glance_is_over_in_about_a_second_and_sees_the_lines_own_batch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start_s: float,
    tile_s: float,
    batches: list[int],
    tiles_per_s: float,
) -> None:
    plant(tmp_path)
    backend = open_backend(tmp_path / "engines" / "tiny", "onnxruntime", 1)
    paced = Paced(backend, start_s, tile_s)
    backend.close()
    monkeypatch.setattr(rate.time, "monotonic", lambda: paced.now_s)
    assert rate.glance_rate(paced, 21) == pytest.approx(tiles_per_s)
    assert paced.batches == batches
    assert paced.now_s < 1.0


def test_folders_are_left_out_of_sentences() -> None:
    told = (
        "/srv/plant a/engines/x/plan: can't load (/opt/some one/lib/libx.so: at 15 tiles/s, /usr/lib/liby.so)"
    )
    root = Path("/srv/plant a")
    assert "srv" not in without_folders(told, root)
    assert (
        without_folders("at 15 tiles/s of engines/x, /usr/lib/y.so", root)
        == "at 15 tiles/s of engines/x, y.so"
    )
