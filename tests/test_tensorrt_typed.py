"""fp16 as TensorRT would have it: what is put in fp16, and what it does to scores. Runs on ONNX Runtime, no GPU.

Rounding of every fp16 tensor is shown, sums in fp32; what a GPU does inside an operator is not.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from inspector.backends import golden
from inspector.backends.artifact import load_recipe
from inspector.backends.runtime import Unsuited
from inspector.backends.typed import in_fp16
from inspector.learning.cells import Shape
from inspector.learning.export import build_graph, to_onnx
from inspector.learning.halved import halved
from inspector.learning.students import build_students
from inspector.learning.teachers import random_teachers
from inspector.records import U8
from tests.graphs import tiny_graph

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "engines" / "demo"
SHAPE = Shape(64, 32, 1)
LENGTHS = ("ReduceL2", "Sqrt")  # what gives a feature's length, in graphs of before and since


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("fp16_deviation")


def weave(count: int) -> U8:
    rows, columns = np.mgrid[: SHAPE.side_px, : SHAPE.side_px]
    cloth = 120 + 30 * np.sin(rows * np.pi / 4) * np.sin(columns * np.pi / 4)
    noise = np.random.default_rng(0).normal(0, 12, (count, SHAPE.side_px, SHAPE.side_px))
    return np.clip(cloth + noise, 0, 255).astype(np.uint8)


def convolutions_of(pair: str) -> int:
    networks = [*random_teachers(pair, 1, 0), build_students(pair, 1, 1)]
    return sum(isinstance(module, nn.Conv2d) for network in networks for module in network.modules())


@pytest.fixture(scope="module")
def reduced() -> bytes:
    """Pair ``reduced`` with random weights, as `train` would store it."""
    torch.set_num_threads(1)
    teachers, students = random_teachers("reduced", 1, 0), build_students("reduced", 1, 1)
    return halved(to_onnx(build_graph(teachers, students.eval(), weave(4), SHAPE, pair="reduced")))


def types_of(graph: ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(graph)
    known = [*graph.graph.value_info, *graph.graph.output, *graph.graph.input]
    return {value.name: value.type.tensor_type.elem_type for value in known}


@pytest.mark.parametrize("pair", ["balanced", pytest.param("reduced", marks=pytest.mark.slow)])
def test_every_convolution_of_a_network_is_fp16_and_nothing_that_judges(
    pair: str, request: pytest.FixtureRequest
) -> None:
    """The plain pair is the demo's; fresh from the exporter it is looked at in test_learning_graph. The paper's takes
    minutes to export: `make plans`."""
    model = (DEMO / "model.onnx").read_bytes() if pair == "balanced" else request.getfixturevalue("reduced")
    graph = onnx.load_from_string(in_fp16(model))
    types = types_of(graph)
    halves = [node for node in graph.graph.node if types[node.output[0]] == TensorProto.FLOAT16]
    assert sum(node.op_type == "Conv" for node in halves) == convolutions_of(pair)
    assert {node.op_type for node in halves} <= {
        "Cast",
        "Conv",
        "Relu",
        "Clip",
        "Add",
        "Mul",
        "Sigmoid",
        "MaxPool",
        "Pad",
    }
    # Walk from the features' lengths on: all of it is fp32.
    judging = {name for node in graph.graph.node if node.op_type in LENGTHS for name in node.output}
    assert judging
    for node in graph.graph.node:
        if judging.intersection(node.input):
            judging.update(node.output)
    assert not [name for name in judging if types[name] == TensorProto.FLOAT16]
    assert {"map", "score"} <= judging
    # Pixels, 0 to 255 and normalised, are fp32 until they go into a convolution.
    assert {value.name: value.type.tensor_type.elem_type for value in graph.graph.input} == {
        "tiles": TensorProto.UINT8
    }
    assert {types["map"], types["score"]} == {TensorProto.FLOAT}


def test_the_demo_recipe_scores_alike_in_fp16(rounding: ModuleType) -> None:
    """Its networks are trained; `tools/fp16_deviation.py --recipe demo` prints every tile's."""
    recipe, graph = load_recipe(DEMO), (DEMO / "model.onnx").read_bytes()
    tiles = golden.made_up_tiles(recipe)
    seen, reference = (
        rounding.run(rounding.with_roundings(in_fp16(graph)), tiles),
        rounding.run(graph, tiles),
    )
    worst = golden.deviation(seen, reference, golden.TOLERANCES["fp16"])
    assert 0.01 < worst <= 1  # nothing moved at all would mean that nothing was rounded


