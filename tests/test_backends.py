"""One contract, held against every backend that this machine can run."""

from __future__ import annotations

import errno
import importlib
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from inspector.backends import build_engine, building, golden, open_backend
from inspector.backends.artifact import Recipe, load_recipe, sha256_of, write_recipe
from inspector.backends.extremes import extreme_tiles, not_finite
from inspector.backends.onnxruntime import OrtRuntime
from inspector.backends.proving import score_with_reference, trial_tiles
from inspector.backends.runtime import Means, Unsuited, toolchain
from inspector.errors import ArtefactError, ConfigError
from inspector.interfaces import Backend
from inspector.records import U8, Stamp, TileBatch
from tests.graphs import MARGIN_PX, POISON, PX_PER_CELL, SIDE_PX, TILE_PX, tiny_graph, write_tiny_recipe

CELLS = TILE_PX // PX_PER_CELL
STAMP = Stamp("3", "SIM0001", 5, 5, 0, 10, 0, 0)
# How far a tile's score may move with its company. Exact where each tile is a request of its own.
COMPANY = {"openvino": 0.0, "onnxruntime": 1e-6, "tensorrt": 1e-3}


@dataclass(frozen=True)
class Built:
    """An engine on disk, built once for the session; tests that damage it copy it first."""

    folder: Path
    backend: str
    precision: str

    def open(self, threads: int = 0) -> Backend:
        return open_backend(self.folder, self.backend, threads)

    def copy(self, to: Path) -> Built:
        folder = to / self.folder.name
        shutil.copytree(self.folder, folder)
        return Built(folder, self.backend, self.precision)


@pytest.fixture(
    scope="session",
    params=[("openvino", "fp32"), ("openvino", "bf16"), ("onnxruntime", "fp32"), ("tensorrt", "fp32")],
    ids="-".join,
)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    backend, precision = request.param
    try:
        toolchain(backend).library_version()
        toolchain(backend).device_name()
    except ArtefactError as error:
        pytest.skip(str(error))
    if precision not in toolchain(backend).precisions():
        pytest.skip(f"this machine's device can't do {precision} with {backend}")
    folder = tmp_path_factory.mktemp("engines") / "tiny"
    write_tiny_recipe(folder)
    build_engine(folder, backend, precision)
    return Built(folder, backend, precision)


def batch_of(pixels: U8, margin_px: int = MARGIN_PX) -> TileBatch:
    origins = np.stack([np.arange(len(pixels)) * TILE_PX, np.zeros(len(pixels))], 1).astype(np.int32)
    return TileBatch(STAMP, pixels, origins, margin_px)


def grainy_tiles(count: int, seed: int = 1) -> U8:
    """One grain, its contrast rising from tile to tile, and the score with it."""
    grain = np.random.default_rng(seed).uniform(-1, 1, (SIDE_PX, SIDE_PX))
    contrast = np.linspace(10, 120, count)[:, None, None]
    return (128 + contrast * grain).astype(np.uint8)


def test_a_batch_gives_maps_scores_and_its_own_identity(built: Built) -> None:
    backend = built.open()
    batch = batch_of(grainy_tiles(5))
    seen = backend.infer(batch)
    assert seen.scores.shape == (5, CELLS, CELLS)
    assert seen.tile_scores.shape == (5,)
    assert seen.scores.dtype == seen.tile_scores.dtype == np.float32
    assert seen.stamp is batch.stamp
    assert seen.px_per_cell == PX_PER_CELL
    np.testing.assert_array_equal(seen.origins_px, batch.origins_px)
    assert backend.info.recipe == "tiny"
    assert backend.info.precision == built.precision
    backend.close()


def test_an_empty_batch_is_an_empty_answer(built: Built) -> None:
    backend = built.open()
    seen = backend.infer(batch_of(grainy_tiles(0)))
    assert seen.scores.shape == (0, CELLS, CELLS)
    assert seen.tile_scores.shape == (0,)
    backend.close()


def test_scores_are_those_of_the_reference(built: Built, tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path / "tiny")
    build_engine(tmp_path / "tiny", "onnxruntime")
    tiles = batch_of(grainy_tiles(9))
    backend, reference = built.open(), open_backend(tmp_path / "tiny", "onnxruntime")
    ours, theirs = backend.infer(tiles), reference.infer(tiles)
    tolerance = golden.TOLERANCES[built.precision]
    seen, wanted = (ours.scores, ours.tile_scores), (theirs.scores, theirs.tile_scores)
    assert golden.deviation(seen, wanted, tolerance) <= 1
    backend.close()


