"""A graph cut in three scores as it does in one piece, on ONNX Runtime; and where it can't be cut."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from inspector.backends.apart import JUDGING, PARTS, STUDENTS, TEACHERS, Apart
from inspector.backends.cutting import PREFIXES, cut_apart
from inspector.backends.runtime import Unsuited
from inspector.backends.typed import in_fp16
from inspector.learning.cells import Shape
from inspector.learning.export import to_onnx
from inspector.learning.halved import halved
from tests.graphs import tiny_graph

ROOT = Path(__file__).resolve().parents[1]
SHAPE = Shape(64, 32, 1)
DEMO = (ROOT / "engines" / "demo" / "model.onnx").read_bytes()
KINDS = ["demo", "demo in fp16", "faster", "faster in int8", "reduced"]


@pytest.fixture(scope="module", params=KINDS)
def graph(request: pytest.FixtureRequest) -> bytes:
    """Of a stored recipe; of pairs of ours and the paper's, with random weights, as `train` would store them."""
    pair, _, precision = request.param.partition(" in ")
    if pair == "demo":
        return in_fp16(DEMO) if precision else DEMO
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        random_graph = importlib.import_module("random_graph").random_graph
    return halved(to_onnx(random_graph(pair, SHAPE, int8=bool(precision))))


def run(graph: bytes, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # What is fused differs from one graph to another, and rounds otherwise.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, given), strict=True))


def test_three_graphs_score_as_one(graph: bytes) -> None:
    side = onnx.load_from_string(graph).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    tiles = np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)
    whole = run(graph, {"tiles": tiles})
    cut = cut_apart(graph)
    answers = run(cut.parts[TEACHERS], {"tiles": tiles}) | run(cut.parts[STUDENTS], {"tiles": tiles})
    judged = run(cut.parts[JUDGING], {"tiles": tiles, **answers})
    # In fp16 ONNX Runtime rounds less often within one graph than where one graph hands on to another.
    off = 0.002 if any(one.itemsize == 2 for one in cut.answers) else 0.0
    for name in ("map", "score"):
        np.testing.assert_allclose(judged[name], whole[name], rtol=off)
    for one in cut.answers:
        assert (answers[one.name].shape, answers[one.name].itemsize) == ((3, *one.shape), one.itemsize)
        assert answers[one.name][0].nbytes == one.tile_bytes


def test_no_part_holds_the_networks_of_another(graph: bytes) -> None:
    cut = cut_apart(graph)
    assert list(cut.parts) == list(PARTS)
    for part, data in cut.parts.items():
        owners = {
            tensor.name.split(".")[1]
            for tensor in onnx.load_from_string(data).graph.initializer
            if tensor.name.startswith(tuple(PREFIXES.values()))
            and len(tensor.dims) == 4
            and tensor.dims[0] > 1
        }
        assert owners == ({part} if part in PREFIXES else set())
    assert sum(map(len, cut.parts.values())) < 1.3 * len(graph), "what all need is little"


def test_there_and_back() -> None:
    cut = cut_apart(DEMO)
    assert Apart.from_bytes(cut.to_bytes()) == cut
    assert cut.to_bytes() == cut_apart(DEMO).to_bytes()


def test_a_graph_without_names_is_not_cut() -> None:
    with pytest.raises(Unsuited, match=r"no weight of the graph is named disagreement\.teachers\.\*"):
        cut_apart(tiny_graph())


def test_students_that_need_their_teachers_stay_with_them() -> None:
    """A student that looks at what the teacher says can't begin before it has."""
    weights = [
        helper.make_tensor(f"disagreement.{who}.0.weight", TensorProto.FLOAT, (1, 1, 1, 1), [1.0])
        for who in ("teachers", "students")
    ]
    nodes = [
        helper.make_node("Cast", ["tiles"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floats", "one"], ["pixels"]),
        helper.make_node("Conv", ["pixels", weights[0].name], ["taught"]),
        helper.make_node("Conv", ["taught", weights[1].name], ["learnt"]),
        helper.make_node("Sub", ["taught", "learnt"], ["apart"]),
        helper.make_node("Squeeze", ["apart", "one"], ["map"]),
        helper.make_node("ReduceMax", ["map", "sides"], ["score"], keepdims=0),
    ]
    axes = [
        helper.make_tensor(name, TensorProto.INT64, (len(values),), values)
        for name, values in (("one", [1]), ("sides", [1, 2]))
    ]
    graph = helper.make_graph(
        nodes,
        "chained",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["N", 8, 8])],
        [
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", 8, 8]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        ],
        [*weights, *axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(Unsuited, match="the graph's students need its teachers"):
        cut_apart(model.SerializeToString())
