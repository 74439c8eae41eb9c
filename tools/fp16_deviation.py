"""How far a recipe's scores move when its networks are in fp16, as TensorRT would have them; no GPU is needed.

ONNX Runtime has no fp16 kernels on x86 and leaves fp16 tensors between two of its fp32 ones unrounded, so the graph
is given every rounding as a cast there and back: each fp16 tensor is rounded, sums inside an operator are fp32. A
GPU that adds up in fp16, too, is not shown by this.

    python tools/fp16_deviation.py --recipe demo [--engines engines]

Prints the worst tile score, map peak and map, in units of what `golden.TOLERANCES` allow fp16: above 1 is refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from inspector.backends import golden
from inspector.backends.artifact import load_graph, load_recipe
from inspector.backends.typed import in_fp16
from inspector.errors import ArtefactError
from inspector.records import F32, U8


def main() -> int:
    """Convert, round, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--engines", type=Path, default=Path(__file__).resolve().parents[1] / "engines")
    given = parser.parse_args()
    engine_dir = given.engines / given.recipe
    try:
        recipe = load_recipe(engine_dir)
        graph = load_graph(engine_dir, recipe)
        stored = (engine_dir / golden.FILE).is_file()
        tiles = golden.golden_tiles(engine_dir, recipe, "") if stored else golden.made_up_tiles(recipe)
        typed = in_fp16(graph)
    except ArtefactError as error:
        print(f"fp16_deviation: {error}", file=sys.stderr)
        return error.exit_code
    reference = run(graph, tiles)
    seen = run(with_roundings(typed), tiles)
    tolerance = golden.TOLERANCES["fp16"]
    worst = golden.deviation(seen, reference, tolerance)
    print(f"{'golden tile':<12}{'fp32':>10}{'fp16':>10}{'off by':>9}  sigma")
    for number, (score, wanted) in enumerate(zip(seen[1], reference[1], strict=True)):
        print(f"{number:<12}{wanted:>10.2f}{score:>10.2f}{score - wanted:>+9.3f}")
    print(f"map cells off by at most {np.abs(seen[0] - reference[0]).max():.3f} sigma")
    print(f"worst {worst:.2f} of {tolerance.absolute_sigma:g} sigma + {tolerance.relative:.0%}")
    return 0


def run(model: bytes, tiles: U8) -> tuple[F32, F32]:
    """Maps and scores of tiles, by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    maps, scores = session.run(["map", "score"], {"tiles": tiles})
    return maps, scores


def with_roundings(typed: bytes) -> bytes:
    """The graph all in fp32, and after whatever was fp16 a cast to it and back."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(typed))
    half = {v.name for v in graph.graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16}
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes: list[NodeProto] = []
    for node in graph.graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16:
            node.attribute[0].i = TensorProto.FLOAT
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in half:
                exact, rounded = f"{name}.exact", f"{name}.rounded"
                node.output[place] = exact
                nodes.append(helper.make_node("Cast", [exact], [rounded], to=TensorProto.FLOAT16))
                nodes.append(helper.make_node("Cast", [rounded], [name], to=TensorProto.FLOAT))
    del graph.graph.node[:], graph.graph.value_info[:]
    graph.graph.node.extend(nodes)
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString())


if __name__ == "__main__":
    sys.exit(main())
