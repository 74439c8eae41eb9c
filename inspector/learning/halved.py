"""Weights of convolutions and matrix products stored as float16: half the file; every runtime widens them as it loads.

Weights are rounded to 11 significant bits, less than what a bf16 engine does to them; everything is still
computed in whatever precision the engine has. Constants of sigma and all that is small stay float32.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST_VALUES = 1024  # of a weight; smaller ones are hardly worth a node
LARGEST = float(np.finfo(np.float16).max)


def halved(model: bytes) -> bytes:
    """Return the ONNX graph with its large weights in float16, each behind a Cast to float32."""
    graph = onnx.load_from_string(model)
    products = [node for node in graph.graph.node if node.op_type in ("Conv", "MatMul")]
    weights = {name for node in products for name in node.input[:2]}
    casts = []
    for tensor in graph.graph.initializer:
        if tensor.name not in weights or tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST_VALUES or np.abs(values).max() > LARGEST:
            continue
        full, half = tensor.name, f"{tensor.name}.float16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [full], f"{full}.widened", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    # What no runtime needs: shapes in between, names of nodes beside those of what comes out of them, and the
    # exporter's notes on where in the source things come from.
    del graph.graph.value_info[:], graph.graph.metadata_props[:]
    for node in graph.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        del node.metadata_props[:]
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString(deterministic=True))
