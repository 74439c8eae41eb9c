"""TensorRT's builder half, run for real: TensorRT for RTX parses and builds without a GPU and without a driver.

Nothing here runs a plan: what a GPU makes of it, and how fast, is not shown.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import msgspec
import onnx
import pytest

from inspector.backends import tensorrt
from inspector.backends.apart import JUDGING, PARTS, TEACHERS, Apart
from inspector.backends.artifact import Recipe, load_recipe
from inspector.backends.cutting import cut_apart
from inspector.backends.runtime import Means, Unsuited
from inspector.errors import ArtefactError
from tests.graphs import SIDE_PX, tiny_graph, write_tiny_recipe

MEANS = Means()
DEMO = Path(__file__).parent.parent / "engines" / "demo"

try:
    trt = importlib.import_module(tensorrt.library_version().split()[0])
except ArtefactError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return write_tiny_recipe(tmp_path / "tiny")


def refusal(recipe: Recipe, graph: bytes) -> str:
    with pytest.raises(ArtefactError) as caught:
        tensorrt.build_plan(recipe, graph, "fp32", MEANS)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_the_library_imports_without_cuda() -> None:
    code = (
        "import sys; from inspector.backends import tensorrt; print(tensorrt.library_version());"
        "print(sorted({'cuda', 'pycuda', 'onnx', 'torch'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    version, loaded = ran.stdout.splitlines()
    assert version.startswith("tensorrt")
    assert loaded == "[]"


@pytest.mark.parametrize("missing", ["Builder", "OnnxParser"])
def test_a_library_that_makes_no_builder(
    recipe: Recipe, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the driver is too old for it, the binding has no other word than this TypeError."""

    def none(*arguments: object) -> None:
        arguments[-1].log(trt.ILogger.WARNING, "CUDA initialization failure with error: 35")  # type: ignore[attr-defined]
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt, missing, none)
    assert refusal(recipe, tiny_graph()) == (
        "TensorRT doesn't start (CUDA initialization failure with error: 35); see that the GPU's driver is there and "
        "new enough for it (nvidia-smi tells its version)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", tensorrt.precisions())
def test_the_demo_recipes_graph_becomes_a_plan(precision: str) -> None:
    recipe, graph = load_recipe(DEMO), (DEMO / "model.onnx").read_bytes()
    plan = tensorrt.build_plan(recipe, graph, precision, MEANS)
    assert (
        len(plan) > len(graph) / 2
    )  # it holds the weights: not what is left of a graph that folds to a constant


@pytest.mark.parametrize("precision", tensorrt.precisions())
def test_the_network_keeps_the_graphs_contract(precision: str) -> None:
    recipe, graph = load_recipe(DEMO), (DEMO / "model.onnx").read_bytes()
    made = tensorrt.blueprint(recipe, tensorrt.typed_for(recipe, graph, precision), precision, MEANS)
    network, cells = made.network, recipe.cells
    tiles = network.get_input(0)
    assert (network.num_inputs, tiles.name, tiles.dtype.name) == (1, "tiles", "UINT8")
    assert tuple(tiles.shape) == (-1, *recipe.tile_shape)
    results = [network.get_output(index) for index in range(network.num_outputs)]
    assert [(one.name, one.dtype.name) for one in results] == [("map", "FLOAT"), ("score", "FLOAT")]
    assert [tuple(one.shape) for one in results] == [(-1, cells, cells), (-1,)]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_profile_spans_every_batch(tmp_path: Path, channels: int) -> None:
    recipe = write_tiny_recipe(tmp_path / "tiny", channels)
    made = tensorrt.blueprint(recipe, tiny_graph(channels), "fp32", MEANS)
    assert made.config.num_optimization_profiles == 1
    spans = [tuple(shape) for shape in made.profile.get_shape("tiles")]
    assert spans == [(count, *recipe.tile_shape) for count in (tensorrt.LEAST, tensorrt.BEST, tensorrt.MOST)]