@pytest.mark.parametrize("spoil", ["score", "peak", "spread", "nan score", "nan cell"])
def test_a_deviation_of_any_kind_counts(spoil: str) -> None:
    maps = np.random.default_rng(0).uniform(0, 5, (3, CELLS, CELLS)).astype(np.float32)
    scores = maps.max(axis=(1, 2))
    seen_maps, seen_scores = maps.copy(), scores.copy()
    tolerance = golden.Tolerance(0.1, 0.1)
    assert golden.deviation((seen_maps, seen_scores), (maps, scores), tolerance) == 0
    match spoil:
        case "score":
            seen_scores[1] *= 1.2
        case "peak":
            seen_maps[1, 2, 3] = 6.0
        case "spread":
            seen_maps[1] = seen_maps[1, ::-1]
        case "nan score":
            seen_scores[1] = np.nan
        case "nan cell":
            seen_maps[1, 2, 3] = np.nan
    assert not golden.deviation((seen_maps, seen_scores), (maps, scores), tolerance) <= 1


@pytest.mark.parametrize("count", [1, 3, 4, 7, 33])
def test_a_tile_scores_the_same_alone_and_in_any_company(built: Built, count: int) -> None:
    backend = built.open()
    tiles = grainy_tiles(count)
    together = backend.infer(batch_of(tiles))
    alone = [backend.infer(batch_of(tiles[index : index + 1])) for index in range(count)]
    allowed = COMPANY[built.backend]
    maps = np.concatenate([one.scores for one in alone])
    np.testing.assert_allclose(together.scores, maps, rtol=allowed, atol=allowed)
    scores = np.concatenate([one.tile_scores for one in alone])
    np.testing.assert_allclose(together.tile_scores, scores, rtol=allowed, atol=allowed)
    backend.close()


def test_answers_come_in_the_order_of_the_tiles(built: Built) -> None:
    backend = built.open()
    tiles = grainy_tiles(24)
    scores = backend.infer(batch_of(tiles)).tile_scores
    assert (np.diff(scores) > 0).all()
    backwards = backend.infer(batch_of(tiles[::-1])).tile_scores  # a view that runs backwards in memory
    np.testing.assert_allclose(backwards, scores[::-1], rtol=COMPANY[built.backend])
    backend.close()


def test_an_answer_is_not_overwritten_by_the_next(built: Built) -> None:
    backend = built.open()
    first = backend.infer(batch_of(grainy_tiles(4)))
    kept = first.scores.copy()
    backend.infer(batch_of(grainy_tiles(4, seed=2)))
    np.testing.assert_array_equal(first.scores, kept)
    backend.close()


