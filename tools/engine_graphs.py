"""The graphs that `bench_engine.py` lets run against each other: presets with random weights, and what work they are.

Weights don't change how long a graph takes, as long as student and teacher differ: a compiler merges equal halves.
So all weights are random and seeded, and the constants come from random tiles. What such a graph detects is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from random_graph import noise, random_graph

from inspector.backends.openvino import count_work
from inspector.backends.work import Work
from inspector.learning.cells import Shape
from inspector.learning.export import InspectionGraph, to_onnx
from inspector.records import U8

TILE_PX = 256
BYTES = {"fp32": 4, "bf16": 2, "int8": 1}  # of a value


@dataclass(frozen=True, slots=True)
class Contender:
    """A preset as it is run."""

    name: str
    preset: str
    channels: int
    margin_px: int  # seen by the networks, never judged
    note: str
    tile_px: int = TILE_PX

    @property
    def shape(self) -> Shape:
        """Of its tiles."""
        return Shape(self.tile_px, self.margin_px, self.channels)

    @property
    def tiles_each(self) -> float:
        """How many tiles of TILE_PX have the web of one of its tiles: rates and work are told for these."""
        return (self.tile_px / TILE_PX) ** 2

    def tiles(self, count: int, seed: int = 0) -> U8:
        """Noise, uint8 [count, *shape.tile_shape]."""
        return noise(self.shape, count, seed)


REFERENCE = Contender("paper's graph", "paper", 3, 0, "256 px of RGB, no margin: as published")
CONTENDERS = (
    REFERENCE,
    Contender("reduced", "reduced", 3, 0, "its ResNet half alone, as published"),
    Contender("balanced", "balanced", 1, 32, "the default: mono, a margin of 32 px around 256"),
    Contender("fast", "fast", 1, 32, "the same, one teacher to stride 16"),
    Contender("faster", "faster", 1, 32, "the same, of tiles at half of their size"),
    Contender("fastest", "fastest", 1, 32, "the same, of two thirds of its teacher's channels"),
    Contender("fast in tiles of 512 px", "fast", 1, 32, "`--tile-px 512`, told for 256x256 px of web", 512),
    Contender("faster in tiles of 512 px", "faster", 1, 32, "the same", 512),
    Contender("fastest in tiles of 512 px", "fastest", 1, 32, "the same", 512),
)


@dataclass(frozen=True, slots=True)
class Built:
    """A contender's graph, in every form."""

    module: InspectionGraph
    onnx: bytes
    quantised: bytes  # the same in int8, as `train --int8` makes it; the paper's two for comparison alone
    work: Work  # one of its tiles
    tiles_each: float

    @property
    def gflop(self) -> float:
        """Of a tile of TILE_PX."""
        return self.work.flop / 1e9 / self.tiles_each

    def intensity(self, precision: str) -> float:
        """FLOP a byte of the operands of all convolutions and products, as if all were of that precision."""
        return self.work.flop / (BYTES[precision] * self.work.values_fused)


def build(contender: Contender) -> Built:
    """Build a contender's graph in every form: a minute."""
    module = random_graph(contender.preset, contender.shape)
    graph = to_onnx(module)
    quantised = to_onnx(random_graph(contender.preset, contender.shape, int8=True))
    work = count_work(contender.name, graph, contender.shape.tile_shape)
    return Built(module, graph, quantised, work, contender.tiles_each)
