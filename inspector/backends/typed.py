"""A recipe's graph with types for a strongly typed network: what is learnt in fp16, what judges in fp32.

In fp16 is a convolution of teachers or students, and what lies between two of them: activations, additions,
products, pooling by maximum. In fp32 stays all else: the pixels' normalisation, means over many cells, which add up
to more than fp16 holds, and whatever comes after the last convolution of a network: normalisation of features,
distances, blur, sigma, fusion, tone, light.

The boundary is certain, not guessed. Weights bear the names of the exported modules (``learning/export.py``), in
graphs of every pair and in stored ones too; and nothing that judges lies between two convolutions of a network,
because what comes out of a distance never goes into a network again.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from inspector.backends.nodes import before, behind
from inspector.backends.runtime import Unsuited

NETWORKS = ("disagreement.teachers.", "disagreement.students.")
IN_FP16 = frozenset({"Conv", "Relu", "Clip", "Sigmoid", "Add", "Mul", "MaxPool", "Pad"})
LARGEST = float(np.finfo(np.float16).max)


def in_fp16(model: bytes) -> bytes:
    """Return the ONNX graph with its networks in fp16; inputs and outputs keep their types.

    Raises Unsuited where it names no network, a weight is too large for fp16, or it is of int8.
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    if any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        raise Unsuited("the graph is of int8 already, with fp32 around that")
    chosen = networks(graph)
    if not chosen:
        raise Unsuited(
            f"no weight of the graph is named after a teacher or student ({', '.join(NETWORKS)}), so what may be fp16 "
            "isn't known"
        )
    types = _types(graph)
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:  # a stored weight is widened first
        if node.op_type == "Cast" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    nodes: list[NodeProto] = []
    halves: set[str] = set()  # what there is in fp16 already, under its name with HALF behind it
    for index, node in enumerate(graph.graph.node):
        if index not in chosen:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if types.get(name) != TensorProto.FLOAT:
                continue
            half = f"{name}.fp16"
            if half not in halves:
                halves.add(half)
                if name in constants:
                    graph.graph.initializer.append(_rounded(constants[name], half))
                else:
                    nodes.append(helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16))
            node.input[place] = half
        nodes.append(node)
        for place, name in enumerate(node.output):
            half = f"{name}.fp16"
            halves.add(half)
            node.output[place] = half
            # Whoever isn't in fp16 finds it under its old name.
            nodes.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    del graph.graph.node[:], graph.graph.value_info[:]
    graph.graph.node.extend(nodes)
    _drop_unused(graph)
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString(deterministic=True))


def networks(graph: ModelProto) -> set[int]:
    """Places of the nodes that may be in fp16: convolutions of networks, and what lies between two of them."""
    nodes = graph.graph.node
    learnt = {
        index
        for index, node in enumerate(nodes)
        if node.op_type == "Conv" and node.input[1].startswith(NETWORKS)
    }
    between = behind(nodes, learnt) & before(nodes, learnt)
    return {index for index in learnt | between if nodes[index].op_type in IN_FP16}


def _types(graph: ModelProto) -> dict[str, int]:
    types = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    for known in (graph.graph.input, graph.graph.value_info, graph.graph.output):
        types.update((value.name, value.type.tensor_type.elem_type) for value in known)
    return types


def _rounded(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if np.abs(values, dtype=np.float32).max(initial=0) > LARGEST:
        raise Unsuited(f"{tensor.name} holds values too large for fp16")
    return numpy_helper.from_array(values.astype(np.float16), name)


def _drop_unused(graph: ModelProto) -> None:
    """Take out casts and constants that nobody asks for any more."""
    wanted = {name for node in graph.graph.node for name in node.input} | {
        value.name for value in graph.graph.output
    }
    kept = [node for node in graph.graph.node if node.op_type != "Cast" or node.output[0] in wanted]
    wanted = {name for node in kept for name in node.input}
    constants = [tensor for tensor in graph.graph.initializer if tensor.name in wanted]
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(kept)
    graph.graph.initializer.extend(constants)