@pytest.mark.parametrize("cells", [(slice(None), slice(None)), (-1, -1), (0, 0), (3, 5)])
def test_nan_reaches_map_and_score_and_stays_with_its_tile(
    built: Built, cells: tuple[slice | int, slice | int]
) -> None:
    """One cell is enough, wherever it lies: maxima of these runtimes lose NaN in all but a few places."""
    backend = built.open()
    tiles = grainy_tiles(6)
    clean = backend.infer(batch_of(tiles))
    poisoned = np.zeros((CELLS, CELLS), bool)
    poisoned[cells] = True
    interior = tiles[2, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    interior[np.kron(poisoned, np.ones((PX_PER_CELL, PX_PER_CELL), bool))] = POISON
    seen = backend.infer(batch_of(tiles))
    np.testing.assert_array_equal(np.isnan(seen.scores[2]), poisoned)
    assert np.isnan(seen.tile_scores[2])
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(seen.scores[others], clean.scores[others])
    np.testing.assert_array_equal(seen.tile_scores[others], clean.tile_scores[others])
    backend.close()


@pytest.mark.parametrize(
    ("pixels", "margin_px"),
    [
        (np.zeros((2, SIDE_PX, SIDE_PX + 1), np.uint8), MARGIN_PX),
        (np.zeros((2, SIDE_PX, SIDE_PX, 3), np.uint8), MARGIN_PX),
        (np.zeros((2, SIDE_PX, SIDE_PX), np.float32), MARGIN_PX),
        (np.zeros((2, SIDE_PX, SIDE_PX), np.uint8), MARGIN_PX + 1),
    ],
    ids=["size", "channels", "dtype", "margin"],
)
def test_other_tiles_than_the_recipes_are_refused(built: Built, pixels: U8, margin_px: int) -> None:
    backend = built.open()
    with pytest.raises(ArtefactError, match=rf"recipe tiny takes uint8 tiles \[{SIDE_PX}, {SIDE_PX}\]"):
        backend.infer(batch_of(pixels, margin_px))
    backend.close()


def test_closing_twice_is_no_mistake(built: Built) -> None:
    backend = built.open()
    backend.close()
    backend.close()


def test_threads_change_no_score(built: Built) -> None:
    one, two = built.open(threads=1), built.open(threads=2)
    tiles = batch_of(grainy_tiles(5))
    np.testing.assert_allclose(one.infer(tiles).scores, two.infer(tiles).scores, rtol=1e-5)
    one.close()
    two.close()


def test_colour_tiles(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "colour"
    write_tiny_recipe(folder, channels=3)
    build_engine(folder, built.backend, built.precision)
    backend = open_backend(folder, built.backend)
    tiles = np.repeat(grainy_tiles(3)[..., None], 3, axis=3)
    seen, grey = backend.infer(batch_of(tiles)), built.open().infer(batch_of(grainy_tiles(3)))
    np.testing.assert_allclose(seen.tile_scores, grey.tile_scores, rtol=0.02)
    backend.close()


# What the manifest doesn't vouch for is refused: one sentence that names it and says what to type.


def refusal(built: Built) -> str:
    with pytest.raises(ArtefactError) as caught:
        built.open()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def rebuild(built: Built, *, is_known: bool = True) -> str:
    """What builds it again; in its precision where the manifest tells that."""
    precision = f" --precision {built.precision}" if is_known else ""
    return f"run `inspector build-engine --recipe tiny --backend {built.backend}{precision}`"


def edit(file: Path, pattern: str, replacement: str, inside: str = "") -> None:
    """Replace the first match, after the heading ``inside``."""
    head, heading, tail = file.read_text().partition(inside) if inside else ("", "", file.read_text())
    changed, count = re.subn(pattern, replacement, tail, count=1, flags=re.MULTILINE)
    assert count == 1
    file.write_text(head + heading + changed)


def test_tampered_graph(built: Built, tmp_path: Path) -> None:
    copy = built.copy(tmp_path)
    graph = bytearray((copy.folder / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (copy.folder / "model.onnx").write_bytes(graph)
    sentence = refusal(copy)
    assert "model.onnx: not the graph that recipe.toml vouches for" in sentence
    assert "inspector train DATA --recipe tiny" in sentence


def test_missing_graph(built: Built, tmp_path: Path) -> None:
    copy = built.copy(tmp_path)
    (copy.folder / "model.onnx").unlink()
    assert "model.onnx: no such file" in refusal(copy)


def test_stale_manifest_after_another_training(built: Built, tmp_path: Path) -> None:
    copy = built.copy(tmp_path)
    write_tiny_recipe(copy.folder, seed=1)
    sentence = refusal(copy)
    assert "built for another graph (onnx_sha256)" in sentence
    assert rebuild(copy) in sentence


def test_recipe_whose_measures_were_changed(built: Built, tmp_path: Path) -> None:
    """The graph takes the same tiles, but what of them is judged would lie elsewhere."""
    copy = built.copy(tmp_path)
    for key, value in (
        ("tile_px", TILE_PX // 2),
        ("margin_px", MARGIN_PX * 2),
        ("px_per_cell", PX_PER_CELL // 2),
    ):
        edit(copy.folder / "recipe.toml", rf"^{key} = \d+$", f"{key} = {value}")
    assert (
        "built for another kind of tiles: 32 px, margin 8 px, 4 px per cell, mono, here it is 16 px"
        in refusal(copy)
    )


@pytest.mark.parametrize(
    ("key", "what"), [("device", "device"), ("version", "library version"), ("os", "operating system")]
)
def test_engine_built_elsewhere(built: Built, tmp_path: Path, key: str, what: str) -> None:
    copy = built.copy(tmp_path)
    edit(copy.folder / "manifest.toml", rf'^{key} = ".*"$', f'{key} = "another one"')
    sentence = refusal(copy)
    assert f"built for another {what}: another one" in sentence
    assert rebuild(copy) in sentence


def test_missing_manifest(built: Built, tmp_path: Path) -> None:
    copy = built.copy(tmp_path)
    (copy.folder / "manifest.toml").unlink()
    sentence = refusal(copy)
    assert f"no engine was built for {built.backend} on this machine" in sentence
    assert rebuild(copy, is_known=False) in sentence


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        ("^schema = 1$", "schema = 2", "schema 2, but this inspector reads schema 1"),
        ("^schema = 1$", "schema = ", "not valid TOML"),
        ("^precision = ", "precisoin = ", "precisoin"),
        ('^onnx_sha256 = ".*"$', 'onnx_sha256 = "abc"', "onnx_sha256: expected"),
        ('^recipe = "tiny"$', 'recipe = "denim"', "belongs to recipe 'denim'"),
    ],
)
def test_manifest_that_is_not_ours(
    built: Built, tmp_path: Path, pattern: str, replacement: str, complaint: str
) -> None:
    copy = built.copy(tmp_path)
    edit(copy.folder / "manifest.toml", pattern, replacement)
    sentence = refusal(copy)
    assert complaint in sentence
    assert rebuild(copy, is_known=False) in sentence


def test_truncated_plan(built: Built, tmp_path: Path) -> None:
    copy = built.copy(tmp_path)
    plan = plan_of(copy)
    plan.write_bytes(plan.read_bytes()[:-100])
    sentence = refusal(copy)
    assert f"{plan}: not the file that manifest.toml vouches for" in sentence
    assert rebuild(copy) in sentence


def test_missing_plan(built: Built, tmp_path: Path) -> None:
    copy = built.copy(tmp_path)
    plan = plan_of(copy)
    plan.unlink()
    assert f"{plan}: no such file; {rebuild(copy)}" in refusal(copy)


def test_plan_that_the_library_refuses(built: Built, tmp_path: Path) -> None:
    """Vouched for, and still garbage: written by a disk or a person who changed both."""
    copy = built.copy(tmp_path)
    plan_of(copy).write_bytes(b"garbage" * 100)
    edit(
        copy.folder / "manifest.toml",
        '^plan_sha256 = ".*"$',
        f'plan_sha256 = "{sha256_of(b"garbage" * 100)}"',
    )
    sentence = refusal(copy)
    assert f"{built.backend} can't load it" in sentence
    assert rebuild(copy) in sentence


def test_another_graphs_engine_fails_its_self_test(built: Built, tmp_path: Path) -> None:
    """Every hash agrees, but what runs is not what was proved."""
    copy = built.copy(tmp_path)
    other = tmp_path / "other" / "tiny"
    write_tiny_recipe(other, seed=1)
    build_engine(other, built.backend, built.precision)
    scores = re.search(r"^golden_scores = \[[^]]*\]", (copy.folder / "manifest.toml").read_text(), re.M)
    assert scores is not None
    edit(other / "manifest.toml", r"^golden_scores = \[[^]]*\]", scores[0])
    sentence = refusal(Built(other, built.backend, built.precision))
    assert "fails its self-test" in sentence
    assert rebuild(copy) in sentence


def test_changed_golden_tiles(built: Built, tmp_path: Path) -> None:
    copy = built.copy(tmp_path)
    golden.write_golden_tiles(copy.folder, grainy_tiles(golden.COUNT))
    assert "golden.png: not the file that manifest.toml vouches for" in refusal(copy)


def plan_of(built: Built) -> Path:
    plans = list((built.folder / "plans").glob("*")) if (built.folder / "plans").exists() else []
    if not plans:
        pytest.skip(f"{built.backend} has no plan: it loads the graph itself")
    return plans[0]


# Building


def test_a_second_backend_leaves_the_firsts_entry(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    first = build_engine(folder, "onnxruntime")
    both = build_engine(folder, "openvino")
    assert both.engines["onnxruntime"] == first.engines["onnxruntime"]
    for backend in ("onnxruntime", "openvino"):
        open_backend(folder, backend).close()


def test_auto_takes_the_best_precision_there_is(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    built = build_engine(folder, "openvino").engines["openvino"]
    assert built.precision == toolchain("openvino").precisions()[0]


@pytest.mark.parametrize(
    ("backend", "asked", "can"),
    [
        ("onnxruntime", "bf16", ("fp32",)),
        ("openvino", "bf16", ("fp32",)),
        ("openvino", "fp16", ("bf16", "fp32")),
    ],
)
def test_a_precision_the_cpu_lacks_falls_back_to_its_best_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, asked: str, can: tuple[str, ...]
) -> None:
    monkeypatch.setattr(toolchain(backend), "precisions", lambda: can)
    monkeypatch.setitem(importlib.import_module("inspector.backends.openvino").NAMES, "bf16", "f32")
    write_tiny_recipe(tmp_path / "tiny")
    told: list[str] = []
    manifest = build_engine(tmp_path / "tiny", backend, asked, progress=told.append)
    assert manifest.engines[backend].precision == can[0]
    device = toolchain(backend).device_name()
    assert [sentence for sentence in told if asked in sentence] == [
        f"{asked} was asked for, but {backend} on {device} can't do it; so {can[0]} is built"
    ]
    opened = open_backend(tmp_path / "tiny", backend)
    assert opened.info.precision == can[0]
    opened.close()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_precision_that_does_not_exist(tmp_path: Path, backend: str) -> None:
    write_tiny_recipe(tmp_path / "tiny")
    with pytest.raises(
        ArtefactError, match=rf"^{backend} on .* can't do --precision fp8; it can do: (bf16, )?fp32$"
    ):
        build_engine(tmp_path / "tiny", backend, "fp8")
    assert not (tmp_path / "tiny/manifest.toml").exists()


@pytest.fixture
def poor_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO on a CPU with bf16 that is far from fp32: what it compiles then has other weights."""
    tools = importlib.import_module("inspector.backends.openvino")
    build_plan = tools.build_plan

    def poorly(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
        return bytes(
            build_plan(recipe, tiny_graph(seed=1) if precision == "bf16" else graph, precision, means)
        )

    monkeypatch.setattr(tools, "precisions", lambda: ("bf16", "fp32"))
    monkeypatch.setattr(tools, "build_plan", poorly)
    monkeypatch.setitem(tools.NAMES, "bf16", "f32")  # this CPU may have none


@pytest.mark.usefixtures("poor_bf16")
def test_an_engine_that_deviates_is_not_written(tmp_path: Path) -> None:
    """bf16 that doesn't keep up with fp32: refused with the way out, and the old engine still opens."""
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    build_engine(folder, "openvino", "fp32")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(
        ArtefactError, match=r"further from the reference than is tolerated .* --precision fp32"
    ):
        build_engine(folder, "openvino", "bf16")
    assert before == {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    open_backend(folder, "openvino").close()


@pytest.mark.usefixtures("poor_bf16")
def test_auto_goes_on_to_a_precision_that_scores_alike_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    told: list[str] = []
    assert build_engine(folder, "openvino", progress=told.append).engines["openvino"].precision == "fp32"
    assert any("the bf16 engine scores golden tiles" in sentence for sentence in told)
    open_backend(folder, "openvino").close()


def test_auto_goes_on_where_the_graph_has_no_such_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = toolchain("openvino")
    build_plan = tools.build_plan

    def no_fp16(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
        if precision == "fp16":
            raise Unsuited("recipe tiny: no fp16")
        return build_plan(recipe, graph, precision, means)

    monkeypatch.setattr(tools, "precisions", lambda: ("fp16", "fp32"))
    monkeypatch.setattr(tools, "build_plan", no_fp16)
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    told: list[str] = []
    assert build_engine(folder, "openvino", progress=told.append).engines["openvino"].precision == "fp32"
    assert "recipe tiny: no fp16; so the next precision is tried" in told
    with pytest.raises(Unsuited, match="no fp16"):
        build_engine(folder, "openvino", "fp16")


def test_plans_that_can_not_be_written_are_told_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_recipe(tmp_path)
    (folder / "plans").write_bytes(b"")
    monkeypatch.delattr(toolchain("openvino"), "build_plan")
    with pytest.raises(ArtefactError, match=r"plans: no file can be written there \(Not a directory\)"):
        build_engine(folder, "openvino")


def test_a_disk_that_fills_up_half_way_leaves_the_engine_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan still fits, the manifest doesn't."""
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    build_engine(folder, "openvino", "fp32")

    def full(engine_dir: Path, manifest: object) -> None:
        raise ArtefactError("manifest.toml: can't be written (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(building, "write_manifest", full)
        with pytest.raises(ArtefactError, match="No space left"):
            build_engine(folder, "openvino")
    open_backend(folder, "openvino").close()
    build_engine(folder, "openvino")
    assert len(list((folder / "plans").iterdir())) == 1
    open_backend(folder, "openvino").close()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_graph_that_is_no_graph(tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder, graph=b"garbage")
    with pytest.raises(
        ArtefactError, match=r"model\.onnx is no graph .* run `inspector train DATA --recipe tiny`"
    ):
        build_engine(folder, backend)


def test_a_graph_that_breaks_the_recipes_promise(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder, channels=1, graph=tiny_graph(channels=3))
    with pytest.raises(
        ArtefactError, match=r"promises 'tiles' as tensor\(uint8\) \['N', 48, 48\], but model.onnx has"
    ):
        build_engine(folder, "openvino")


def test_a_graph_that_scores_nan_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    recipe = write_tiny_recipe(folder)
    tiles = golden.made_up_tiles(recipe)
    tiles[3] = POISON
    golden.write_golden_tiles(folder, tiles)
    with pytest.raises(ArtefactError, match="scores golden tiles NaN or infinity"):
        build_engine(folder, "openvino")


def white_is_poison(folder: Path) -> bytes:
    """A graph that scores all tiles but white ones, which real golden tiles don't show."""
    graph = tiny_graph(poison=255)
    write_tiny_recipe(folder, graph=graph)
    golden.write_golden_tiles(folder, grainy_tiles(golden.COUNT))
    return graph


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_graph_that_an_extreme_tile_dazzles_is_refused(tmp_path: Path, backend: str) -> None:
    white_is_poison(tmp_path / "tiny")
    with pytest.raises(
        ArtefactError,
        match=r"^recipe tiny: its graph scores extreme tiles NaN or infinity \(white, one black pixel\), .* the recipe "
        r"is at fault; run `inspector train DATA --recipe tiny`$",
    ):
        build_engine(tmp_path / "tiny", backend)
    assert not (tmp_path / "tiny/manifest.toml").exists()


def test_an_engine_that_an_extreme_tile_dazzles_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On golden tiles it is the reference's equal; what it was compiled from is not what the reference runs."""
    tools = toolchain("openvino")
    graph, compiled = white_is_poison(tmp_path / "tiny"), tools.build_plan
    write_tiny_recipe(tmp_path / "tiny")
    monkeypatch.setattr(tools, "build_plan", lambda recipe, _, *rest: compiled(recipe, graph, *rest))
    with pytest.raises(
        ArtefactError,
        match=r"the fp32 engine scores extreme tiles NaN or infinity \(white, one black pixel\), the reference "
        r"doesn't; train again$",
    ):
        build_engine(tmp_path / "tiny", "openvino", "fp32")
    assert not (tmp_path / "tiny/manifest.toml").exists()


def cut_off(graph: bytes, sigma: float) -> bytes:
    """The same graph, whose maps end at so many sigma."""
    model = onnx.load_model_from_string(graph)
    (squeeze,) = (node for node in model.graph.node if node.output[0] == "map")
    squeeze.output[0] = "whole"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(sigma), "most"))
    place = list(model.graph.node).index(squeeze) + 1
    model.graph.node.insert(place, onnx.helper.make_node("Min", ["whole", "most"], ["map"]))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("kind", ["golden tiles with faint faults", "golden tiles with bold faults"])
def test_an_engine_that_is_wrong_about_faults_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """On good web, which scores a few sigma, it is the reference's equal; what is higher it cuts off."""
    tools = toolchain("openvino")
    recipe, graph, compiled = write_tiny_recipe(tmp_path / "tiny"), tiny_graph(), tools.build_plan
    tiles = np.random.default_rng(3).integers(110, 140, (golden.COUNT, *recipe.tile_shape), np.uint8)
    golden.write_golden_tiles(tmp_path / "tiny", tiles)
    trials = score_with_reference(recipe, graph, trial_tiles(recipe, tiles))
    lowest, highest = ({name: float(of(one[1])) for name, one in trials.items()} for of in (np.min, np.max))
    (before,) = (name for name, later in pairwise(trials) if later == kind)
    assert highest[before] < lowest[kind] / 2
    cut = cut_off(graph, 1.01 * highest[before])
    monkeypatch.setattr(tools, "build_plan", lambda recipe, _, *rest: compiled(recipe, cut, *rest))
    with pytest.raises(Unsuited, match=rf"the fp32 engine scores {kind} .* times further from the reference"):
        build_engine(tmp_path / "tiny", "openvino", "fp32")
    assert not (tmp_path / "tiny/manifest.toml").exists()


def test_an_engine_that_is_wrong_in_large_batches_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line's batches are larger than any kind of trials."""
    write_tiny_recipe(tmp_path / "tiny")
    run = OrtRuntime.run

    def forgets(self: OrtRuntime, tiles: Any, maps: Any, scores: Any) -> None:
        run(self, tiles, maps, scores)
        maps[32:], scores[32:] = 0, 0

    monkeypatch.setattr(OrtRuntime, "run", forgets)
    with pytest.raises(
        Unsuited, match=r"the fp32 engine scores all of these tiles in one batch .* further from"
    ):
        build_engine(tmp_path / "tiny", "onnxruntime", "fp32")
    assert not (tmp_path / "tiny/manifest.toml").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_extreme_tiles_are_of_the_recipes_kind(tmp_path: Path, channels: int) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny", channels=channels)
    tiles = extreme_tiles(recipe)
    assert len(tiles) == 6
    for name, tile in tiles.items():
        assert tile.shape == recipe.tile_shape, name
        assert tile.dtype == np.uint8, name
        assert set(np.unique(tile)) <= {0, 255}, name


def test_a_score_or_one_cell_that_is_no_number_is_enough() -> None:
    maps, scores = np.zeros((4, CELLS, CELLS), np.float32), np.zeros(4, np.float32)
    scores[1], maps[2, 3, 4] = np.inf, np.nan
    assert not_finite(["a", "b", "c", "d"], maps, scores) == ["b", "c"]


def test_golden_tiles_that_training_left_are_used(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    recipe = write_tiny_recipe(folder)
    tiles = grainy_tiles(golden.COUNT)
    golden.write_golden_tiles(folder, tiles)
    built = build_engine(folder, "onnxruntime").engines["onnxruntime"]
    np.testing.assert_array_equal(golden.golden_tiles(folder, recipe, ""), tiles)
    backend = open_backend(folder, "onnxruntime")
    np.testing.assert_allclose(built.golden_reference, backend.infer(batch_of(tiles)).tile_scores, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_golden_tiles_come_back_to_the_pixel(tmp_path: Path, channels: int) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny", channels=channels)
    shape = (golden.COUNT, *recipe.tile_shape)
    tiles = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    golden.write_golden_tiles(tmp_path / "tiny", tiles)
    np.testing.assert_array_equal(golden.golden_tiles(tmp_path / "tiny", recipe, ""), tiles)


@pytest.mark.parametrize("data", [b"no picture", b""])
def test_golden_tiles_that_do_not_fit_are_made_anew(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "tiny"
    recipe = write_tiny_recipe(folder)
    (folder / "golden.png").write_bytes(data)
    told: list[str] = []
    build_engine(folder, "openvino", progress=told.append)
    assert (
        f"{folder / 'golden.png'} is missing or of other tiles: 8 are made up, of a web that is not yours"
        in told
    )
    np.testing.assert_array_equal(golden.golden_tiles(folder, recipe, ""), golden.made_up_tiles(recipe))
    write_tiny_recipe(folder, channels=3)  # trained again, for another camera
    build_engine(folder, "openvino")
    open_backend(folder, "openvino").close()


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_a_precision_that_the_backend_does_not_have(tmp_path: Path, precision: str) -> None:
    """In a manifest that somebody has edited."""
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    build_engine(folder, "openvino", "fp32")
    file = folder / "manifest.toml"
    file.write_text(file.read_text().replace('precision = "fp32"', f'precision = "{precision}"'))
    with pytest.raises(ArtefactError, match=f"openvino has no precision '{precision}' here; run `inspector"):
        open_backend(folder, "openvino")


def test_an_unknown_backend(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path / "tiny")
    with pytest.raises(
        ArtefactError, match="no backend 'tensorflow'; there are: openvino, onnxruntime, tensorrt"
    ):
        build_engine(tmp_path / "tiny", "tensorflow")


def test_some_options_are_tensorrts_alone(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path / "tiny")
    with pytest.raises(
        ConfigError, match="--workspace-mb is TensorRT's; leave it out with --backend openvino"
    ):
        build_engine(tmp_path / "tiny", "openvino", means=Means(workspace_mb=64))
    with pytest.raises(ConfigError, match="--portable is TensorRT's; leave it out with --backend openvino"):
        build_engine(tmp_path / "tiny", "openvino", means=Means(portable=True))
    with pytest.raises(ConfigError, match="--apart is TensorRT's; leave it out with --backend openvino"):
        build_engine(tmp_path / "tiny", "openvino", means=Means(apart=True))


def test_tensorrt_says_what_is_missing(tmp_path: Path) -> None:
    try:
        toolchain("tensorrt").device_name()
    except ArtefactError:
        pass
    else:
        pytest.skip("this machine has TensorRT and a GPU: the contract above runs on them")
    write_tiny_recipe(tmp_path / "tiny")
    with pytest.raises(ArtefactError, match=r"install the extra|no NVIDIA GPU can be used"):
        build_engine(tmp_path / "tiny", "tensorrt")


def test_one_backend_loads_one_library_and_never_torch(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_tiny_recipe(folder)
    for backend in ("openvino", "onnxruntime"):
        build_engine(folder, backend)
        code = (
            "import sys; from pathlib import Path; from inspector.backends import open_backend;"
            f"open_backend(Path({str(folder)!r}), {backend!r}).close();"
            "print(sorted({'torch', 'openvino', 'onnxruntime', 'tensorrt', 'onnx'} & set(sys.modules)))"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert ran.stdout.strip() == f"['{backend}']"


def test_a_copied_folder_under_another_name_is_refused(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path / "tiny")
    shutil.copytree(tmp_path / "tiny", tmp_path / "denim")
    with pytest.raises(ArtefactError, match="this is recipe 'tiny' in a folder called 'denim'"):
        load_recipe(tmp_path / "denim")


def tiny_recipe(folder: Path) -> Path:
    write_tiny_recipe(folder / "tiny")
    return folder / "tiny"


def test_builds_of_one_recipe_enter_their_engines_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that end at once must not take each other's plan for a leftover, nor lose the other's entry."""
    folder = tiny_recipe(tmp_path)
    build_engine(folder, "onnxruntime")
    both = threading.Barrier(2)
    prove = building.prove

    def prove_at_once(*arguments: Any) -> Any:
        scores = prove(*arguments)
        both.wait(60)
        return scores

    monkeypatch.setattr(building, "prove", prove_at_once)
    builders = [
        threading.Thread(target=build_engine, args=(folder, backend))
        for backend in ("openvino", "onnxruntime")
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    for backend in ("openvino", "onnxruntime"):
        open_backend(folder, backend).close()


def test_a_recipe_that_was_replaced_meanwhile_gets_no_engine_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_recipe(tmp_path)
    prove = building.prove

    def retrained(*arguments: Any) -> Any:
        scores = prove(*arguments)
        recipe = load_recipe(folder)
        write_recipe(folder, msgspec.structs.replace(recipe, onnx_sha256="a" * 64))
        return scores

    monkeypatch.setattr(building, "prove", retrained)
    with pytest.raises(
        ArtefactError, match="the recipe was replaced while its engine was built; nothing is written"
    ):
        build_engine(folder, "openvino")
    assert not (folder / "manifest.toml").exists()
    assert not list(folder.glob("plans/*.plan"))


@pytest.mark.parametrize("name", ["golden.png", "manifest.toml"])
def test_what_can_not_be_read_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The training's golden tiles, or other backends' engines, would be gone for a disk that hiccups once."""
    folder = tiny_recipe(tmp_path)
    build_engine(folder, "onnxruntime")
    before = (folder / name).read_bytes()
    read = Path.read_bytes

    def hiccups(self: Path) -> bytes:
        if self.name == name:
            raise OSError(errno.EIO, "Input/output error")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", hiccups)
    with pytest.raises(
        ArtefactError, match=rf"{name}: can't be read \(Input/output error\); see that it can be read"
    ):
        build_engine(folder, "openvino")
    monkeypatch.undo()
    assert (folder / name).read_bytes() == before
