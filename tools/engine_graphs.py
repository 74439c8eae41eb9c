"""The graphs that `bench_engine.py` lets run against each other: presets with random weights, and what work they are.

Weights don't change how long a graph takes, as long as student and teacher differ: a compiler merges equal halves.
So all weights are random and seeded, and the constants come from random tiles. What such a graph detects is nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from random_graph import noise, random_graph

from inspector.backends.openvino import count_work
from inspector.backends.work import Work
from inspector.learning.cells import Shape
from inspector.learning.export import InspectionGraph, to_onnx
from inspector.records import U8

TILE_PX = 256
GOOD_TILES = 8
LEAST_CHANNELS = 8  # of a convolution that is quantised: the blurs and tones have fewer


@dataclass(frozen=True, slots=True)
class Contender:
    """A preset as it is run."""

    name: str
    preset: str
    channels: int
    margin_px: int  # seen by the networks, never judged
    note: str

    @property
    def shape(self) -> Shape:
        """Of its tiles."""
        return Shape(TILE_PX, self.margin_px, self.channels)

    def tiles(self, count: int, seed: int = 0) -> U8:
        """Noise, uint8 [count, *shape.tile_shape]."""
        return noise(self.shape, count, seed)


REFERENCE = Contender("paper's graph", "paper", 3, 0, "256 px of RGB, no margin: as published")
CONTENDERS = (
    REFERENCE,
    Contender("reduced", "reduced", 3, 0, "its ResNet half alone, as published"),
    Contender("balanced", "balanced", 1, 32, "the default: mono, a margin of 32 px around 256"),
    Contender("fast", "fast", 1, 32, "the same, one teacher to stride 16"),
)


@dataclass(frozen=True, slots=True)
class Built:
    """A contender's graph, in every form."""

    module: InspectionGraph
    onnx: bytes
    quantised: bytes  # int8 by Q/DQ, convolutions alone
    work: Work  # a tile

    @property
    def gflop(self) -> float:
        """Of a tile."""
        return self.work.flop / 1e9

    @property
    def intensity(self) -> float:
        """FLOP a byte of the operands of all convolutions and products, in float32."""
        return self.work.flop / (4 * self.work.values_fused)


def build(contender: Contender) -> Built:
    """Build a contender's graph in every form: half a minute."""
    module = random_graph(contender.preset, contender.shape)
    graph = to_onnx(module)
    work = count_work(contender.name, graph, contender.shape.tile_shape)
    return Built(module, graph, _quantised(graph, contender), work)


class _Tiles(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, tiles: U8) -> None:
        self._left = iter(tiles)

    def get_next(self) -> dict[str, U8] | None:
        tile = next(self._left, None)
        return None if tile is None else {"tiles": tile[None]}


def _quantised(plain: bytes, contender: Contender) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        given, ready, made = (Path(name) / f"{step}.onnx" for step in ("given", "ready", "made"))
        given.write_bytes(plain)
        quant_pre_process(given, ready, skip_symbolic_shape=True)
        graph = onnx.load(ready).graph
        weights = {one.name: one.dims for one in graph.initializer}
        quantize_static(
            ready,
            made,
            _Tiles(contender.tiles(GOOD_TILES, seed=1)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_quantize=[
                node.name
                for node in graph.node
                if node.op_type == "Conv" and weights.get(node.input[1], [0])[0] >= LEAST_CHANNELS
            ],
        )
        return made.read_bytes()