def two_convolutions(weight: float = 0.3) -> bytes:
    """A network of a graph's names: Conv, ReLU, Conv."""
    rng = np.random.default_rng(0)
    prefix = "disagreement.students."
    first, second = rng.normal(0, weight, (8, 4, 3, 3)), rng.normal(0, weight, (8, 8, 1, 1))
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["tiles"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["x", f"{prefix}a"], ["a"], pads=[1] * 4),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Conv", ["b", f"{prefix}b"], ["map"]),
            helper.make_node("ReduceMax", ["map"], ["score"]),
        ],
        "two",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["N", 4, 16, 16])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("map", ["N", 8, 16, 16]), ("score", [1, 1, 1, 1]))
        ],
        [
            numpy_helper.from_array(values.astype(np.float32), f"{prefix}{name}")
            for name, values in (("a", first), ("b", second))
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def test_what_is_called_fp16_is_rounded_to_it(rounding: ModuleType) -> None:
    """The measuring tool itself, against torch: ONNX Runtime must not fuse the roundings away."""
    model = two_convolutions()
    first, second = (
        torch.tensor(numpy_helper.to_array(tensor)).half().float()
        for tensor in onnx.load_from_string(model).graph.initializer
    )
    tiles = np.random.default_rng(1).integers(0, 256, (2, 4, 16, 16), dtype=np.uint8)
    between = F.conv2d(torch.tensor(tiles).float(), first, padding=1).half().float().relu()
    expected = F.conv2d(between, second).half().float().numpy()
    seen, _ = rounding.run(rounding.with_roundings(in_fp16(model)), tiles)
    # A sum in another order may end on the neighbouring fp16 number.
    np.testing.assert_allclose(seen, expected, rtol=2**-9, atol=0.02)
    assert np.mean(seen == expected) > 0.95
    exact, _ = rounding.run(model, tiles)
    assert np.mean(exact == expected) < 0.05


def test_a_mean_over_many_cells_stays_in_fp32() -> None:
    """Squeeze-excite, as EfficientNet-B0 has it: the mean adds up to more than fp16 holds, all else may be fp16."""
    graph = onnx.load_from_string(two_convolutions())
    name = "disagreement.students.c"
    graph.graph.initializer.append(numpy_helper.from_array(np.ones((8, 8, 1, 1), np.float32), name))
    graph.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    relu = [node.op_type for node in graph.graph.node].index("Relu")
    for node in reversed(
        [
            helper.make_node("ReduceMean", ["b"], ["mean"]),
            helper.make_node("Conv", ["mean", name], ["gate"]),
            helper.make_node("Sigmoid", ["gate"], ["open"]),
            helper.make_node("Mul", ["b", "open"], ["excited"]),
        ]
    ):
        graph.graph.node.insert(relu + 1, node)
    graph.graph.node[relu + 1].input.append("axes")
    graph.graph.node[relu + 5].input[0] = "excited"
    typed = onnx.load_from_string(in_fp16(graph.SerializeToString()))
    types = types_of(typed)
    halves = [node.op_type for node in typed.graph.node if types[node.output[0]] == TensorProto.FLOAT16]
    assert sorted(set(halves)) == ["Cast", "Conv", "Mul", "Relu", "Sigmoid"]
    assert halves.count("Conv") == 3
    assert types["mean"] == TensorProto.FLOAT


def test_what_is_no_network_of_ours_is_left_alone() -> None:
    with pytest.raises(Unsuited, match="no weight of the graph is named after a teacher or student"):
        in_fp16(tiny_graph())


def test_a_weight_that_fp16_cannot_hold() -> None:
    with pytest.raises(Unsuited, match=r"disagreement\.students\.\w+ holds values too large for fp16"):
        in_fp16(two_convolutions(weight=1e6))


def test_a_network_in_fp16_runs_as_it_is() -> None:
    """Types fit together: ONNX Runtime takes the graph without a word."""
    session = onnxruntime.InferenceSession(in_fp16(two_convolutions()), providers=["CPUExecutionProvider"])
    assert [one.type for one in session.get_outputs()] == ["tensor(float)", "tensor(float)"]
