"""Let TensorRT build the graph of every pair at every precision, from random weights; no GPU is needed.

    python tools/build_pairs.py [--tile 256] [--margin 32]

Exports each pair as `train` does, ours with --int8 too, and builds it with the TensorRT that is installed, as a rule
TensorRT for RTX, which needs neither GPU nor driver to parse and build; in the best precision and in int8 also as
three engines (`build-engine --apart`). Nothing is run.
"""

from __future__ import annotations

import argparse
import sys
import time

import onnx
from random_graph import random_graph
from torch import nn

from inspector.backends import tensorrt
from inspector.backends.artifact import SCHEMA, Recipe, Training, sha256_of
from inspector.backends.runtime import Means
from inspector.backends.typed import networks
from inspector.errors import ArtefactError
from inspector.images.reading import PX_PER_CELL
from inspector.learning.cells import Shape
from inspector.learning.export import to_onnx
from inspector.learning.halved import halved
from inspector.learning.students import build_students
from inspector.learning.teachers import AS_PUBLISHED, PAIRS, random_teachers


def main() -> int:
    """Export, build, print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tile", type=int, default=256, help="px")
    parser.add_argument("--margin", type=int, default=32, help="px")
    given = parser.parse_args()
    try:
        print(tensorrt.library_version())
        for pair in PAIRS:
            for channels in (1, 3):
                shape = Shape(given.tile, given.margin, channels)
                _build(pair, shape)
                if pair not in AS_PUBLISHED:
                    _build_in_int8(pair, shape)
    except ArtefactError as error:
        print(f"build_pairs: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _build(pair: str, shape: Shape) -> None:
    graph = exported(pair, shape)
    model = onnx.load_from_string(graph)
    learnt = sum(model.graph.node[index].op_type == "Conv" for index in networks(model))
    print(
        f"{_named(pair, shape)}{learnt} of {convolutions_of(pair)} convolutions of its networks are fp16 in fp16"
    )
    for precision in tensorrt.precisions():
        _build_plan(pair, shape, graph, precision, Means())
    _build_plan(pair, shape, graph, tensorrt.precisions()[0], Means(apart=True))


def _build_in_int8(pair: str, shape: Shape) -> None:
    graph = halved(to_onnx(random_graph(pair, shape, int8=True)))
    model = onnx.load_from_string(graph)
    rounding = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    print(
        f"{_named(pair, shape)}{rounding} of {convolutions_of(pair)} convolutions of its networks are int8 in int8"
    )
    for apart in (False, True):
        _build_plan(pair, shape, graph, "int8", Means(apart=apart))


def _build_plan(pair: str, shape: Shape, graph: bytes, precision: str, means: Means) -> None:
    began_s = time.perf_counter()
    plan = tensorrt.build_plan(_recipe(pair, shape, graph), graph, precision, means)
    took_s = time.perf_counter() - began_s
    engines = ", three engines" if means.apart else ""
    print(
        f"{_named(pair, shape)}{precision:<6}{len(plan) / 2**20:>6.1f} MB in {took_s:.1f} s{engines}",
        flush=True,
    )


def _named(pair: str, shape: Shape) -> str:
    return f"{pair:<9}{'mono' if shape.channels == 1 else 'RGB':<6}"


def exported(pair: str, shape: Shape) -> bytes:
    """A pair's graph as ``train`` writes it, but of networks that know nothing."""
    return halved(to_onnx(random_graph(pair, shape)))


def convolutions_of(pair: str) -> int:
    """How many its teachers and students have."""
    modules = [*random_teachers(pair, 1, 0), build_students(pair, 1, 1)]
    return sum(isinstance(part, nn.Conv2d) for module in modules for part in module.modules())


def _recipe(pair: str, shape: Shape, graph: bytes) -> Recipe:
    return Recipe(
        schema=SCHEMA,
        name=pair,
        tile_px=shape.tile_px,
        margin_px=shape.margin_px,
        px_per_cell=PX_PER_CELL,
        channels=shape.channels,
        teachers=tuple(spec.network for spec in PAIRS[pair]),
        onnx_sha256=sha256_of(graph),
        training=Training(date_utc="", inspector="", data="none", learnt={}, validation={}, seed=0, epochs=0),
    )


if __name__ == "__main__":
    sys.exit(main())