def test_precision_is_the_graphs_own_and_nan_survives() -> None:
    """Types come from the graph; TF32 is the one liberty left, and fp32 doesn't take it."""
    for precision, free in (("tf32", True), ("fp16", False), ("fp32", False)):
        made = tensorrt.blueprint(load_recipe(DEMO), (DEMO / "model.onnx").read_bytes(), precision, MEANS)
        assert made.config.get_flag(trt.BuilderFlag.TF32) is free
        assert made.config.get_flag(trt.BuilderFlag.STRICT_NANS)


def test_networks_are_in_fp16_and_what_judges_is_not() -> None:
    recipe, graph = load_recipe(DEMO), (DEMO / "model.onnx").read_bytes()
    graph = tensorrt.typed_for(recipe, graph, "fp16")
    network = tensorrt.blueprint(recipe, graph, "fp16", MEANS).network
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    types: dict[str, set[str]] = {}
    for layer in layers:
        types.setdefault(layer.type.name, set()).update(
            layer.get_output(n).dtype.name for n in range(layer.num_outputs)
        )
    assert types["CONVOLUTION"] == {"HALF", "FLOAT"}
    for judging in ("REDUCE", "MATRIX_MULTIPLY", "TOPK"):
        assert "HALF" not in types[judging]
    halves = [
        one for one in layers if one.type.name == "CONVOLUTION" and one.get_output(0).dtype.name == "HALF"
    ]
    assert len(halves) == 104  # of 109: the others are tone's lines


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_the_demo_recipes_graph_becomes_a_plan_of_three(precision: str) -> None:
    recipe, graph = load_recipe(DEMO), (DEMO / "model.onnx").read_bytes()
    plan = Apart.from_bytes(tensorrt.build_plan(recipe, graph, precision, Means(apart=True)))
    assert list(plan.parts) == list(PARTS)
    assert len(plan.parts[TEACHERS]) > len(graph) / 2, "teachers are most of it"
    assert {one.itemsize for one in plan.answers} == {2 if precision == "fp16" else 4}


def test_what_judges_takes_the_answers_of_both_at_every_batch() -> None:
    recipe, graph = load_recipe(DEMO), (DEMO / "model.onnx").read_bytes()
    cut = cut_apart(tensorrt.typed_for(recipe, graph, "fp16"))
    made = tensorrt.blueprint(recipe, cut.parts[JUDGING], "fp16", MEANS, cut.answers)
    inputs = [made.network.get_input(index) for index in range(made.network.num_inputs)]
    assert {one.name for one in inputs} == {"tiles", *(one.name for one in cut.answers)}
    for answer in cut.answers:
        spans = [tuple(shape) for shape in made.profile.get_shape(answer.name)]
        assert spans == [(count, *answer.shape) for count in (tensorrt.LEAST, tensorrt.BEST, tensorrt.MOST)]


def test_a_graph_that_names_no_networks_is_one_engine(recipe: Recipe) -> None:
    with pytest.raises(Unsuited, match=r"recipe tiny: not in three engines \(no weight .* without --apart"):
        tensorrt.build_plan(recipe, tiny_graph(), "fp32", Means(apart=True))


def test_a_graph_that_names_no_networks_has_no_fp16(recipe: Recipe) -> None:
    with pytest.raises(Unsuited, match=r"recipe tiny: no fp16 \(no weight .* build with --precision tf32"):
        tensorrt.build_plan(recipe, tiny_graph(), "fp16", MEANS)
    for precision in ("tf32", "fp32"):
        assert len(tensorrt.build_plan(recipe, tiny_graph(), precision, MEANS)) > 1000


def test_too_small_a_workspace_is_told_in_tensorrts_words(recipe: Recipe) -> None:
    with pytest.raises(
        Unsuited, match=r"TensorRT can't build its graph \(.*workspace limit.*another --precision"
    ):
        tensorrt.build_plan(recipe, tiny_graph(), "fp32", Means(workspace_mb=1))
    made = tensorrt.blueprint(recipe, tiny_graph(), "fp32", Means(workspace_mb=64))
    assert made.config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 * 2**20


