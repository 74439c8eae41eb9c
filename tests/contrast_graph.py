"""A tiny graph that keeps the ONNX contract: contrast against the tile's own mean, and NaN where it is dazzled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TILE_PX, MARGIN_PX, CELL_PX = 64, 16, 4
SIGMA_GREY = 4.0
DAZZLED_GREY = 200.0  # tiles of this mean, 5 more or less, score NaN; golden tiles don't


def write_contrast_onnx(path: Path) -> None:
    """Write the graph: tiles uint8 [N, 96, 96] -> map float32 [N, 16, 16], score float32 [N].

    map = mean over a cell of |pixel - mean of the tile with its margin| / SIGMA_GREY.
    """
    side = TILE_PX + 2 * MARGIN_PX
    constants = {
        "sigma": np.array(SIGMA_GREY, np.float32),
        "dazzled": np.array(DAZZLED_GREY, np.float32),
        "five_squared": np.array(25.0, np.float32),
        "zero": np.array(0.0, np.float32),
        "starts": np.array([MARGIN_PX, MARGIN_PX], np.int64),
        "ends": np.array([MARGIN_PX + TILE_PX] * 2, np.int64),
        "image_axes": np.array([1, 2], np.int64),
        "channel": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["tiles"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["grey", "image_axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["grey", "mean"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["contrast"]),
        helper.make_node("Slice", ["contrast", "starts", "ends", "image_axes"], ["judged"]),
        helper.make_node("Unsqueeze", ["judged", "channel"], ["plane"]),
        helper.make_node(
            "AveragePool", ["plane"], ["cells"], kernel_shape=[CELL_PX] * 2, strides=[CELL_PX] * 2
        ),
        helper.make_node("Squeeze", ["cells", "channel"], ["cell_grey"]),
        helper.make_node("Div", ["cell_grey", "sigma"], ["seen"]),
        helper.make_node("Sub", ["mean", "dazzled"], ["brighter"]),
        helper.make_node("Mul", ["brighter", "brighter"], ["brighter_squared"]),
        helper.make_node("Sub", ["brighter_squared", "five_squared"], ["sighted"]),
        helper.make_node("Sqrt", ["sighted"], ["nan_if_dazzled"]),
        helper.make_node("Mul", ["nan_if_dazzled", "zero"], ["zero_or_nan"]),
        helper.make_node("Add", ["seen", "zero_or_nan"], ["map"]),
        helper.make_node("ReduceMax", ["map", "image_axes"], ["score"], keepdims=0),
    ]
    cells = TILE_PX // CELL_PX
    graph = helper.make_graph(
        nodes,
        "contrast",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["N", side, side])],
        [
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", cells, cells]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
