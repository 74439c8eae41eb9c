"""A tiny graph that keeps the ONNX contract: contrast against the tile's own mean, in steps of 4 grey levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TILE_PX, MARGIN_PX, CELL_PX = 64, 16, 4


def write_contrast_onnx(path: Path, *, sigma_grey: float = 4.0) -> None:
    """Write the graph: tiles uint8 [N, 96, 96] -> map float32 [N, 16, 16], score float32 [N].

    map = mean over a cell of |pixel - mean of the tile with its margin| / sigma_grey. ``sigma_grey`` 0 makes
    every score infinite or NaN.
    """
    side = TILE_PX + 2 * MARGIN_PX
    constants = {
        "sigma": np.array(sigma_grey, np.float32),
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
        helper.make_node("Div", ["cell_grey", "sigma"], ["map"]),
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
