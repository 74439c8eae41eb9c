"""A recipe's graph cut in three: the teachers, the students, and what judges by the answers of both.

The seam is certain, not guessed: weights bear the names of the exported modules, as in ``typed``, and it lies behind
the last convolution of each network. What all three need, pixels and their normalisation, each has of its own. Joined
again they are the same function, node for node.
"""

from __future__ import annotations

import onnx
from onnx import GraphProto, ValueInfoProto, helper
from onnx.utils import Extractor

from inspector.backends.apart import INPUT, JUDGING, OUTPUTS, PARTS, STUDENTS, TEACHERS, Answer, Apart
from inspector.backends.nodes import before, behind
from inspector.backends.runtime import Unsuited

PREFIXES = {TEACHERS: "disagreement.teachers.", STUDENTS: "disagreement.students."}


def cut_apart(graph: bytes) -> Apart:
    """Cut an ONNX graph of ``learning/export.py`` into teachers, students and judging.

    Raises Unsuited where it names no teacher or no student, or one needs the other.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph), data_prop=True)
    known = {value.name: value for value in model.graph.value_info}
    answers = []
    for part, prefix in PREFIXES.items():
        names = _answers(model.graph, prefix)
        if not names:
            raise Unsuited(f"no weight of the graph is named {prefix}*, so where it may be cut isn't known")
        answers += [_answer(known[name], part) for name in names]
    extractor = Extractor(model)
    parts = {
        part: _extracted(extractor, [INPUT], [one.name for one in answers if one.of == part])
        for part in PREFIXES
    }
    parts[JUDGING] = _extracted(extractor, [INPUT, *(one.name for one in answers)], OUTPUTS)
    for part, other in ((TEACHERS, STUDENTS), (STUDENTS, TEACHERS)):
        if PREFIXES[other].encode() in parts[part]:
            raise Unsuited(f"the graph's {part} need its {other}, so that they can't run side by side")
    return Apart({part: parts[part] for part in PARTS}, tuple(answers))


def _answers(graph: GraphProto, prefix: str) -> list[str]:
    """Tensors that leave a network: what its convolutions give, with what lies between two of them, to others."""
    nodes = graph.node
    convolutions = _convolutions(graph, prefix)
    needed = before(nodes, convolutions) | convolutions
    inside = needed & (behind(nodes, convolutions) | convolutions)
    leaving = {name for place, node in enumerate(nodes) if place not in needed for name in node.input}
    return [name for place in sorted(inside) for name in nodes[place].output if name in leaving]


def _convolutions(graph: GraphProto, prefix: str) -> set[int]:
    """Places of a network's convolutions. In int8 a weight is dequantised, in a stored graph widened first."""
    makers = {name: node for node in graph.node for name in node.output}
    found = set()
    for place, node in enumerate(graph.node):
        if node.op_type == "Conv":
            weight = node.input[1]
            while weight in makers:
                weight = makers[weight].input[0]
            if weight.startswith(prefix):
                found.add(place)
    return found


def _answer(value: ValueInfoProto, of: str) -> Answer:
    kind = value.type.tensor_type
    shape = tuple(length.dim_value for length in kind.shape.dim[1:])
    if not all(shape):
        raise Unsuited(f"the shape of {value.name}, where the graph would be cut, isn't known")
    return Answer(value.name, shape, helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize, of)


def _extracted(extractor: Extractor, inputs: list[str], outputs: list[str]) -> bytes:
    part = extractor.extract_model(inputs, outputs)
    onnx.checker.check_model(part, full_check=True)
    return bytes(part.SerializeToString(deterministic=True))
