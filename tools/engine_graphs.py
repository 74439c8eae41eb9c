"""The graphs that `bench_engine.py` lets run against each other: presets with random weights, and what work they are.

Weights don't change how long a graph takes, as long as student and teacher differ: a compiler merges equal halves.
So all weights are random and seeded, and the constants come from random tiles. What such a graph detects is nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from inspector.backends.openvino import count_work
from inspector.backends.work import Work
from inspector.learning.cells import Shape
from inspector.learning.export import InspectionGraph, build_graph, to_onnx
from inspector.learning.students import build_students
from inspector.learning.teachers import random_teachers
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
    def tile_shape(self) -> tuple[int, ...]:
        """Of one tile, without the batch."""
        side = TILE_PX + 2 * self.margin_px
        return (side, side) if self.channels == 1 else (side, side, self.channels)

    def tiles(self, count: int, seed: int = 0) -> U8:
        """Noise, uint8 [count, *tile_shape]."""
        noise = np.random.default_rng(seed).integers(0, 256, (count, *self.tile_shape))
        return noise.astype(np.uint8)


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


def build(contender: Contender, folder: Path) -> Built:
    """Build a contender's graph; kept in ``folder``, for an export takes half a minute."""
    shape = Shape(TILE_PX, contender.margin_px, contender.channels)
    module = build_graph(
        random_teachers(contender.preset, contender.channels, 1),
        build_students(contender.preset, contender.channels, 2).eval(),
        contender.tiles(GOOD_TILES),
        shape,
        pair=contender.preset,
    )
    plain, quantised = (folder / f"{contender.name}{suffix}.onnx" for suffix in ("", "-int8"))
    if not plain.is_file():
        plain.write_bytes(to_onnx(module))
    if not quantised.is_file():
        _quantise(plain, quantised, contender)
    graph = plain.read_bytes()
    work = count_work(contender.name, graph, contender.tile_shape)
    return Built(module, graph, quantised.read_bytes(), work)


class _Tiles(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, tiles: U8) -> None:
        self._left = iter(tiles)

    def get_next(self) -> dict[str, U8] | None:
        tile = next(self._left, None)
        return None if tile is None else {"tiles": tile[None]}


def _quantise(plain: Path, quantised: Path, contender: Contender) -> None:
    with tempfile.TemporaryDirectory() as name:
        ready = Path(name) / "ready.onnx"
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        graph = onnx.load(ready).graph
        weights = {one.name: one.dims for one in graph.initializer}
        quantize_static(
            ready,
            quantised,
            _Tiles(contender.tiles(GOOD_TILES, seed=1)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_quantize=[
                node.name
                for node in graph.node
                if node.op_type == "Conv" and weights.get(node.input[1], [0])[0] >= LEAST_CHANNELS
            ],
        )