def test_a_portable_plan_is_for_later_versions_and_all_gpus_from_ampere_on() -> None:
    """TensorRT for RTX has both names and does neither, so what is set is looked at on a stand-in for its config."""
    flags: list[object] = []
    config = SimpleNamespace(set_flag=flags.append)
    library = SimpleNamespace(
        __name__="tensorrt",
        BuilderFlag=trt.BuilderFlag,
        HardwareCompatibilityLevel=trt.HardwareCompatibilityLevel,
    )
    tensorrt._make_portable(library, config)
    assert flags == [trt.BuilderFlag.VERSION_COMPATIBLE]
    assert config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS


def test_only_a_portable_plan_is_portable(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(tensorrt, "_make_portable", lambda _, config: made.append(config))
    tensorrt.blueprint(recipe, tiny_graph(), "fp32", MEANS)
    assert made == []
    assert made == [tensorrt.blueprint(recipe, tiny_graph(), "fp32", Means(portable=True)).config]


@pytest.mark.skipif(trt.__name__ != "tensorrt_rtx", reason="TensorRT has portable plans")
def test_tensorrt_for_rtx_has_no_portable_plans(recipe: Recipe) -> None:
    with pytest.raises(ArtefactError, match=r"TensorRT for RTX has no plans .*; leave out --portable"):
        tensorrt.build_plan(recipe, tiny_graph(), "fp32", Means(portable=True))


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_timings_are_kept_beside_the_plans(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT for RTX takes every call of a timing cache and times nothing: here it stands in for TensorRT."""
    library = ModuleType("tensorrt")
    library.__dict__.update({name: value for name, value in vars(trt).items() if name != "__name__"})
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    means = Means(timing_cache=tmp_path / "plans" / "tensorrt.timing")
    for _ in range(2):  # the second begins with what the first left
        tensorrt.build_plan(recipe, tiny_graph(), "fp32", means)
        assert (tmp_path / "plans" / "tensorrt.timing").stat().st_size > 0


def test_timings_of_another_gpu_are_left_aside(tmp_path: Path) -> None:
    file = tmp_path / "tensorrt.timing"
    file.write_bytes(b"of another")
    set_to = []

    def set_timing_cache(cache: bytes, ignore_mismatch: bool) -> bool:
        set_to.append(cache)
        return not ignore_mismatch and cache != b"of another"

    config = SimpleNamespace(create_timing_cache=lambda timings: timings, set_timing_cache=set_timing_cache)
    tensorrt._recall_timings(config, file)
    assert set_to == [b"of another", b""]


def test_an_operator_that_it_does_not_know(recipe: Recipe) -> None:
    graph = onnx.load_from_string(tiny_graph())
    for node in graph.graph.node:
        if node.op_type == "Abs":
            node.op_type = "Det"
    sentence = refusal(recipe, graph.SerializeToString())
    assert sentence.startswith("recipe tiny: TensorRT can't parse its graph (UNSUPPORTED_NODE Det: ")


def test_what_is_no_graph(recipe: Recipe) -> None:
    assert "can't parse its graph (" in refusal(recipe, b"garbage")
    assert "Failed to parse the ONNX model" in refusal(recipe, b"garbage")


def test_a_graph_whose_tiles_have_another_name(recipe: Recipe) -> None:
    """The profile is for ``tiles``; TensorRT takes it without a word and objects when it builds."""
    sentence = refusal(recipe, tiny_graph().replace(b"tiles", b"tyles"))
    assert "TensorRT can't build its graph (" in sentence
    assert "tyles" in sentence


def test_a_graph_for_tiles_of_another_size(recipe: Recipe) -> None:
    sentence = refusal(msgspec.structs.replace(recipe, tile_px=64), tiny_graph())
    assert "TensorRT can't build its graph (" in sentence
    assert str(SIDE_PX) in sentence
